"""What client and server of the split share: service name, addresses, request ids."""

from __future__ import annotations

import math
from typing import Any

from partition.errors import CloudError, WireError
from partition.transport import wire

HELLO = "Hello"
INFER = "Infer"
ECHO = "Echo"
SERVICE = "dvfo.Split"
LOAD_METADATA = "dvfo-load"
"""Goes with a refusal: the server's load, 0..1."""
ID_BYTES = 8
"""Behind a request and again behind its reply: which request it is."""
SIZE_OPTIONS = (
    ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES + ID_BYTES),
    ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES + ID_BYTES),
)
NO_PROXY = ("grpc.enable_http_proxy", 0)
"""gRPC else sends everything through the proxy that `http_proxy` names, loopback included."""
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


def timeout_s(deadline_s: float) -> float:
    """How long a call may take whose answer is of no use after `deadline_s`: a minute at most.

    Raises:
        WireError: it is no number.
    """
    if math.isnan(deadline_s):
        raise WireError("a deadline of nan says nothing: give seconds")
    return min(max(deadline_s, 0.0), LONGEST_S)


def with_id(message: bytes, request_id: bytes) -> bytes:
    """A message and behind it the request that it belongs to."""
    return b"".join((message, request_id))


def split_id(message: bytes) -> tuple[Any, bytes]:
    """A message without its id, not copied, and the id.

    Raises:
        WireError: it is too short to have one.
    """
    if len(message) < ID_BYTES:
        raise WireError(f"message of {len(message)} bytes lacks the id of a request")
    return memoryview(message)[:-ID_BYTES], message[-ID_BYTES:]
