"""What client and server of the split share: service name, message limits, addresses."""

from __future__ import annotations

from partition import wire
from partition.errors import CloudError

HELLO = "Hello"
INFER = "Infer"
ECHO = "Echo"
SERVICE = "dvfo.Split"
SIZE_OPTIONS = (
    ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
)
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
    if not host or not port.isdecimal() or int(port) > _MAX_PORT:
        raise CloudError(f"address {address!r} is not HOST:PORT with a port from 0 to {_MAX_PORT}")
    return host.strip("[]"), int(port)
