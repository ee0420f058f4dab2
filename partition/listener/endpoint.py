"""gRPC endpoint of a server for split networks: hellos, requests, echoes.

gRPC unary calls that pass raw bytes through: a protobuf bytes field costs three times as much at
400 kB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import numpy.typing as npt

from partition.errors import (
    DeadlineExceededError,
    ModelMismatchError,
    PartitionError,
    ServerBusyError,
    WireError,
)
from partition.listener import peers
from partition.listener.listener import MESSAGE_TIMEOUT_S, Listener
from partition.listener.load_meter import LoadMeter
from partition.listener.peers import Peer
from partition.model.folder import ModelFolder
from partition.providers.session import RUNTIME_ERRORS
from partition.security.tls import ServerSecurity
from partition.transport import grpc_options, rpc, wire

Answer = Callable[[wire.Request, float, Peer], tuple[npt.NDArray[Any], ...]]
"""From a request, the time after which no client waits for it, and whose it is, to the network's
outputs."""

_SLOW_LINK_BPS = 0.5e6
"""The largest message is waited for as long as it takes at this rate. A slower link is not worth
sending it over."""
_ROOM_BYTES = 65_536
"""Of a message besides its tensors; probes of the link fit in, too."""
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
        load: of what answers; notified of each request.
        n_requests: that are answered or wait at the same time.
        security: certificates and tokens.
        is_local: it serves applications of this machine, whose connections are never ended.
        answered: called with the bytes of each request answered and the time that it took, s.
        failed: called with the gRPC code of each call that failed, in lower case.
        clock: monotonic seconds.

    Attributes:
        grpc_server: where further services can be added before the start.
        port: that is listened on.

    Raises:
        CloudError: the address is no address, in use or not permitted, a file of `security`
            cannot be read, or there is no room for gRPC's threads.
    """

    def __init__(
        self,
        listen: str,
        answer: Answer,
        folders: dict[str, ModelFolder],
        load: LoadMeter,
        *,
        n_requests: int,
        security: ServerSecurity | None = None,
        is_local: bool = False,
        answered: Callable[[int, float], object] = lambda *_: None,
        failed: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer, self._folders, self._load, self._clock = answer, folders, load, clock
        self._answered, self._failed = answered, failed
        methods = {rpc.HELLO: self._on_hello, rpc.INFER: self.on_infer, rpc.ECHO: self._on_echo}
        self._listener = Listener(
            listen,
            rpc.SERVICE,
            {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()},
            n_calls=n_requests,
            message_timeout_s=_message_timeout_s(folders.values()),
            options=(*_options(folders.values()), *(grpc_options.LOCAL_SERVER if is_local else ())),
            is_local=is_local,
            security=security,
        )
        self.grpc_server, self.port = self._listener.grpc_server, self._listener.port

    def start(self) -> None:
        """Begin to listen."""
        self._listener.start()

    def stop(self, drain_s: float) -> None:
        """Refuse what comes, give what is being answered some time, then stop."""
        self._listener.stop(drain_s)

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
        start_s = self._clock()
        due_s = start_s + rpc.timeout_s(context.time_remaining())
        try:
            self._load.begin()
            try:
                request = wire.unpack_request(message)
                self.find(request.fingerprint)
                outputs = self._answer(request, due_s, peers.parse(context.peer()))
            finally:
                self._load.end()
            elapsed_s = self._clock() - start_s
            load, others = self._load.read()
            reply = wire.pack_reply(wire.Reply(outputs, elapsed_s, load, others, request.number))
        except _KNOWN_ERRORS as error:
            self._abort(context, error)
            raise
        self._answered(len(message), elapsed_s)
        return reply

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
        return wire.pack_echo(self._load.read()[0])

    def _abort(self, context: Any, error: Exception) -> None:
        """End a call with what went wrong; the load goes along."""
        code = next(code for kinds, code in _CODES if isinstance(error, kinds))
        self._failed(code.name.lower())
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            context.set_trailing_metadata(((rpc.LOAD_METADATA, f"{self._load.read()[0]:.3f}"),))
        context.abort(code, str(error))


def _options(folders: Iterable[ModelFolder]) -> grpc_options.Options:
    """Limits for gRPC: no message larger than the models have use for."""
    largest = max(point.float32_bytes for each in folders for point in each.split_points)
    max_bytes = min(2 * largest + _ROOM_BYTES, wire.MAX_MESSAGE_BYTES)
    return (*grpc_options.SIZES, ("grpc.max_receive_message_length", max_bytes))


def _message_timeout_s(folders: Iterable[ModelFolder]) -> float:
    """Time for a message to arrive, the largest one on a slow link included."""
    largest = max(point.wire_bytes for each in folders for point in each.split_points)
    return MESSAGE_TIMEOUT_S + 8 * largest / _SLOW_LINK_BPS
