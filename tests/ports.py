"""Ports of this machine that nobody listens at."""

from __future__ import annotations

import socket


def unused_port() -> int:
    """One that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
