"""The one set-up of every gRPC server here: limits, time-outs, certificates and tokens."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from partition.errors import CloudError
from partition.listener.connections import Connections
from partition.listener.gate import Gate
from partition.transport import rpc, threads
from partition.transport.tls import ServerSecurity

MESSAGE_TIMEOUT_S = 2.0
"""For the first message of a call, beside what it takes on a slow link."""
_PLACES = 32
"""Calls that may wait for their message, beside as many as are answered at the same time."""
_SPARE_THREADS = 8
"""For echoes and hellos, and to refuse calls, while every other thread has one."""
_MAX_CALLS = 4_096
"""That are open or wait for a thread, refused ones included: what an attack may take of memory."""
_OPTIONS = (
    # Without it a second server on the same port would start and steal requests.
    ("grpc.so_reuseport", 0),
    # What is refused, is refused with a reason in `Gate` or behind it. At a limit of gRPC's own a
    # client that is faster than the server's bookkeeping is told that nobody is there.
    ("grpc.max_concurrent_streams", 1_024),
    # Clients ask whether an idle connection is alive.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    # Whoever has vanished, or never says anything, must not keep a connection.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
)


class Listener:
    """Listens with some methods until it is stopped.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        service: name of the methods' service.
        handlers: of gRPC, by name of the method.
        n_calls: that are answered or wait for an answer at the same time.
        message_timeout_s: longest wait for the first message of a call.
        options: of gRPC, beside or in place of those of every server.
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
        options: tuple[tuple[str, int], ...] = (),
        security: ServerSecurity | None = None,
    ) -> None:
        threads.check_free()
        security = security or ServerSecurity()
        tokens, credentials = security.tokens(), security.credentials()
        check_free(listen)
        places = n_calls + _PLACES
        self._connections = Connections()
        self._gate = Gate(tokens, places, message_timeout_s, self._connections)
        self._pool = ThreadPoolExecutor(
            n_calls + places + _SPARE_THREADS, thread_name_prefix="serve"
        )
        self.grpc_server = grpc.server(
            self._pool,
            interceptors=(self._gate,),
            options=tuple({**dict(_OPTIONS), **dict(options)}.items()),
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        self.grpc_server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        self.port: int = _bind(self.grpc_server, listen, credentials)

    def start(self) -> None:
        """Begin to listen."""
        self._gate.start()
        self.grpc_server.start()
        self._connections.start(self.port)

    def stop(self, drain_s: float) -> None:
        """Refuse what comes, let what is being served be finished for so long, and stop."""
        self.grpc_server.stop(drain_s).wait()
        self._connections.close()
        self._gate.close()
        self._pool.shutdown()


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
