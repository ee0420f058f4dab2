"""Server and client over a real loopback connection."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import grpc
import numpy as np
import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import (
    CloudError,
    DeadlineExceededError,
    ModelMismatchError,
)
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer
from partition.transport import rpc, wire

DEADLINE_S = 5.0


@pytest.fixture
def client(tiny, server):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        yield client


@pytest.fixture
def encoded(tiny, runtime, image):
    return {
        point.index: tuple(Codec().encode(t) for t in runtime.head(point, (image,)))
        for point in tiny.split_points
    }


def call(server, name, message):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        return channel.unary_unary(rpc.method_path(name))(message, timeout=DEADLINE_S)


def test_the_cloud_finishes_what_the_edge_began(tiny, runtime, image, client, encoded):
    client.connect()
    whole = runtime.whole((image,))[0]
    for point in tiny.split_points[:-1]:
        reply = client.infer(point, encoded[point.index], DEADLINE_S)
        np.testing.assert_allclose(reply.outputs[0], whole, atol=0.05 * np.abs(whole).max())
        assert 0 < reply.compute_s < DEADLINE_S


def test_the_server_reports_its_load(tiny, client, encoded):
    point = tiny.split_points[0]
    replies = [client.infer(point, encoded[0], DEADLINE_S) for _ in range(50)]
    assert 0 <= replies[0].load < replies[-1].load < 1
    assert replies[-1].queue == 0


def test_another_model_or_cut_list_is_refused_at_connect_and_at_infer(tiny, server, encoded):
    other = replace(tiny, fingerprint="0" * 16)
    with CloudClient(f"127.0.0.1:{server.port}", other) as client:
        with pytest.raises(ModelMismatchError, match=tiny.fingerprint):
            client.connect()
        with pytest.raises(ModelMismatchError, match="0000000000000000"):
            client.infer(tiny.split_points[0], encoded[0], DEADLINE_S)
    other = replace(tiny, split_points=tiny.split_points[1:])
    with (
        CloudClient(f"127.0.0.1:{server.port}", other) as client,
        pytest.raises(ModelMismatchError, match="cut list"),
    ):
        client.connect()


def test_an_unknown_cut_or_wrong_tensor_is_refused(tiny, client, encoded):
    first, last = tiny.split_points[1], tiny.split_points[-1]
    for point, tensors in (
        (last, encoded[last.index]),
        (replace(first, index=99), encoded[1]),
        (first, encoded[2]),
        (first, encoded[1] * 2),
    ):
        with pytest.raises(CloudError, match="no split point"):
            client.infer(point, tensors, DEADLINE_S)


@pytest.mark.parametrize("name", [rpc.HELLO, rpc.INFER])
@pytest.mark.parametrize("garbage", [b"", b"\x00" * 50, b"DVFO\x01\x02" + b"\xff" * 40])
def test_garbage_is_refused_and_the_server_lives_on(server, client, name, garbage):
    with pytest.raises(grpc.RpcError) as error:
        call(server, name, garbage)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    client.connect()


def test_a_late_answer_ends_at_the_deadline(tiny, encoded):
    serving, released = threading.Event(), threading.Event()

    class SlowTail(SplitRuntime):
        def tail(self, point, tensors):
            if serving.is_set():
                released.wait(DEADLINE_S)
            return super().tail(point, tensors)

    with CloudServer(tiny, SlowTail(tiny)) as server:
        with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
            client.connect()
            serving.set()
            start_s = time.monotonic()
            with pytest.raises(DeadlineExceededError, match=r"20\.0 ms"):
                client.infer(tiny.split_points[0], encoded[0], 0.02)
            assert time.monotonic() - start_s < 0.5
        released.set()


def test_a_request_that_waited_too_long_is_not_computed(tiny, runtime, encoded):
    class Context:
        def time_remaining(self):
            return -1.0

        def peer(self):
            return "ipv4:192.0.2.1:40000"

        def abort(self, code, details):
            raise CloudError(code)

    with CloudServer(tiny, runtime) as server:
        request = wire.Request(tiny.fingerprint, 0, encoded[0])
        with pytest.raises(CloudError, match="DEADLINE"):
            server._endpoint.on_infer(wire.pack_request(request), Context())


def test_a_peer_that_answers_nonsense_is_named(tiny, encoded):
    def nonsense(message, context):
        return b"hello?"

    methods = dict.fromkeys((rpc.HELLO, rpc.INFER), grpc.unary_unary_rpc_method_handler(nonsense))
    from concurrent.futures import ThreadPoolExecutor

    stranger = grpc.server(ThreadPoolExecutor(1))
    stranger.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.SERVICE, methods),))
    port = stranger.add_insecure_port("127.0.0.1:0")
    stranger.start()
    try:
        with (
            CloudClient(f"127.0.0.1:{port}", tiny) as client,
            pytest.raises(CloudError, match="not as a dvfo server"),
        ):
            client.connect()
        with (
            CloudClient(f"127.0.0.1:{port}", tiny) as client,
            pytest.raises(CloudError, match="broken reply"),
        ):
            client.infer(tiny.split_points[0], encoded[0], DEADLINE_S)
    finally:
        stranger.stop(0).wait()


def test_a_request_is_sent_as_it_was_packed_and_as_large_as_the_cut_says(tiny, client, encoded):
    sent, infer = [], client._stub.infer

    def recorded(message, **options):
        sent.append(message)
        return infer(message, **options)

    client._stub.infer = recorded
    for point in tiny.split_points[:-1]:
        client.infer(point, encoded[point.index], DEADLINE_S)
        assert len(sent[-1]) == point.wire_bytes
    numbers = [wire.unpack_request(message).number for message in sent]
    assert numbers == [(numbers[0] + i) % wire.NUMBERS for i in range(len(numbers))]


def test_a_peer_of_another_version_is_refused_by_a_sentence_that_names_both(
    tiny, server, client, encoded
):
    hello = client._stub.greeting
    older = hello[:4] + b"\x02" + hello[5:]
    with pytest.raises(grpc.RpcError, match="version 2 of the protocol, this side speaks 4"):
        call(server, rpc.HELLO, older)
    client._stub.hello = lambda message, **_: older
    with pytest.raises(CloudError, match="version 2 of the protocol, this side speaks 4: install"):
        client.connect()


@pytest.mark.parametrize("address", ["::1:5", "fe80::1", "[::1:5", "::1]:5"])
def test_an_ipv6_address_without_brackets_is_named(tiny, address):
    with pytest.raises(CloudError, match=r"in brackets, \[::1\]:50051"):
        CloudClient(address, tiny)
    CloudClient("[::1]:5", tiny).close()


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:x", "host:70000"])
def test_an_address_of_another_form_is_named(tiny, address):
    with pytest.raises(CloudError, match="HOST:PORT"):
        CloudClient(address, tiny)


def test_a_busy_port_and_a_foreign_address_are_named(tiny, runtime, server):
    with pytest.raises(CloudError, match=f"{server.port}.*in use"):
        CloudServer(tiny, runtime, f"127.0.0.1:{server.port}")
    with pytest.raises(CloudError, match=r"192\.0\.2\.1"):
        CloudServer(tiny, runtime, "192.0.2.1:0")


class TestCommand:
    """`python -m partition.server` as a user runs it."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_serves_until_a_signal_and_exits_cleanly(self, tiny, number):
        command = [sys.executable, "-m", "partition.server", "--listen", "127.0.0.1:0"]
        command += ["--model", str(tiny.path)]
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
            line = process.stdout.readline()
            assert line.startswith(f"serving tiny-cnn {tiny.fingerprint} (cpu) on 127.0.0.1:")
            with CloudClient(line.split()[-1], tiny) as client:
                client.connect()
            process.send_signal(number)
            _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")

    def test_user_errors_end_in_one_sentence(self, tiny, server, user_error, tmp_path):
        command = ("partition.server", "--model", tiny.path, "--listen")
        assert "in use" in user_error(*command, f"127.0.0.1:{server.port}")
        assert "HOST:PORT" in user_error(*command, "nowhere")
        assert "--insecure" in user_error(*command, "0.0.0.0:0")
        missing = ("partition.server", "--model", tmp_path / "gone", "--listen", "127.0.0.1:0")
        assert "partition.prepare --model gone" in user_error(*missing)


def test_concurrent_requests_give_each_caller_its_own_answer(tiny, runtime, server):
    from concurrent.futures import ThreadPoolExecutor

    point = tiny.split_points[1]
    address = f"127.0.0.1:{server.port}"

    def ask(seed):
        x = np.random.default_rng(seed).normal(size=tiny.input_shape).astype(np.float32)
        (tensor,) = runtime.head(point, (x,))
        codec = Codec()
        encoded = codec.encode(tensor)
        with CloudClient(address, tiny) as client:
            logits = [client.infer(point, (encoded,), DEADLINE_S).outputs[0] for _ in range(10)]
        expected = SplitRuntime.tail(runtime, point, (codec.decode(encoded),))[0]
        return all(np.allclose(answer, expected, rtol=1e-5) for answer in logits)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))
