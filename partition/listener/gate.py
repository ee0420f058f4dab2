"""Interceptor in front of every method of a server: permitted callers, time for a message.

gRPC hands a call to a thread when its header is there, and that thread waits for the message. Here
tokens are checked on the header alone, and the wait for the first message has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc

from partition.listener.arrivals import Arrivals
from partition.listener.connections import Connections
from partition.listener.refusal_log import RefusalLog
from partition.security.tls import TokenCheck

_HEALTH = "/grpc.health."
_ASIDE = (_HEALTH, "/grpc.reflection.")
_SIDE_THREADS, _SIDE_PLACES = 6, 4
_REFUSING_THREADS = 2
_STRANGER = "no token, or none that this server knows: give --token-file one of its tokens"
_CROWDED = "too many calls of this connection wait for their message"
_EMPTY = "the call has no message"


class Gate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets calls through that show a known token and send their message in time.

    Health checks need no token. They, reflection, and refusals of strangers have threads of their
    own: none can starve the requests, nor they the health checks.

    Args:
        tokens: that are known; None demands none.
        places: calls that may wait for their message at the same time.
        timeout_s: longest wait for a call's first message.
        connections: notified of calls that are let in.
    """

    def __init__(
        self, tokens: TokenCheck | None, places: int, timeout_s: float, connections: Connections
    ) -> None:
        self._tokens, self._connections = tokens, connections
        self._log = RefusalLog()
        self._arrivals = Arrivals(places, timeout_s, self._log.note)
        self._side_arrivals = {
            prefix: Arrivals(_SIDE_PLACES, timeout_s, self._log.note) for prefix in _ASIDE
        }
        self._side_pools = {
            prefix: ThreadPoolExecutor(_SIDE_THREADS, thread_name_prefix="side")
            for prefix in _ASIDE
        }
        self._refusing = ThreadPoolExecutor(_REFUSING_THREADS, thread_name_prefix="refuse")
        # A streaming handler runs without a message.
        self._refusal = grpc.stream_unary_rpc_method_handler(
            _marked(
                lambda _, context: self._refuse(
                    context, grpc.StatusCode.UNAUTHENTICATED, _STRANGER
                ),
                experimental_thread_pool=self._refusing,
            )
        )
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
                return None
            self._handlers[method] = self._guarded(method, handler)
        return self._handlers[method]

    def start(self) -> None:
        """Begin to watch the calls."""
        for arrivals in (self._arrivals, *self._side_arrivals.values()):
            arrivals.start()

    def close(self) -> None:
        """End the threads."""
        for arrivals in (self._arrivals, *self._side_arrivals.values()):
            arrivals.close()
        for pool in (self._refusing, *self._side_pools.values()):
            pool.shutdown(wait=False)

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
            first = self._first(arrivals, messages, context)
            request = _chained(first, messages) if handler.request_streaming else first
            return behavior(request, context)

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(
            _marked(behave, **marks), handler.request_deserializer, handler.response_serializer
        )

    def _first(self, arrivals: Arrivals, messages: Iterator[Any], context: Any) -> Any:
        """The first message of a call."""
        peer = context.peer()
        if not arrivals.begin(context, peer):
            self._refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, _CROWDED)
        try:
            first = next(messages, None)
        finally:
            arrivals.end(context)
        if first is None:
            self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, _EMPTY, peer)
        self._connections.began(peer)
        if not context.add_callback(partial(self._connections.ended, peer)):
            self._connections.ended(peer)
        return first

    def _refuse(self, context: Any, code: grpc.StatusCode, reason: str, peer: str = "") -> None:
        self._log.note(peer or context.peer(), reason)  # which forgets it once the call is over
        context.abort(code, reason)


def _behavior(handler: Any) -> Callable[..., Any]:
    kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    found: Callable[..., Any] = next(each for each in kinds if each is not None)
    return found


def _marked(behave: Callable[..., Any], **marks: Any) -> Callable[..., Any]:
    """A method with what gRPC looks for on it."""
    for name, value in marks.items():
        setattr(behave, name, value)
    return behave


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
