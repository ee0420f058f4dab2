"""An application and a board's service, over loopback."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import grpc
import numpy as np
import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.edge.local_client import LocalClient
from partition.edge.local_service import LocalService
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ModelMismatchError,
    ServerBusyError,
    WireError,
)
from partition.transport import rpc, wire
from partition.transport.wire import Raw
from tests.partition.local_board import answering, result

PATIENCE_S = 5.0


@pytest.fixture
def service(tiny):
    service = LocalService(tiny, max_waiting=2)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def application(service, tiny):
    with LocalClient(service.addresses[0], tiny.path) as client:
        yield client


def wait_for(condition):
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


@contextmanager
def asking(application, image, n=1, **options):
    """Some applications that ask at once; yields what became of each, filled at the end."""
    found = []

    def ask():
        try:
            found.append(application.infer(image, **options))
        except CloudError as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(n)]
    for thread in threads:
        thread.start()
    yield found
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_an_input_comes_as_it_is_and_its_answer_goes_back(service, application, image):
    with asking(application, image) as found:
        request = service.take(time.monotonic() + PATIENCE_S)
        np.testing.assert_array_equal(request.inputs[0], image)
        assert request.arrived_s == service.arrivals_s()[-1]
        request.answer(result(image[0, :, 0]))
    np.testing.assert_array_equal(found[0][0], image[0, :, 0])
    assert service.take(time.monotonic()) is None
    assert service.refused == 0


def test_who_comes_when_too_many_wait_is_refused(service, application, image):
    with asking(application, image, n=2) as found:
        wait_for(lambda: service.waiting() == 2)
        with pytest.raises(ServerBusyError, match="2 requests wait already"):
            application.infer(image)
        assert service.refused == 1
        for _ in range(2):
            service.take(time.monotonic() + PATIENCE_S).answer(result(image))
    assert len(found) == 2
    assert len(service.arrivals_s()) == 3


@pytest.mark.parametrize("callers", [14, 50, 300])
def test_every_refusal_says_that_the_service_is_busy_however_many_call(
    service, application, image, callers
):
    found, over_s = [], time.monotonic() + 2.0

    def ask():
        while time.monotonic() < over_s:
            try:
                application.infer(image, deadline_s=PATIENCE_S)
                found.append(None)
            except CloudError as error:
                found.append(type(error))
                time.sleep(0.02)

    with answering(service, pause_s=0.01):
        threads = [threading.Thread(target=ask) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(6 * PATIENCE_S)
            assert not thread.is_alive()
    assert set(found) == {None, ServerBusyError}


def test_who_gave_up_waiting_is_not_served(service, application, image):
    with pytest.raises(DeadlineExceededError, match=r"50\.0 ms"):
        application.infer(image, deadline_s=0.05)
    assert service.take(time.monotonic() + 0.1) is None
    assert service.refused == 1


def test_late_ones_leave_room_for_others(service, application, image):
    with asking(application, image, n=2, deadline_s=0.3) as found:
        wait_for(lambda: service.waiting() == 2)
    assert all(isinstance(each, DeadlineExceededError) for each in found)
    wait_for(lambda: service.waiting() == 0)  # the service's clock is a little behind
    with asking(application, image) as found:
        service.take(time.monotonic() + PATIENCE_S).answer(result(image))
    assert len(found[0]) == 1
    assert service.refused == 2


def test_an_answer_after_the_deadline_goes_nowhere_and_is_told_to(service, application, image):
    with asking(application, image, deadline_s=0.1) as found:
        late = service.take(time.monotonic() + PATIENCE_S)
        assert not late.is_late
    wait_for(lambda: late.is_late)  # the application's clock began a little before
    assert not late.answer(result(image))
    assert isinstance(found[0], DeadlineExceededError)
    assert service.refused == 0  # it was served, too late


def test_only_what_came_before_a_moment_is_taken(service, application, image):
    with asking(application, image):
        wait_for(service.waiting)
        came_s = service.arrivals_s()[-1]
        assert service.take(came_s) is None
        service.take(np.nextafter(came_s, np.inf)).answer(result(image))


def test_a_call_without_a_deadline_is_answered(service, tiny, image):
    request = wire.Request(tiny.fingerprint, 0, (wire.Raw(image),))
    with grpc.insecure_channel(service.addresses[0]) as channel:
        call = channel.unary_unary(rpc.method_path(rpc.INFER))
        reply = call.future(wire.pack_request(request))
        service.take(time.monotonic() + PATIENCE_S).answer(result(image))
        (output,) = wire.unpack_reply(reply.result(PATIENCE_S)).outputs
    np.testing.assert_array_equal(output, image)


def test_no_proxy_stands_between_two_programs_of_a_machine(service, tiny, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    LocalClient(service.addresses[0], tiny.path).close()


def test_a_refusal_says_why(service, application, image):
    with asking(application, image) as found:
        service.take(time.monotonic() + PATIENCE_S).refuse(WireError("the cut tensor holds NaN"))
    assert "holds NaN" in str(found[0])


def test_whoever_waits_when_the_service_stops_is_told_also_if_it_was_being_served(tiny, image):
    service = LocalService(tiny, max_waiting=2)
    with pytest.raises(CloudUnavailableError, match="nobody answers"):  # at once, not yet started
        LocalClient(service.addresses[0].replace(":0", ":1"), tiny.path)
    service.start()
    with LocalClient(service.addresses[0], tiny.path) as application:
        with asking(application, image, n=2, deadline_s=60.0) as found:
            wait_for(lambda: service.waiting() == 2)
            taken = service.take(time.monotonic() + PATIENCE_S)
            began_s = time.monotonic()
            service.stop()
            assert time.monotonic() - began_s < PATIENCE_S
        taken.answer(result(image))  # too late, and no error
        assert all("stopped" in str(each) for each in found)
        with pytest.raises(
            CloudUnavailableError, match=f"deploy.py --listen {service.addresses[0]}"
        ):
            application.infer(image)


def test_the_port_is_taken_when_it_is_started(tiny):
    service = LocalService(tiny, max_waiting=2)
    service.start()
    try:
        with pytest.raises(CloudError, match="choose another address or port"):
            LocalService(tiny, service.addresses[0], max_waiting=2)
    finally:
        service.stop()
    LocalService(tiny, service.addresses[0], max_waiting=2)


def test_other_inputs_are_refused_by_shape_number_and_value(application, image):
    with pytest.raises(CloudError, match=r"network takes \(\(1, 3, "):
        application.infer(image[:, :1])
    with pytest.raises(CloudError, match="holds NaN or infinity"):
        application.infer(np.full_like(image, np.nan))
    with pytest.raises(WireError, match="2 inputs for tiny-cnn, it takes 1"):
        application.infer(image, image)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.full((1, 3, 64, 64), 1 + 2j), "complex128"),
        (np.full((1, 3, 64, 64), 1e39), "does not fit float32"),
        (np.full((1, 3, 64, 64), "1.0"), "<U3"),
        (np.full((1, 3, 64, 64), None), "object"),
        ([[1.0], [1.0, 2.0]], "no array"),
    ],
)
def test_an_input_of_another_kind_is_refused_and_not_changed(application, x, reason):
    with pytest.raises(WireError, match=f"input 0 .*{reason}"):
        application.infer(x)


def test_deadlines_without_end_are_a_minute_and_those_without_meaning_are_named(
    service, application, image
):
    with asking(application, image, deadline_s=np.inf) as found:
        request = service.take(time.monotonic() + PATIENCE_S)
        assert 50.0 < request.due_s - time.monotonic() <= 60.0
        request.answer(result(image))
    assert isinstance(found[0], tuple)
    for nonsense in (np.nan, None, "soon"):
        with pytest.raises(WireError, match=f"deadline of {nonsense!r} says nothing"):
            application.infer(image, deadline_s=nonsense)
    for over in (-np.inf, -1.0, 0):
        with pytest.raises(DeadlineExceededError, match=f"deadline of {over:g} s is over"):
            application.infer(image, deadline_s=over)


def test_an_answer_that_rightly_holds_no_numbers_reaches_the_application(
    service, application, image
):
    with asking(application, image) as found:
        request = service.take(time.monotonic() + PATIENCE_S)
        request.answer(result(np.array([[np.nan, -np.inf]], np.float32)))
    np.testing.assert_array_equal(found[0][0], [[np.nan, -np.inf]])


def test_only_whole_inputs_are_taken(service, tiny, image):
    with CloudClient(service.addresses[0], tiny) as client:
        with pytest.raises(CloudError, match="unquantised"):
            client.infer(tiny.split_points[0], (Codec().encode(image),), PATIENCE_S)
        point = tiny.split_points[1]
        with pytest.raises(CloudError, match="takes whole inputs"):
            client.infer(point, (Raw(np.zeros(point.shapes[0], np.float32)),), PATIENCE_S)


def test_another_network_is_named_at_once(tiny):
    service = LocalService(replace(tiny, fingerprint="12" * 8), max_waiting=2)
    service.start()
    try:
        with pytest.raises(ModelMismatchError, match=f"tiny-cnn {'12' * 8}"):
            LocalClient(service.addresses[0], tiny.path)
    finally:
        service.stop()


def test_nobody_there_is_one_sentence(tiny):
    with pytest.raises(CloudUnavailableError, match=r"start deploy.py --listen 127\.0\.0\.1:1$"):
        LocalClient("127.0.0.1:1", tiny.path)


def test_other_machines_are_not_served(tiny):
    with pytest.raises(CloudError, match="listen on 127"):
        LocalService(tiny, "0.0.0.0:0", max_waiting=2)
