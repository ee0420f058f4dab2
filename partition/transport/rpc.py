"""Shared definitions of client and server of the split: service name, addresses, deadlines."""

from __future__ import annotations

import math

from partition.errors import CloudError, DeadlineExceededError, WireError

HELLO = "Hello"
INFER = "Infer"
ECHO = "Echo"
SERVICE = "dvfo.Split"
LOAD_METADATA = "dvfo-load"
"""Goes with a refusal: the server's load, 0..1."""
LONGEST_S = 60.0
"""That a call may take, whatever deadline it comes with."""
_MAX_PORT = 65535


def method_path(name: str) -> str:
    """Full name of a method of the service."""
    return f"/{SERVICE}/{name}"


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.

    Raises:
        CloudError: the text has another form.
    """
    host, _, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not is_bracketed:
        raise CloudError(
            f"address {address!r} is not HOST:PORT: write an IPv6 address in brackets, [::1]:50051"
        )
    if not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise CloudError(f"address {address!r} is not HOST:PORT with a port from 0 to {_MAX_PORT}")
    return host.strip("[]"), int(port)


def patience_s(deadline_s: float) -> float:
    """How long to wait for an answer that is of no use after `deadline_s`: a minute at most.

    Raises:
        WireError: it is no number.
        DeadlineExceededError: it is over.
    """
    try:
        seconds = float(deadline_s)
    except (TypeError, ValueError):
        raise WireError(f"a deadline of {deadline_s!r} says nothing: give seconds") from None
    if seconds <= 0:
        raise DeadlineExceededError(
            f"a deadline of {seconds:g} s is over before anything is sent: give seconds from now"
        )
    return timeout_s(seconds)


def timeout_s(deadline_s: float) -> float:
    """How long a call may take whose answer is of no use after `deadline_s`: a minute at most.

    Raises:
        WireError: it is no number.
    """
    if math.isnan(deadline_s):
        raise WireError("a deadline of nan says nothing: give seconds")
    return min(max(deadline_s, 0.0), LONGEST_S)
