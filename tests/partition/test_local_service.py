"""An application and a board's service, over loopback."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from partition.client import CloudClient
from partition.codec import Codec
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ModelMismatchError,
    ServerBusyError,
    WireError,
)
from partition.local_client import LocalClient
from partition.local_service import LocalService
from partition.wire import Raw

PATIENCE_S = 5.0


@pytest.fixture
def service(tiny):
    service = LocalService(tiny, max_waiting=2)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def application(service, tiny):
    with LocalClient(f"127.0.0.1:{service.port}", tiny.path) as client:
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
        request = service.take(PATIENCE_S)
        np.testing.assert_array_equal(request.inputs[0], image)
        assert request.arrived_s == service.arrivals_s()[-1]
        request.answer((image[0, :, 0],))
    np.testing.assert_array_equal(found[0][0], image[0, :, 0])
    assert service.take(0.0) is None
    assert service.refused == 0


def test_who_comes_when_too_many_wait_is_refused(service, application, image):
    with asking(application, image, n=2) as found:
        wait_for(lambda: service.waiting() == 2)
        with pytest.raises(ServerBusyError, match="2 requests wait already"):
            application.infer(image)
        assert service.refused == 1
        for _ in range(2):
            service.take(PATIENCE_S).answer((image,))
    assert len(found) == 2
    assert len(service.arrivals_s()) == 3


def test_who_gave_up_waiting_is_not_served(service, application, image):
    with pytest.raises(DeadlineExceededError, match=r"50\.0 ms"):
        application.infer(image, deadline_s=0.05)
    assert service.take(0.1) is None
    assert service.refused == 1


def test_an_answer_after_the_deadline_goes_nowhere(service, application, image):
    with asking(application, image, deadline_s=0.1) as found:
        late = service.take(PATIENCE_S)
    late.answer((image,))
    assert isinstance(found[0], DeadlineExceededError)


def test_a_refusal_says_why(service, application, image):
    with asking(application, image) as found:
        service.take(PATIENCE_S).refuse(WireError("the cut tensor holds NaN"))
    assert "holds NaN" in str(found[0])


def test_whoever_waits_when_the_service_stops_is_told(tiny, image):
    service = LocalService(tiny, max_waiting=2)
    service.start()
    address = f"127.0.0.1:{service.port}"
    with LocalClient(address, tiny.path) as application:
        with asking(application, image) as found:
            wait_for(service.waiting)
            service.stop()
        assert "stopped" in str(found[0])
        with pytest.raises(CloudUnavailableError, match=f"deploy.py --listen {address}"):
            application.infer(image)


def test_other_inputs_are_refused_by_shape_number_and_value(application, image):
    with pytest.raises(CloudError, match=r"network takes \(\(1, 3, "):
        application.infer(image[:, :1])
    with pytest.raises(CloudError, match="holds NaN or infinity"):
        application.infer(np.full_like(image, np.nan))
    with pytest.raises(WireError, match="2 inputs for tiny-cnn, it takes 1"):
        application.infer(image, image)


def test_only_whole_inputs_are_taken(service, tiny, image):
    with CloudClient(f"127.0.0.1:{service.port}", tiny) as client:
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
            LocalClient(f"127.0.0.1:{service.port}", tiny.path)
    finally:
        service.stop()


def test_nobody_there_is_one_sentence(tiny):
    with pytest.raises(CloudUnavailableError, match=r"start deploy.py --listen 127\.0\.0\.1:1$"):
        LocalClient("127.0.0.1:1", tiny.path)


def test_other_machines_are_not_served(tiny):
    with pytest.raises(CloudError, match="listen on 127"):
        LocalService(tiny, "0.0.0.0:0", max_waiting=2)
