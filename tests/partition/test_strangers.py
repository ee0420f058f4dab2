"""A server under those who only take its places: honest boards are served all the while."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.edge.local_client import LocalClient
from partition.edge.local_service import LocalService
from partition.listener import gate, peers
from partition.listener.arrivals import Arrivals
from partition.listener.connections import Connections
from partition.listener.refusal_log import RefusalLog
from partition.listener.sockets import Sockets, raise_file_limit
from partition.model.runtime import random_inputs
from partition.security.tls import ClientSecurity
from partition.server.cloud_server import CloudServer
from partition.stages.server import StageServer
from partition.stages.session import FRAMES, STATISTICS, method_path
from partition.transport import grpc_options, rpc
from tests.partition.local_board import answering
from tests.partition.strangers import (
    HeadersOnly,
    check_health,
    idle_connections,
    reflect,
    reflection_streams,
    server_process,
    still_open,
)

DEADLINE_S = 5.0
PATIENCE_S = 15.0
REQUESTS = 20
CALLS, CONNECTIONS = 120, 3
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef" * 2)
    return path


@pytest.fixture
def encoded(tiny):
    return tuple(map(Codec().encode, random_inputs(tiny)))


def wait_for(condition):
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def check_served(address, folder, encoded, security=None):
    with CloudClient(address, folder, security=security) as client:
        client.connect(DEADLINE_S)
        for _ in range(REQUESTS):
            client.infer(folder.split_points[0], encoded, DEADLINE_S)


def test_calls_without_token_and_message_do_not_stop_a_server(tiny, encoded, token_file):
    with (
        server_process(tiny, "--token-file", token_file) as (address, process),
        HeadersOnly(address, CALLS, CONNECTIONS) as strangers,
    ):
        wait_for(lambda: len(strangers.ended) >= CALLS)
        check_served(address, tiny, encoded, ClientSecurity(token_file=token_file))
        check_health(address)
        codes = {code for code, _ in strangers.ended}
        refused = grpc.StatusCode.UNAUTHENTICATED
        assert refused in codes
        # The others are too many at once, or their connection was ended as a flood.
        assert codes <= {refused, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
        process.terminate()
        log = process.stderr.read().splitlines()
    told = [line for line in log if "127.0.0.1" in line and "no token, or none" in line]
    assert 0 < len(told) <= 10  # of thousands


@pytest.mark.parametrize("connections", [CONNECTIONS, CALLS])
def test_calls_without_message_do_not_stop_a_server_without_tokens(tiny, encoded, connections):
    with (
        server_process(tiny) as (address, _),
        HeadersOnly(address, 2 * CALLS, connections) as strangers,
    ):
        wait_for(lambda: strangers.ended)
        check_served(address, tiny, encoded)
        check_health(address)


def test_health_checks_without_message_take_neither_requests_nor_health_checks(
    tiny, runtime, encoded
):
    with CloudServer(tiny, runtime) as server:
        address = f"127.0.0.1:{server.port}"
        path = "/grpc.health.v1.Health/Check"
        with HeadersOnly(address, CALLS, CONNECTIONS, path) as strangers:
            wait_for(lambda: strangers.ended)
            check_health(address)
            check_served(address, tiny, encoded)


@pytest.mark.parametrize(
    ("connections", "talks"), [(1, False), (CONNECTIONS, False), (20, False), (CONNECTIONS, True)]
)
def test_streams_of_reflection_that_stay_do_not_keep_others_from_it(
    tiny, runtime, encoded, connections, talks
):
    with CloudServer(tiny, runtime) as server:
        address = f"127.0.0.1:{server.port}"
        with reflection_streams(address, 20, connections, talks=talks) as streams:
            assert talks or any(map(_is_answered, streams))
            time.sleep(0.5)  # by then all have come
            for _ in range(3):
                assert rpc.SERVICE in reflect(address, DEADLINE_S)
            check_health(address)
            check_served(address, tiny, encoded)


def _is_answered(stream):
    """Whether a stream was one of those that the server took; they come in any order."""
    try:
        return next(stream).HasField("error_response")
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False


def test_a_stream_of_reflection_may_ask_several_things_and_has_to_end(tiny, runtime, monkeypatch):
    monkeypatch.setattr(gate, "_SIDE_STREAM_S", 1.0)
    asked = threading.Event()

    def ask():
        for _ in range(5):
            yield reflection_pb2.ServerReflectionRequest(list_services="")
        asked.wait(PATIENCE_S)

    with (
        CloudServer(tiny, runtime) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}", OWN_CONNECTION) as channel,
    ):
        began_s = time.monotonic()
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(ask())
        assert all(next(answers).HasField("list_services_response") for _ in range(5))
        with pytest.raises(grpc.RpcError) as ended:
            next(answers)
        asked.set()
        assert ended.value.code() is grpc.StatusCode.CANCELLED
        assert 0.8 < time.monotonic() - began_s < DEADLINE_S


def _watch_and_leave(address, until_s):
    with grpc.insecure_channel(address, OWN_CONNECTION) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        while time.monotonic() < until_s:
            calls = [watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S) for _ in range(8)]
            with suppress(grpc.RpcError):
                next(calls[0])
            for call in calls:
                call.cancel()


def test_watches_of_a_servers_health_that_come_and_go_do_not_stop_it(tiny, runtime, encoded):
    with CloudServer(tiny, runtime) as server:
        address = f"127.0.0.1:{server.port}"
        until_s = time.monotonic() + 3.0
        strangers = [
            threading.Thread(target=_watch_and_leave, args=(address, until_s)) for _ in range(6)
        ]
        for each in strangers:
            each.start()
        for each in strangers:
            each.join(PATIENCE_S)
        check_health(address)
        check_served(address, tiny, encoded)


def test_a_server_says_that_its_health_cannot_be_watched(tiny, runtime):
    with (
        CloudServer(tiny, runtime) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as refused:
            stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=DEADLINE_S)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_silent_connection_ends(tiny, runtime, monkeypatch):
    options = dict(grpc_options.SERVER)
    assert options["grpc.max_connection_idle_ms"] <= 60_000
    options["grpc.max_connection_idle_ms"] = 300
    monkeypatch.setattr(grpc_options, "SERVER", tuple(options.items()))
    with CloudServer(tiny, runtime) as server, idle_connections(server.port, 5) as held:
        wait_for(lambda: still_open(held) == 0)


def _silence():
    time.sleep(3.0)
    yield from ()


def test_a_message_that_does_not_come_ends_the_call_in_about_two_seconds(tiny, runtime):
    with CloudServer(tiny, runtime) as server:
        began_s = time.monotonic()
        with HeadersOnly(f"127.0.0.1:{server.port}", 1, 1, again=False) as stranger:
            wait_for(lambda: stranger.ended)
        assert 1.5 < time.monotonic() - began_s < 8.0
        assert stranger.ended[0][0] is grpc.StatusCode.CANCELLED


def test_the_local_service_serves_on(tiny, image):
    service = LocalService(tiny, max_waiting=4)
    service.start()
    try:
        with answering(service), HeadersOnly(service.addresses[0], CALLS, CONNECTIONS) as strangers:
            wait_for(lambda: strangers.ended)
            with LocalClient(service.addresses[0], tiny.path) as application:
                for _ in range(REQUESTS):
                    application.infer(image, deadline_s=DEADLINE_S)
    finally:
        service.stop()


def test_a_stage_answers_on(tiny):
    with StageServer(tiny, "127.0.0.1:0") as stage:
        channels = [
            grpc.insecure_channel(stage.address, OWN_CONNECTION) for _ in range(CONNECTIONS)
        ]
        calls = [
            channel.stream_stream(method_path(FRAMES))(_silence())
            for channel in channels
            for _ in range(CALLS // CONNECTIONS)
        ]
        with grpc.insecure_channel(stage.address, OWN_CONNECTION) as channel:
            ask = channel.unary_unary(method_path(STATISTICS))
            for _ in range(5):
                assert b"frames" in ask(b"", timeout=DEADLINE_S)
        for call in calls:
            call.cancel()
        for channel in channels:
            channel.close()


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_file_limit()
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2500:
        pytest.skip("this test opens 1,100 connections")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("greet", [True, False])
def test_idle_connections_beyond_the_open_files_shut_nobody_out(tiny, encoded, many_files, greet):
    with server_process(tiny, files=1024) as (address, _):
        port = rpc.parse_address(address)[1]
        with idle_connections(port, 1100, greet=greet) as held:
            wait_for(lambda: still_open(held) < 900)
            check_served(address, tiny, encoded)


def test_a_server_takes_as_many_files_as_it_may_have(tiny):
    command = 'ulimit -Sn 256; exec "$@"'
    script = (
        "import resource; from partition.listener.sockets import raise_file_limit;"
        "raise_file_limit();"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    output = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    soft, hard = map(int, output.split())
    assert soft == min(hard, 65_536) > 256


class Call:
    """What `Arrivals` knows of a call."""

    cancelled = False

    def cancel(self):
        self.cancelled = True


class TestArrivals:
    @pytest.fixture
    def refused(self):
        return []

    @pytest.fixture
    def arrivals(self, refused):
        return Arrivals(4, 2.0, lambda *what: refused.append(what))

    def test_whoever_holds_most_gives_way_to_whoever_holds_less(self, arrivals, refused):
        greedy = [Call() for _ in range(4)]
        assert all(arrivals.begin(call, peers.parse("ipv4:192.0.2.1:1")) for call in greedy)
        assert not arrivals.begin(Call(), peers.parse("ipv4:192.0.2.1:1"))
        assert arrivals.begin(Call(), peers.parse("ipv4:192.0.2.1:2"))
        assert [call.cancelled for call in greedy] == [True, False, False, False]
        assert refused[0][0].connection == "ipv4:192.0.2.1:1"

    def test_many_connections_of_one_address_count_together(self, arrivals):
        friend, *greedy = calls = [Call() for _ in range(4)]
        names = ["ipv4:192.0.2.9:1", *(f"ipv4:192.0.2.1:{i}" for i in range(3))]
        assert all(map(arrivals.begin, calls, map(peers.parse, names)))
        assert arrivals.begin(Call(), peers.parse("ipv6:%5B2001:db8::1%5D:7"))
        assert greedy[0].cancelled
        assert not friend.cancelled

    def test_a_message_that_is_there_frees_its_place(self, arrivals):
        calls = [Call() for _ in range(4)]
        for call in calls:
            arrivals.begin(call, peers.parse("ipv4:192.0.2.1:1"))
        arrivals.end(calls[1])
        assert arrivals.begin(Call(), peers.parse("ipv4:192.0.2.1:1"))
        assert not any(call.cancelled for call in calls)


class TestConnections:
    """In this process, with a limit of open files that the test lowers."""

    def test_idle_ones_go_and_busy_ones_stay(self, tiny, runtime, encoded, many_files, monkeypatch):
        # The server's own watch does not know of the call that this test only pretends.
        monkeypatch.setattr("partition.listener.connections._CHECK_PERIOD_S", 3600.0)
        with CloudServer(tiny, runtime) as server, idle_connections(server.port, 200) as held:
            address = f"127.0.0.1:{server.port}"
            with CloudClient(address, tiny) as client:
                client.infer(tiny.split_points[0], encoded, DEADLINE_S)
                wait_for(lambda: not client._refreshing)  # its connection is idle only then
                connections = Connections(1e9)
                connections._sockets = Sockets(server.port)
                peer = _peer_of(server.port, held)
                connections.began(peer)
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
                try:
                    connections.look()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert still_open(held[:-1]) < 150
                assert still_open(held[-1:]) == 1
                client.infer(tiny.split_points[0], encoded, DEADLINE_S)


def _peer_of(port, held):
    host, own = held[-1].getsockname()
    return peers.parse(f"ipv4:{host}:{own}")


def test_a_log_of_refusals_is_bounded_and_counts_the_rest(caplog):
    now_s = [0.0]
    log = RefusalLog(lambda: now_s[0])
    for i in range(1000):
        log.note(f"ipv4:192.0.2.{i % 200}:1", "no valid token")
    assert len(caplog.records) == 10
    assert "192.0.2.0" in caplog.messages[0]
    assert "no valid token" in caplog.messages[0]
    now_s[0] = 61.0
    log.note("ipv4:192.0.2.7:1", "no valid token")
    assert "990 others" in caplog.messages[10]
    assert "192.0.2.7" in caplog.messages[11]
