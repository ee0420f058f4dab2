"""The gRPC end of whoever answers requests of a split network: hellos, requests, echoes.

gRPC unary calls that pass raw bytes through: a protobuf bytes field costs three times as much at
400 kB.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from partition import rpc, wire
from partition.errors import (
    CloudError,
    DeadlineExceededError,
    ModelMismatchError,
    PartitionError,
    ServerBusyError,
    WireError,
)
from partition.model_folder import ModelFolder
from partition.runtime import RUNTIME_ERRORS
from partition.tls import ServerSecurity

Answer = Callable[[bytes, float], wire.Reply]
"""From a packed request and the time that is left for it, s, to its reply."""

_SPARE_THREADS = 8
"""For echoes, hellos and health checks while every other thread has a request."""
_SPARE_STREAMS = 32
_LONGEST_S = 60.0
"""That a request may take; gRPC says of one without a deadline that 10^18 s are left."""
_ROOM_BYTES = 65_536
"""Of a message beside its tensors; probes of the link fit in, too."""
_CODES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], grpc.StatusCode], ...] = (
    (WireError, grpc.StatusCode.INVALID_ARGUMENT),
    (ModelMismatchError, grpc.StatusCode.FAILED_PRECONDITION),
    (ServerBusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineExceededError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (PartitionError, grpc.StatusCode.INTERNAL),
    (RUNTIME_ERRORS, grpc.StatusCode.INTERNAL),
)
_KNOWN_ERRORS: tuple[type[Exception], ...] = (PartitionError, *RUNTIME_ERRORS)


class Endpoint:
    """Listens until it is stopped.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        answer: called for each request, in one of the threads.
        folders: the models that a hello may name, by fingerprint.
        load: busy share of what answers, 0..1.
        n_requests: that are answered or wait at the same time.
        security: certificates and tokens.
        failed: told the gRPC code of each call that failed, in lower case.

    Attributes:
        grpc_server: where further services can be added before the start.
        port: that is listened on.

    Raises:
        CloudError: the address is no address, in use or not permitted, or a file of `security`
            cannot be read.
    """

    def __init__(
        self,
        listen: str,
        answer: Answer,
        folders: dict[str, ModelFolder],
        load: Callable[[], float],
        *,
        n_requests: int,
        security: ServerSecurity | None = None,
        failed: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._answer, self._folders, self._load, self._failed = answer, folders, load, failed
        n_threads = n_requests + _SPARE_THREADS
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="serve")
        security = security or ServerSecurity()
        tokens = security.tokens()
        self.grpc_server = grpc.server(
            self._pool,
            interceptors=() if tokens is None else (tokens,),
            options=_options(folders.values(), n_threads),
            maximum_concurrent_rpcs=n_threads + _SPARE_STREAMS,
        )
        methods = {rpc.HELLO: self._on_hello, rpc.INFER: self.on_infer, rpc.ECHO: self._on_echo}
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        self.grpc_server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(rpc.SERVICE, handlers),)
        )
        check_free(listen)
        credentials = security.credentials()
        self.port: int = (
            self.grpc_server.add_insecure_port(listen)
            if credentials is None
            else self.grpc_server.add_secure_port(listen, credentials)
        )

    def start(self) -> None:
        """Begin to listen."""
        self.grpc_server.start()

    def stop(self, drain_s: float) -> None:
        """Refuse what comes, give what is being answered some time, then stop."""
        self.grpc_server.stop(drain_s).wait()
        self._pool.shutdown()

    def find(self, fingerprint: str) -> ModelFolder:
        """The model with this fingerprint.

        Raises:
            ModelMismatchError: it is not here.
        """
        folder = self._folders.get(fingerprint)
        if folder is None:
            held = ", ".join(f"{each.name} {key}" for key, each in self._folders.items())
            raise ModelMismatchError(
                f"the server holds {held}, the edge {fingerprint} or another cut list: prepare "
                "both from the same model and version"
            )
        return folder

    def on_infer(self, message: bytes, context: Any) -> bytes:
        """Answer one request; `context` is gRPC's."""
        try:
            body, request_id = rpc.split_id(message)
            reply = self._answer(body, min(context.time_remaining(), _LONGEST_S))
            return rpc.with_id(wire.pack_reply(reply), request_id)
        except _KNOWN_ERRORS as error:
            self._abort(context, error)
            raise

    def _on_hello(self, message: bytes, context: Any) -> bytes:
        try:
            hello = wire.unpack_hello(message)
            mine = self.find(hello.fingerprint)
            if hello.cut_list_fingerprint != mine.cut_list_fingerprint:
                raise ModelMismatchError(
                    f"the server's {mine.name} {mine.fingerprint} has another cut list: use the "
                    "same version on both sides"
                )
        except PartitionError as error:
            self._abort(context, error)
        return message

    def _on_echo(self, message: bytes, context: Any) -> bytes:
        return wire.pack_echo(self._load())

    def _abort(self, context: Any, error: Exception) -> None:
        """End a call with what went wrong; the load goes along."""
        code = next(code for kinds, code in _CODES if isinstance(error, kinds))
        self._failed(code.name.lower())
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            context.set_trailing_metadata(((rpc.LOAD_METADATA, f"{self._load():.3f}"),))
        context.abort(code, str(error))


def _options(folders: Iterable[ModelFolder], n_threads: int) -> tuple[tuple[str, int], ...]:
    """Limits for gRPC: no message larger than the models have use for."""
    largest = max(point.float32_bytes for each in folders for point in each.split_points)
    max_bytes = min(2 * largest + _ROOM_BYTES, wire.MAX_MESSAGE_BYTES)
    return (
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
        ("grpc.max_concurrent_streams", n_threads),
        # Without it a second server on the same port would start and steal requests.
        ("grpc.so_reuseport", 0),
        # Clients ask whether an idle connection is alive.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    )


def check_free(listen: str) -> None:
    """Say what is wrong with an address before gRPC logs it in its own words."""
    host, port = rpc.parse_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        raise CloudError(
            f"cannot listen on {listen} ({error}): choose another address or port"
        ) from error
