"""Prometheus metrics of a process, as text over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server

from partition.errors import CloudError
from partition.transport import rpc


def expose(registry: CollectorRegistry, listen: str) -> Callable[[], None]:
    """Answer scrapes at HOST:PORT, in threads of their own.

    Args:
        registry: what is shown; what is added to it later, too.
        listen: HOST:PORT.

    Returns:
        What stops it.

    Raises:
        CloudError: the address is no address, in use or not permitted.
    """
    host, port = rpc.parse_address(listen)
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, UnicodeError, OverflowError) as error:
        raise CloudError(
            f"cannot serve metrics on {listen} ({error}): choose another address or port"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
