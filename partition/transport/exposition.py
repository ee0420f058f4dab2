"""Pages of a process over HTTP: Prometheus metrics, and what else it shows of itself."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from partition.errors import CloudError
from partition.transport import rpc

if TYPE_CHECKING:  # Python 3.11 brings it
    from wsgiref.types import WSGIApplication

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS, _PATIENCE_S = 16, 5.0
"""At the same time, one more is closed; and for each part of what comes and goes."""


def expose(application: WSGIApplication, listen: str) -> Callable[[], None]:
    """Answer at HOST:PORT, in threads of their own.

    Args:
        application: what answers (PEP 3333), in several threads at once.
        listen: HOST:PORT.

    Returns:
        What stops it.

    Raises:
        CloudError: the address is no address, in use or not permitted.
    """
    host, port = rpc.parse_address(listen)
    try:
        server = _server(host, port)
    except (OSError, UnicodeError, OverflowError) as error:
        raise CloudError(
            f"cannot serve metrics on {listen} ({error}): choose another address or port"
        ) from error
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class _Handler(WSGIRequestHandler):
    """One request; `start_http_server` of prometheus_client would wait for it for ever."""

    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who looks is not written down."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each of a few connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what is no fault of the client's; one that is slow or gone hears nothing."""
        if not isinstance(sys.exc_info()[1], OSError):
            logger.exception("an answer to %s failed", client_address)


def _server(host: str, port: int) -> _Server:
    """Listens; `start_http_server` takes names and either family, too.

    Raises:
        OSError: the address cannot be had.
    """
    (family, _, _, _, (address, *_)), *_ = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return _Server(family, (str(address), port))
