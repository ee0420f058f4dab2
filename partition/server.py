"""The cloud side: `python -m partition.server --model M --listen HOST:PORT`.

gRPC unary calls that pass raw bytes through: a protobuf bytes field costs three times as much at
400 kB.
"""

from __future__ import annotations

import argparse
import ipaddress
import math
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import grpc
import numpy as np

from partition import cli, rpc, wire
from partition.codec import Int8Codec
from partition.errors import CloudError, WireError
from partition.model_folder import ModelFolder
from partition.runtime import SplitRuntime

_P = ParamSpec("_P")
_T = TypeVar("_T")
_LOAD_TIME_CONSTANT_S = 1.0
_STOP_GRACE_S = 1.0


class _MeteredPool(ThreadPoolExecutor):
    """Worker threads that know how busy they are, waiting requests included."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._workers = max_workers
        self._guard = threading.Lock()
        self._pending = 0
        self._load = 0.0
        self._updated_s = time.monotonic()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        self._count(1)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def read(self) -> tuple[float, int]:
        """Busy share of the workers, averaged over the last second, and requests pending."""
        self._count(0)
        return self._load, self._pending

    def _count(self, change: int) -> None:
        with self._guard:
            now_s = time.monotonic()
            keep = math.exp((self._updated_s - now_s) / _LOAD_TIME_CONSTANT_S)
            busy = min(self._pending, self._workers) / self._workers
            self._load = keep * self._load + (1 - keep) * busy
            self._updated_s = now_s
            self._pending += change


class CloudServer:
    """Serves the tails of one model until it is stopped; a context manager.

    Args:
        folder: the model.
        runtime: what runs the tails.
        listen: HOST:PORT; port 0 takes a free one.
        max_workers: requests served at the same time.

    Raises:
        CloudError: the address is no address, in use or not permitted.
    """

    def __init__(
        self,
        folder: ModelFolder,
        runtime: SplitRuntime,
        listen: str = "127.0.0.1:0",
        max_workers: int = 2,
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._hello = wire.Hello(folder.fingerprint, folder.cut_list_fingerprint)
        self._codecs = threading.local()
        self._pool = _MeteredPool(max_workers)
        # Without so_reuseport=0 a second server on the same port would start and steal requests.
        self._server = grpc.server(
            self._pool, options=(*rpc.SIZE_OPTIONS, ("grpc.so_reuseport", 0))
        )
        methods = {rpc.HELLO: self._on_hello, rpc.INFER: self._on_infer, rpc.ECHO: self._on_echo}
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(rpc.SERVICE, handlers),)
        )
        _check_free(listen)
        self.port: int = self._server.add_insecure_port(listen)

    def __enter__(self) -> CloudServer:
        """Build the sessions of all tails, then start serving."""
        for point in self._folder.split_points[:-1]:
            tensors = tuple(np.zeros(shape, np.float32) for shape in point.shapes)
            self._runtime.tail(point, tensors)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what is being served, then stop."""
        self._server.stop(_STOP_GRACE_S).wait()
        self._pool.shutdown()

    def _on_hello(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            hello = wire.unpack_hello(message)
        except WireError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if hello != self._hello:
            self._refuse_model(context, hello.fingerprint)
        return wire.pack_hello(self._hello)

    def _on_echo(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        return wire.pack_echo(self._pool.read()[0])

    def _on_infer(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            request = wire.unpack_request(message)
        except WireError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if request.fingerprint != self._folder.fingerprint:
            self._refuse_model(context, request.fingerprint)
        points = self._folder.split_points
        shapes = tuple(tensor.shape for tensor in request.tensors)
        if request.split >= len(points) - 1 or shapes != points[request.split].shapes:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"no split point {request.split} of {self._folder.name} takes tensors {shapes}",
            )
        if context.time_remaining() <= 0:
            # It waited for a worker too long: nobody reads the answer.
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the request waited too long")
        return wire.pack_reply(self._serve(request))

    def _serve(self, request: wire.Request) -> wire.Reply:
        start_s = time.monotonic()
        if not hasattr(self._codecs, "codec"):
            self._codecs.codec = Int8Codec()
        tensors = tuple(self._codecs.codec.decode(tensor) for tensor in request.tensors)
        logits = self._runtime.tail(self._folder.split_points[request.split], tensors)
        load, pending = self._pool.read()
        return wire.Reply(logits, time.monotonic() - start_s, load, max(pending - 1, 0))

    def _refuse_model(self, context: grpc.ServicerContext, theirs: str) -> None:
        context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"the server holds {self._folder.name} {self._folder.fingerprint}, the edge {theirs} "
            "or another cut list: prepare both from the same model and version",
        )


def _check_free(listen: str) -> None:
    """Say what is wrong with an address before gRPC logs it in its own words."""
    host, port = rpc.parse_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        raise CloudError(
            f"cannot listen on {listen} ({error}): choose another address or port"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.server", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0: a free one")
    parser.add_argument("--threads", type=cli.positive, default=1, help="threads per request")
    parser.add_argument(
        "--max-workers", type=cli.positive, default=2, help="requests at the same time"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine without encryption"
    )
    arguments = parser.parse_args()
    host, _ = rpc.parse_address(arguments.listen)
    if not (arguments.insecure or _is_loopback(host)):
        raise CloudError(
            f"{host} is reachable from other machines and nothing is encrypted: "
            "listen on 127.0.0.1, or add --insecure on a network you trust"
        )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    folder = ModelFolder.open(arguments.model)
    runtime = SplitRuntime(folder, arguments.threads)
    with CloudServer(folder, runtime, arguments.listen, arguments.max_workers) as server:
        address = f"{arguments.listen.rpartition(':')[0]}:{server.port}"
        sys.stdout.write(f"serving {folder.name} {folder.fingerprint} on {address}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    sys.exit(cli.run(_main))
