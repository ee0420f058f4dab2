"""A cloud that is not there yet, goes and comes back, over a real server and client."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import grpc
import numpy as np
import pytest

from envs.live.cloud_link import NO_CLOUD_RTT_S, CloudLink
from partition.edge.client import CloudClient
from partition.edge.pipeline import SplitPipeline
from partition.errors import CloudAccessError, ModelMismatchError
from partition.model.routes import Route
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer
from tests.partition.refusing_server import RefusingServer


@pytest.fixture(scope="module")
def runtime(tiny):
    return SplitRuntime(tiny)


@pytest.fixture
def link_to(tiny):
    """Make a link to an address; closed afterwards."""
    links = []

    def make(address) -> CloudLink:
        links.append(CloudLink(CloudClient(address, tiny)))
        return links[-1]

    yield make
    for link in links:
        link.close()


def wait_for(link, *, is_dead: bool, seconds=10.0) -> None:
    """Let control steps pass until the estimate is, or is not, that of a dead link."""
    end_s = time.monotonic() + seconds
    while (link.estimate.rtt_s == NO_CLOUD_RTT_S) is not is_dead:
        assert time.monotonic() < end_s, link.estimate
        link.refresh(is_idle=True)
        link.watch([])
        time.sleep(0.05)
    link.watch([])


def warnings_of(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("envs")]


def test_a_server_that_starts_later_is_found_in_the_background(
    link_to, free_port, tiny, runtime, caplog
):
    link = link_to(f"127.0.0.1:{free_port}")
    link.greet()
    assert link.estimate.rtt_s == NO_CLOUD_RTT_S
    for _ in range(3):
        link.refresh(is_idle=True)
        link.watch([])
    with CloudServer(tiny, runtime, f"127.0.0.1:{free_port}"):
        wait_for(link, is_dead=False)
    first, last = warnings_of(caplog)
    assert f"127.0.0.1:{free_port}" in first
    assert "on the board alone" in first
    assert "works again" in last


def test_a_server_that_goes_is_told_once_and_found_again(link_to, free_port, tiny, runtime, caplog):
    address = f"127.0.0.1:{free_port}"
    with CloudServer(tiny, runtime, address):
        link = link_to(address)
        link.greet()
        wait_for(link, is_dead=False)
    assert warnings_of(caplog) == []
    wait_for(link, is_dead=True)
    for _ in range(10):
        link.watch([])
    with CloudServer(tiny, runtime, address):
        wait_for(link, is_dead=False)
    assert len(warnings_of(caplog)) == 2


def test_a_name_that_nobody_resolves_does_not_end_the_start(link_to, caplog):
    link = link_to("no-such-host.invalid:50051")
    link.greet()
    assert link.estimate.rtt_s == NO_CLOUD_RTT_S
    assert "no-such-host.invalid" in warnings_of(caplog)[0]


def test_a_cloud_with_another_model_is_refused_at_the_start(tiny, runtime):
    with CloudServer(tiny, runtime) as server:
        client = CloudClient(f"127.0.0.1:{server.port}", replace(tiny, fingerprint="0" * 16))
        link = CloudLink(client)
        with closing(link), pytest.raises(ModelMismatchError):
            link.greet()


def test_without_a_client_the_link_is_dead_and_nothing_is_told(caplog):
    link = CloudLink(None)
    link.greet()
    link.refresh(is_idle=True)
    link.watch([])
    link.close()
    assert not link.is_there
    assert link.estimate.rtt_s == NO_CLOUD_RTT_S
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "ABORTED", "UNIMPLEMENTED"])
def test_a_server_or_gateway_that_starts_does_not_end_the_start(
    link_to, tiny, runtime, caplog, code
):
    with RefusingServer(tiny, Hello=grpc.StatusCode[code]) as server:
        link = link_to(f"127.0.0.1:{server.port}")
        link.greet()
        assert link.estimate.rtt_s == NO_CLOUD_RTT_S
        (told,) = warnings_of(caplog)
        assert "on purpose" in told
        assert "on the board alone" in told
        server.codes = {}
        wait_for(link, is_dead=False)
        assert "works again" in warnings_of(caplog)[-1]


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_cloud_that_does_not_let_this_board_in_is_refused_at_the_start(link_to, tiny, code):
    with RefusingServer(tiny, Hello=grpc.StatusCode[code]) as server:
        link = link_to(f"127.0.0.1:{server.port}")
        with pytest.raises(CloudAccessError, match="on purpose"):
            link.greet()


def test_a_cloud_that_comes_later_with_another_model_is_named(link_to, free_port, tiny, caplog):
    link = link_to(f"127.0.0.1:{free_port}")
    link.greet()
    other = replace(tiny, fingerprint="0" * 16)
    with CloudServer(other, SplitRuntime(tiny), f"127.0.0.1:{free_port}"):
        end_s = time.monotonic() + 1.5
        while time.monotonic() < end_s:
            link.refresh(is_idle=True)
            link.watch([])
            time.sleep(0.05)
    first, second = warnings_of(caplog)
    assert "Connection refused" in first
    assert "0000000000000000" in second
    assert link.estimate.rtt_s == NO_CLOUD_RTT_S


@pytest.mark.parametrize(
    ("code", "is_dead"),
    [("UNAUTHENTICATED", True), ("INTERNAL", False), ("INVALID_ARGUMENT", False)],
)
def test_a_cloud_that_refuses_what_is_meant_for_it_is_told_once(
    tiny, runtime, caplog, code, is_dead
):
    x = np.zeros(tiny.input_shape, np.float32)
    with (
        RefusingServer(tiny, Infer=grpc.StatusCode[code]) as server,
        CloudClient(f"127.0.0.1:{server.port}", tiny) as client,
    ):
        link, pipeline = CloudLink(client), SplitPipeline(tiny, runtime, client)
        link.greet()
        for _ in range(5):
            link.watch([pipeline.infer(x, Route(0), 5.0)])
            link.watch([])
        assert (link.estimate.rtt_s == NO_CLOUD_RTT_S) is is_dead
        (told,) = warnings_of(caplog)
        assert "on purpose" in told
