"""Strangers who take a server's places: calls without a message, connections without a call."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from partition.transport import rpc

_INFER = rpc.method_path(rpc.INFER)
_HEALTH_TIMEOUT_S = 5.0
REPOSITORY = Path(__file__).parents[2]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""What a client of HTTP/2 says first, with empty settings."""


class HeadersOnly:
    """Calls that send their header and nothing else, for as long as the context lasts.

    Attributes:
        ended: code and details of each call that the server ended.
    """

    def __init__(self, address, calls, connections, path=_INFER, again=True):
        self._address, self._path, self._again = address, path, again
        self._calls, self._connections = calls, connections
        self._over = threading.Event()
        self.ended = []

    def __enter__(self):
        options = (("grpc.use_local_subchannel_pool", 1),)
        self._channels = [
            grpc.insecure_channel(self._address, options) for _ in range(self._connections)
        ]
        self._threads = [
            threading.Thread(target=self._call, args=(self._channels[i % self._connections],))
            for i in range(self._calls)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        for channel in self._channels:
            channel.close()

    def _call(self, channel):
        call = channel.stream_unary(self._path)
        while not self._over.is_set():
            try:
                call(self._nothing())
            except grpc.RpcError as error:
                if not self._over.is_set():
                    self.ended.append((error.code(), error.details()))
            if not self._again:
                return
            self._over.wait(0.02)

    def _nothing(self):
        self._over.wait(60)
        yield from ()


@contextmanager
def reflection_streams(address, calls, connections, *, talks=False):
    """Streams of reflection that ask one thing and stay, or ask on and read no answer."""
    over = threading.Event()
    question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=4096 * "x")

    def ask():
        yield question
        while not over.wait(0.0 if talks else 60.0):
            yield question

    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.insecure_channel(address, options) for _ in range(connections)]
    stubs = [reflection_pb2_grpc.ServerReflectionStub(channel) for channel in channels]
    try:
        yield [stubs[i % connections].ServerReflectionInfo(ask()) for i in range(calls)]
    finally:
        over.set()
        for channel in channels:
            channel.close()


def reflect(address, timeout_s):
    """Names of the services that a server says it has, on a connection of its own."""
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=timeout_s)
    return {service.name for service in answer.list_services_response.service}


@contextmanager
def idle_connections(port, n, *, greet=True):
    """Connections on which nothing is ever asked; yields their sockets."""
    held = []
    try:
        for _ in range(n):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            if greet:
                held[-1].sendall(_PREFACE)
        yield held
    finally:
        for each in held:
            each.close()


def still_open(held):
    """How many of some sockets the other side has not closed."""
    n = 0
    for each in held:
        each.setblocking(False)
        with suppress(ConnectionError):
            try:
                while each.recv(4096):
                    pass
            except BlockingIOError:
                n += 1
    return n


@contextmanager
def server_process(folder, *options, files=None):
    """`python -m partition.server` for a model; yields its address and the process."""
    command = [sys.executable, "-m", "partition.server", "--model", str(folder.path)]
    command += ["--listen", "127.0.0.1:0", *map(str, options)]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("serving "), process.stderr.read()
        yield line.split()[-1], process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.stdout.close()
            process.stderr.close()


def check_health(address):
    """A health check as an orchestrator does it, on a connection of its own."""
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
