"""Interceptor in front of every method of a server: permitted callers, time for a message.

gRPC hands a call to a thread when its header is there, and that thread waits for the message. Here
tokens are checked on the header alone, and the wait for the first message has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc

from partition.listener import fair_pool, peers
from partition.listener.arrivals import Arrivals
from partition.listener.connections import Connections
from partition.listener.fair_pool import FairPool
from partition.listener.peers import Peer
from partition.listener.refusal_log import RefusalLog
from partition.security.tls import TokenCheck

_HEALTH = "/grpc.health."
_ASIDE = (_HEALTH, "/grpc.reflection.")
_SIDE_PLACES = 4
_SIDE_THREADS = 2 * _SIDE_PLACES + 2
"""Besides those that wait for a first message, and streams, there are two."""
_SIDE_STREAM_S = 10.0
"""Of a stream of reflection, from which clients ask a few things after one another."""
_STRANGER = "no token, or none that this server knows: give --token-file one of its tokens"
_CROWDED = "too many calls of this connection wait for their message"
_EMPTY = "the call has no message"
_TOO_MANY = "too many calls of this connection wait for a thread"
_STREAMS = "too many streams of this connection are open"
_NO_METHOD = "Method not found!"


class Gate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets calls through that show a known token and send their message in time.

    Health checks need no token. They and reflection have threads of their own: they cannot starve
    the requests, nor these them.

    Args:
        tokens: that are known; None demands none.
        threads: for all calls but those.
        places: calls that may wait for their message at the same time.
        timeout_s: longest wait for a call's first message.
        message_bytes: of the largest message; None: no connection is ended as a flood.
        queue: calls of a connection that may wait for a thread.

    Attributes:
        pool: of the threads, for gRPC.
    """

    def __init__(
        self,
        tokens: TokenCheck | None,
        *,
        threads: int,
        places: int,
        timeout_s: float,
        message_bytes: int | None,
        queue: int,
    ) -> None:
        self._tokens = tokens
        self._log = RefusalLog()
        crowded = partial(self._note, reason=_TOO_MANY)
        self.pool = FairPool(threads, queue, crowded)
        self._connections = Connections(message_bytes, self._forget, self.pool.calls)
        self._arrivals = Arrivals(places, timeout_s, self._note)
        self._side_arrivals = {
            prefix: Arrivals(_SIDE_PLACES, timeout_s, self._note) for prefix in _ASIDE
        }
        self._side_streams = Arrivals(_SIDE_PLACES, _SIDE_STREAM_S, self._note, lacks="end")
        self._side_pools = {prefix: FairPool(_SIDE_THREADS, queue, crowded) for prefix in _ASIDE}
        # A streaming handler runs without a message.
        self._refusal = self._refusing(grpc.StatusCode.UNAUTHENTICATED, _STRANGER)
        self._unknown = self._refusing(grpc.StatusCode.UNIMPLEMENTED, _NO_METHOD)
        self._handlers: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Called by gRPC before each call."""
        method = details.method
        if self._tokens is not None and not (
            method.startswith(_HEALTH) or self._tokens.is_known(details.invocation_metadata)
        ):
            return self._refusal
        if method not in self._handlers:
            handler = continuation(details)
            if handler is None:  # names of no method must not fill the memory
                return self._unknown
            self._handlers[method] = self._guarded(method, handler)
        return self._handlers[method]

    def start(self, port: int) -> None:
        """Begin to watch the calls, and the connections of a port."""
        for arrivals in self._all_arrivals():
            arrivals.start()
        self._connections.start(port)

    def close(self) -> None:
        """End the threads, once all calls have ended."""
        self._connections.close()
        for arrivals in self._all_arrivals():
            arrivals.close()
        for pool in (self.pool, *self._side_pools.values()):
            pool.shutdown()

    def _all_arrivals(self) -> tuple[Arrivals, ...]:
        return self._arrivals, *self._side_arrivals.values(), self._side_streams

    def _refusing(self, code: grpc.StatusCode, reason: str) -> Any:
        """A method that refuses whoever calls it."""

        def behave(_: Any, context: Any) -> None:
            peer = peers.parse(context.peer())
            self._connections.refused(peer)
            self._refuse(context, peer, code, reason)

        return grpc.stream_unary_rpc_method_handler(behave)

    def _guarded(self, method: str, handler: Any) -> Any:
        """The same method with a limit to the wait for its first message."""
        behavior = _behavior(handler)
        marks: dict[str, Any] = {}
        arrivals = self._arrivals
        for prefix in _ASIDE:
            if method.startswith(prefix):
                arrivals = self._side_arrivals[prefix]
                marks["experimental_thread_pool"] = self._side_pools[prefix]

        def behave(messages: Iterator[Any], context: Any) -> Any:
            peer = peers.parse(context.peer())
            try:
                request = self._first(arrivals, messages, context, peer)
                if handler.request_streaming:
                    if arrivals is not self._arrivals:
                        self._limit(context, peer)
                    fair_pool.stop_counting()  # for as long as the stream lasts
                    request = self._heard(peer, request, messages)
                answer = behavior(request, context)
            except BaseException:  # refused, or taken back
                if context.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    self._connections.refused(peer)
                raise
            self._connections.answered(peer)
            return answer

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(
            _marked(behave, **marks), handler.request_deserializer, handler.response_serializer
        )

    def _first(self, arrivals: Arrivals, messages: Iterator[Any], context: Any, peer: Peer) -> Any:
        """The first message of a call."""
        if not arrivals.begin(context, peer):
            self._connections.refused(peer)
            self._refuse(context, peer, grpc.StatusCode.RESOURCE_EXHAUSTED, _CROWDED)
        try:
            with fair_pool.aside():
                first = next(messages, None)
        finally:
            arrivals.end(context)
        if first is None:
            self._refuse(context, peer, grpc.StatusCode.INVALID_ARGUMENT, _EMPTY)
        self._connections.heard(peer, _size(first))
        self._connections.began(peer)
        if not context.add_callback(partial(self._connections.ended, peer)):
            self._connections.ended(peer)
        return first

    def _limit(self, context: Any, peer: Peer) -> None:
        """Let a stream of the side end in time, or sooner if others want its place."""
        if not self._side_streams.begin(context, peer):
            self._connections.refused(peer)
            self._refuse(context, peer, grpc.StatusCode.RESOURCE_EXHAUSTED, _STREAMS)
        if not context.add_callback(partial(self._side_streams.end, context)):
            self._side_streams.end(context)

    def _heard(self, peer: Peer, first: Any, rest: Iterator[Any]) -> Iterator[Any]:
        yield first
        for message in rest:
            self._connections.heard(peer, _size(message))
            yield message

    def _refuse(self, context: Any, peer: Peer, code: grpc.StatusCode, reason: str) -> None:
        self._log.note(peer.connection, reason)
        context.abort(code, reason)

    def _note(self, peer: Peer, reason: str) -> None:
        """A call was ended."""
        self._log.note(peer.connection, reason)
        self._connections.refused(peer)

    def _forget(self, peer: Peer) -> None:
        """A connection was ended."""
        for pool in (self.pool, *self._side_pools.values()):
            pool.forget(peer)


def _behavior(handler: Any) -> Callable[..., Any]:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    found: Callable[..., Any] = next(each for each in kinds if each is not None)
    return found


def _marked(behave: Callable[..., Any], **marks: Any) -> Callable[..., Any]:
    """A method with what gRPC looks for on it."""
    for name, value in marks.items():
        setattr(behave, name, value)
    return behave


def _size(message: Any) -> int:
    """Bytes of a message; those of health and reflection are small."""
    return len(message) if isinstance(message, bytes) else 0
