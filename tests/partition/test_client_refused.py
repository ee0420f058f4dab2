"""A server that answers and refuses: asked seldom, sent little, and its reason is known."""

from __future__ import annotations

import time

import grpc
import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import (
    CloudAccessError,
    CloudError,
    CloudUnavailableError,
    ModelMismatchError,
)
from partition.model.runtime import random_inputs
from partition.server.cloud_server import CloudServer
from partition.transport import rpc
from tests.partition.refusing_server import RefusingServer

DEADLINE_S = 5.0
FOR_GOOD = {
    grpc.StatusCode.UNAUTHENTICATED: CloudAccessError,
    grpc.StatusCode.PERMISSION_DENIED: CloudAccessError,
    grpc.StatusCode.FAILED_PRECONDITION: ModelMismatchError,
    grpc.StatusCode.UNIMPLEMENTED: CloudError,
}


@pytest.fixture
def encoded(tiny):
    return tuple(map(Codec().encode, random_inputs(tiny)))


def wait_for(condition):
    give_up_s = time.monotonic() + 2 * DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


@pytest.mark.parametrize("code", [*FOR_GOOD, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
def test_a_server_that_comes_back_and_refuses_is_asked_seldom_and_found_once_it_serves(
    tiny, runtime, free_port, encoded, code
):
    with CloudClient(f"127.0.0.1:{free_port}", tiny) as client:
        with pytest.raises(CloudUnavailableError):
            client.connect()
        with RefusingServer(tiny, free_port) as server:
            server.refuse_all(code)
            wait_for(lambda: client.refusal is not None)
            assert type(client.refusal) is FOR_GOOD.get(code, CloudError)
            assert "on purpose" in str(client.refusal)
            time.sleep(1.0)
            assert client.link is None
            assert server.calls.total() <= 4  # after 0, 0.3 and 0.9 s
        with CloudServer(tiny, runtime, f"127.0.0.1:{free_port}"):
            wait_for(lambda: client.refusal is None and client._standing.breaker.check() is None)
            client.infer(tiny.split_points[0], encoded, DEADLINE_S)
            assert client.link is not None


@pytest.mark.parametrize(("code", "kind"), FOR_GOOD.items())
def test_a_client_that_is_shut_out_while_it_runs_uploads_nothing_more(tiny, encoded, code, kind):
    with (
        RefusingServer(tiny) as server,
        CloudClient(f"127.0.0.1:{server.port}", tiny) as client,
    ):
        client.connect()
        client.probe()
        server.refuse_all(code)
        for _ in range(30):
            with pytest.raises(kind, match="on purpose"):
                client.infer(tiny.split_points[0], encoded, DEADLINE_S)
        assert server.calls[rpc.INFER] == 1
        assert client.link is None
        server.codes = {}
        wait_for(lambda: client.link is not None)
        assert client.refusal is None


def test_a_server_that_refuses_every_request_gets_ever_fewer_of_them(tiny, encoded):
    with (
        RefusingServer(tiny, Infer=grpc.StatusCode.INTERNAL) as server,
        CloudClient(f"127.0.0.1:{server.port}", tiny) as client,
    ):
        client.connect()
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            with pytest.raises(CloudError, match="on purpose"):
                client.infer(tiny.split_points[0], encoded, DEADLINE_S)
            time.sleep(0.01)
        assert 2 <= server.calls[rpc.INFER] <= 7  # after 0, 0, 50, 150, 350 and 750 ms
        assert "on purpose" in str(client.refusal)


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT])
def test_one_request_that_is_refused_costs_the_next_one_nothing(tiny, encoded, code):
    with (
        RefusingServer(tiny, Infer=code) as server,
        CloudClient(f"127.0.0.1:{server.port}", tiny) as client,
    ):
        with pytest.raises(CloudError, match="on purpose"):
            client.infer(tiny.split_points[0], encoded, DEADLINE_S)
        assert client._standing.breaker.check() is None


def test_a_measurement_that_is_answered_with_nonsense_is_followed_by_a_hello(tiny):
    with (
        RefusingServer(tiny) as server,
        CloudClient(f"127.0.0.1:{server.port}", tiny) as client,
    ):
        client.probe()
        server._answers[rpc.ECHO] = b"nonsense"
        client.refresh()
        wait_for(lambda: client.link is None)
        wait_for(lambda: client.link is not None)
        assert server.calls[rpc.HELLO] == 1
