"""The one set-up of every gRPC server here: limits, time-outs, certificates and tokens."""

from __future__ import annotations

import socket
from typing import Any

import grpc

from partition.errors import CloudError
from partition.listener.gate import Gate
from partition.security.tls import ServerSecurity
from partition.transport import grpc_options, rpc, threads

MESSAGE_TIMEOUT_S = 2.0
"""For the first message of a call, in addition to what it takes on a slow link."""
_PLACES = 32
"""Calls that may wait for their message, besides those answered at the same time."""
_SPARE_THREADS = 8
"""For echoes and hellos, and to refuse calls, while every other thread has one."""
_CALLS_PER_STREAM = 3
"""That may wait of a connection: those that a client has taken back wait, too, for their turn."""
_MAX_CALLS = 4_096
"""That are open or wait for a thread, refused ones included: what an attack may take of memory."""


class Listener:
    """Listens with some methods until it is stopped.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        service: name of the methods' service.
        handlers: of gRPC, by name of the method.
        n_calls: that are answered or wait for an answer at the same time.
        message_timeout_s: longest wait for the first message of a call.
        options: of gRPC, in addition to or in place of those of every server.
        is_local: it serves applications of this machine, whose connections are never ended.
        security: certificates and tokens; None encrypts nothing.

    Attributes:
        grpc_server: where further services can be added before the start.
        port: that is listened on.

    Raises:
        CloudError: the address is no address, in use or not permitted, or a file of `security`
            cannot be used; or there is no room for gRPC's threads.
    """

    def __init__(
        self,
        listen: str,
        service: str,
        handlers: dict[str, Any],
        *,
        n_calls: int,
        message_timeout_s: float = MESSAGE_TIMEOUT_S,
        options: grpc_options.Options = (),
        is_local: bool = False,
        security: ServerSecurity | None = None,
    ) -> None:
        threads.check_free()
        security = security or ServerSecurity()
        tokens, credentials = security.tokens(), security.credentials()
        check_free(listen)
        places = n_calls + _PLACES
        chosen = {**dict(grpc_options.SERVER), **dict(options)}
        self._gate = Gate(
            tokens,
            threads=n_calls + places + _SPARE_THREADS,
            places=places,
            timeout_s=message_timeout_s,
            queue=chosen["grpc.max_concurrent_streams"] * _CALLS_PER_STREAM,
            message_bytes=None if is_local else chosen["grpc.max_receive_message_length"],
        )
        self.grpc_server = grpc.server(
            self._gate.pool,
            interceptors=(self._gate,),
            options=tuple(chosen.items()),
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        self.grpc_server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        self.port: int = _bind(self.grpc_server, listen, credentials)

    def start(self) -> None:
        """Begin to listen."""
        self.grpc_server.start()
        self._gate.start(self.port)

    def stop(self, drain_s: float) -> None:
        """Refuse what comes, let what is being served be finished for so long, and stop."""
        self.grpc_server.stop(drain_s).wait()
        self._gate.close()


def _bind(server: Any, listen: str, credentials: Any | None) -> int:
    try:
        port: int = (
            server.add_insecure_port(listen)
            if credentials is None
            else server.add_secure_port(listen, credentials)
        )
    except RuntimeError as error:
        raise CloudError(f"cannot listen on {listen}: choose another address or port") from error
    return port


def check_free(listen: str) -> None:
    """Say what is wrong with an address before gRPC logs it in its own words.

    Raises:
        CloudError: it is in use, or not of this machine.
    """
    host, port = rpc.parse_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        raise CloudError(
            f"cannot listen on {listen} ({error}): choose another address or port"
        ) from error
