"""What a server refuses, shows, shares and gives back."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import CloudError, ModelMismatchError, ServerBusyError
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare.build import prepare
from partition.server.cloud_server import CloudServer, ServerLimits
from partition.server.metrics import ServerMetrics
from partition.server.model_store import ModelStore, pieces_of
from partition.transport import grpc_options, rpc, wire

DEADLINE_S = 10.0


class HeldTails(SplitRuntime):
    """Tails that wait to be let go."""

    def __init__(self, folder):
        super().__init__(folder)
        self.began, self.go = threading.Semaphore(0), threading.Event()
        self.holding = False
        self.batches = []

    def tail(self, point, tensors):
        if self.holding:
            self.batches.append(len(tensors[0]))
            self.began.release()
            assert self.go.wait(DEADLINE_S)
        return super().tail(point, tensors)


@pytest.fixture
def held(tiny):
    return HeldTails(tiny)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second model."""
    return prepare("tests.partition.small:other", tmp_path_factory.mktemp("models") / "other")


def encode(folder, runtime, split=0, seed=0):
    point = folder.split_points[split]
    inputs = random_inputs(folder, seed=seed)
    return point, tuple(Codec().encode(t) for t in runtime.head(point, inputs))


def address(server):
    return f"127.0.0.1:{server.port}"


def wait_for(condition):
    give_up_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


def test_several_models_are_served_and_named_by_hash(tiny, other):
    with CloudServer([tiny, other]) as server:
        for folder in (tiny, other):
            runtime = SplitRuntime(folder)
            point, encoded = encode(folder, runtime, 1)
            with CloudClient(address(server), folder) as client:
                client.connect()
                logits = client.infer(point, encoded, DEADLINE_S).outputs[0]
            decoded = tuple(map(Codec().decode, encoded))
            np.testing.assert_allclose(logits, runtime.tail(point, decoded)[0], rtol=1e-4)
        stranger = replace(tiny, fingerprint="12" * 8)
        with (
            CloudClient(address(server), stranger) as client,
            pytest.raises(ModelMismatchError, match=other.fingerprint),
        ):
            client.connect()


def test_tails_are_loaded_on_demand_within_the_budget(tiny, other):
    sizes = [
        sum(pieces_of(folder, point, SplitRuntime(folder)).values())
        for folder in (tiny, other)
        for point in folder.split_points[:-1]
    ]
    budget_bytes = 2 * max(sizes)
    store = ModelStore([tiny, other], budget_bytes=budget_bytes)
    assert store.loaded_bytes == 0
    kept = store.tail(tiny.fingerprint, 0)
    for folder in (tiny, other, tiny):
        for point in folder.split_points[:-1]:
            store.tail(folder.fingerprint, point.index)
            assert store.loaded_bytes <= budget_bytes
            # What is used is not let go.
            assert store.tail(tiny.fingerprint, 0) is kept
    assert store.n_loads > len(sizes) - 1


def test_a_tail_is_loaded_once_however_many_ask(tiny):
    store = ModelStore([tiny])
    with ThreadPoolExecutor(8) as pool:
        tails = list(pool.map(lambda _: store.tail(tiny.fingerprint, 1), range(16)))
    assert len(set(map(id, tails))) == store.n_loads == 1


def test_a_model_beyond_the_budget_is_refused_at_the_start(tiny):
    with pytest.raises(CloudError, match="--memory-mb"):
        ModelStore([tiny], budget_bytes=1000)


def test_each_of_many_calls_on_one_connection_is_answered_or_told_that_it_is_busy(tiny, runtime):
    point, encoded = encode(tiny, runtime)
    message = wire.pack_request(wire.Request(tiny.fingerprint, point.index, encoded))
    both, codes = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}, set()
    with (
        CloudServer(tiny, runtime, limits=ServerLimits(max_waiting=1)) as server,
        grpc.insecure_channel(address(server)) as channel,
    ):
        infer = channel.unary_unary(rpc.method_path(rpc.INFER))
        for n_rounds in range(1_000):
            calls = [
                infer.future(message, timeout=DEADLINE_S) for _ in range(grpc_options.CALLS_AT_ONCE)
            ]
            codes |= {call.code() for call in calls}
            if n_rounds > 20 and codes >= both:
                break
    assert codes == both


def test_threads_of_one_client_take_turns_and_none_is_told_that_no_server_is_there(tiny, runtime):
    point, encoded = encode(tiny, runtime)

    def ask(_):
        with suppress(ServerBusyError):
            return client.infer(point, encoded, DEADLINE_S).outputs[0].shape

    with (
        CloudServer(tiny, runtime) as server,
        CloudClient(address(server), tiny) as client,
        ThreadPoolExecutor(8 * grpc_options.CALLS_AT_ONCE) as pool,
    ):
        shapes = list(pool.map(ask, range(40 * grpc_options.CALLS_AT_ONCE)))
    assert set(shapes) <= {(1, 10), None}
    assert shapes.count((1, 10)) > len(shapes) // 2


def test_a_full_server_says_so_with_its_load_and_the_client_falls_back_at_once(tiny, held):
    point, encoded = encode(tiny, held)
    metrics = ServerMetrics()
    limits = ServerLimits(max_waiting=2)
    with (
        CloudServer(tiny, held, max_workers=1, limits=limits, metrics=metrics) as server,
        ThreadPoolExecutor(8) as pool,
        CloudClient(address(server), tiny) as client,
    ):
        held.holding = True
        futures = [pool.submit(client.infer, point, encoded, DEADLINE_S) for _ in range(3)]
        wait_for(lambda: len(server._queue) == 2)
        time.sleep(0.3)  # the load is an average over a second
        start_s = time.monotonic()
        with pytest.raises(ServerBusyError, match="busy"):
            client.infer(point, encoded, DEADLINE_S)
        assert time.monotonic() - start_s < 0.5
        assert 0.1 < client._server_load <= 1
        with pytest.raises(ServerBusyError, match="a moment ago"):  # does not even ask
            client.infer(point, encoded, DEADLINE_S)
        held.go.set()
        assert all(f.result(DEADLINE_S).outputs[0].shape == (1, 10) for f in futures)
        wait_for(lambda: client._standing.breaker.check() is None)
        assert client.infer(point, encoded, DEADLINE_S).outputs[0].shape == (1, 10)
    text = metrics.registry.get_sample_value
    assert text("dvfo_requests_total", {"outcome": "ok"}) == 4
    assert text("dvfo_requests_total", {"outcome": "resource_exhausted"}) == 1


def test_what_waits_is_run_as_one_batch_and_each_gets_its_own_answer(tiny, held):
    if not tiny.dynamic_batch:
        pytest.skip("the model's batch is fixed")
    requests = [encode(tiny, held, 1, seed) for seed in range(5)]
    expected = [held.tail(p, tuple(map(Codec().decode, e)))[0] for p, e in requests]
    limits = ServerLimits(batch_cap_s=10.0)
    with (
        CloudServer(tiny, held, max_workers=1, limits=limits) as server,
        ThreadPoolExecutor(8) as pool,
        CloudClient(address(server), tiny) as client,
    ):
        for _ in range(2):
            client.infer(*requests[0], DEADLINE_S)
        held.holding = True
        futures = [pool.submit(client.infer, *requests[0], DEADLINE_S)]
        assert held.began.acquire(timeout=DEADLINE_S)
        futures += [pool.submit(client.infer, *request, DEADLINE_S) for request in requests[1:]]
        wait_for(lambda: len(server._queue) == 4)
        held.go.set()
        for future, logits in zip(futures, expected, strict=True):
            np.testing.assert_allclose(
                future.result(DEADLINE_S).outputs[0], logits, rtol=1e-3, atol=1e-5
            )
    assert max(held.batches) > 1


def test_a_message_larger_than_the_models_need_is_refused_before_it_is_read(tiny, server):
    with (
        grpc.insecure_channel(address(server), options=grpc_options.SIZES) as channel,
        pytest.raises(grpc.RpcError) as error,
    ):
        channel.unary_unary(rpc.method_path(rpc.INFER))(bytes(500_000), timeout=DEADLINE_S)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_reply_to_another_request_is_not_taken(tiny, runtime, server):
    point, encoded = encode(tiny, runtime)
    with CloudClient(address(server), tiny) as client:
        infer = client._stub.infer

        def mixed_up(message, **options):
            reply = wire.unpack_reply(infer(message, **options))
            return wire.pack_reply(replace(reply, number=(reply.number + 1) % wire.NUMBERS))

        client._stub.infer = mixed_up
        with pytest.raises(CloudError, match="another request"):
            client.infer(point, encoded, DEADLINE_S)


@pytest.mark.parametrize("size", [0, 7, 8, 100])
def test_a_reply_cut_short_is_named(tiny, runtime, server, size):
    point, encoded = encode(tiny, runtime)
    with CloudClient(address(server), tiny) as client:
        infer = client._stub.infer
        client._stub.infer = lambda message, **options: infer(message, **options)[:size]
        with pytest.raises(CloudError, match="broken reply"):
            client.infer(point, encoded, DEADLINE_S)


class TestServices:
    @pytest.fixture
    def channel(self, server):
        with grpc.insecure_channel(address(server)) as channel:
            yield channel

    @pytest.mark.parametrize("name", ["", rpc.SERVICE])
    def test_health(self, channel, name):
        request = health_pb2.HealthCheckRequest(service=name)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=DEADLINE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def test_reflection(self, channel):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=DEADLINE_S)
        names = {service.name for service in answer.list_services_response.service}
        assert {rpc.SERVICE, "grpc.health.v1.Health"} <= names


class TestCommand:
    """`python -m partition.server` as a user runs it."""

    def start(self, *options):
        command = [sys.executable, "-m", "partition.server", "--listen", "127.0.0.1:0"]
        return subprocess.Popen(
            [*command, *map(str, options)], stdout=subprocess.PIPE, stderr=-1, text=True
        )

    def test_a_signal_lets_it_finish_what_it_has_begun(self, tiny, other, runtime):
        with self.start("--model", tiny.path, "--model", other.path) as process:
            lines = [process.stdout.readline().split() for _ in range(2)]
            assert [line[1:3] for line in lines] == [
                [folder.name, folder.fingerprint] for folder in (tiny, other)
            ]
            point, encoded = encode(tiny, runtime)
            with CloudClient(lines[0][-1], tiny) as client, ThreadPoolExecutor(4) as pool:
                client.connect()
                answered, stop = [0] * 4, threading.Event()

                def ask(i):
                    while not stop.is_set():
                        try:
                            client.infer(point, encoded, DEADLINE_S)
                        except CloudError:
                            return  # the server is going
                        answered[i] += 1

                futures = [pool.submit(ask, i) for i in range(4)]
                wait_for(lambda: min(answered) > 5)
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=10)
                stop.set()
                for future in futures:
                    future.result(DEADLINE_S)
            assert (process.returncode, errors) == (0, "")

    def test_metrics(self, tiny, runtime):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with self.start("--model", tiny.path, "--metrics", f"127.0.0.1:{port}") as process:
            point, encoded = encode(tiny, runtime)
            with CloudClient(process.stdout.readline().split()[-1], tiny) as client:
                client.infer(point, encoded, DEADLINE_S)
            url = f"http://127.0.0.1:{port}/metrics"
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                text = answer.read().decode()
            process.terminate()
            process.communicate(timeout=10)
        for line in (
            'dvfo_requests_total{outcome="ok"} 1.0',
            'dvfo_batch_size_bucket{le="1.0"} 1.0',
            "dvfo_waiting 0.0",
        ):
            assert line in text
        assert "dvfo_loaded_bytes" in text

    def test_memory_is_kept_to(self, lite0):
        with self.start("--model", lite0.path, "--memory-mb", 1) as process:
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "--memory-mb" in errors
