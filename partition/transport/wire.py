"""Messages between edge and cloud: fixed headers packed in front of raw bytes, little endian.

Whatever arrives is checked before it is used, sizes before memory is taken for them; nothing in a
message is ever executed. Every part is padded with zeros to 8 bytes, so that arrays can be views
of the message. A message has one form only: what unpacks, packs to the same bytes again.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from partition.codec.encoded import Encoded
from partition.errors import WireError
from partition.transport import wire_tensors
from partition.transport.wire_tensors import MAX_TENSORS, Raw, Reader, carried

__all__ = ["MAX_MESSAGE_BYTES", "MAX_TENSORS", "Hello", "Raw", "Reply", "Request", "carried"]

MAX_MESSAGE_BYTES = 64 * 2**20
_MAGIC = b"DVFO"
_VERSION = 4
_HELLO, _REQUEST, _REPLY = 1, 2, 3

_PREFIX = struct.Struct("<4sBB2x")  # magic, version, kind
_HELLO_BODY = struct.Struct("<8s8s")  # model, cut list
_REQUEST_BODY = struct.Struct("<8sHHI")  # model, split point, tensors, number of the request
_ECHO_BODY = struct.Struct("<f")  # load
# compute seconds, load, queue, outputs, number of the request
_REPLY_BODY = struct.Struct("<dfIH2xI")
NUMBERS = 2**32
"""Of requests, from 0; a client that sends more of them begins again."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What both sides must agree on before the first request: 16 hex digits each."""

    fingerprint: str
    cut_list_fingerprint: str


@dataclass(frozen=True, slots=True)
class Request:
    """Run the tail of split point `split` on these tensors."""

    fingerprint: str
    split: int
    tensors: tuple[Encoded | Raw, ...]
    """Up to 8, as `carried` makes them: feature maps quantised, anything else as it is."""
    number: int = 0
    """Which one of its sender's it is, below `NUMBERS`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The tail's answer and the state of the server."""

    outputs: tuple[npt.NDArray[Any], ...]
    """Of the network, 1 to 8 arrays of the types that `Raw` knows; a classifier's first one is
    (1, n_classes)."""
    compute_s: float
    """Time in the server, waiting included."""
    load: float
    """Share of the server's workers busy over the last second, 0..1."""
    queue: int
    """Requests in the server besides this one."""
    number: int = 0
    """Of the request that it answers."""


def pack_hello(hello: Hello) -> bytes:
    """Hello as bytes."""
    model, cut_list = hello.fingerprint, hello.cut_list_fingerprint
    return _prefix(_HELLO) + _HELLO_BODY.pack(bytes.fromhex(model), bytes.fromhex(cut_list))


def unpack_hello(message: bytes) -> Hello:
    """Hello from bytes.

    Raises:
        WireError: the bytes are no hello.
    """
    reader = _open(message, _HELLO)
    model, cut_list = reader.take(_HELLO_BODY)
    reader.end()
    return Hello(model.hex(), cut_list.hex())


def pack_request(request: Request) -> bytes:
    """Request as bytes.

    Raises:
        WireError: it holds what the format has no place for.
    """
    if not 0 <= request.split < 2**16:
        raise WireError(f"split point {request.split} is none: choose from 0 to {2**16 - 1}")
    if not 0 <= request.number < NUMBERS:
        raise WireError(f"request {request.number}: number requests from 0 to {NUMBERS - 1}")
    count = _count(request.tensors)
    model = bytes.fromhex(request.fingerprint)
    body = _REQUEST_BODY.pack(model, request.split, count, request.number)
    parts: list[bytes | memoryview] = [_prefix(_REQUEST), body]
    for tensor in request.tensors:
        parts += wire_tensors.pack(tensor)
    return _join(parts)


def unpack_request(message: bytes) -> Request:
    """Request from bytes; the tensors are views of `message`.

    Raises:
        WireError: the bytes are no request, truncated, too long or hold values out of range.
    """
    reader = _open(message, _REQUEST)
    model, split, count, number = reader.take(_REQUEST_BODY)
    tensors = wire_tensors.unpack(reader, count)
    reader.end()
    return Request(model.hex(), split, tensors, number)


def pack_reply(reply: Reply) -> bytes:
    """Reply as bytes.

    Raises:
        WireError: it holds what the format has no place for.
    """
    count = _count(reply.outputs)
    queue = min(reply.queue, 2**32 - 1)
    body = _REPLY_BODY.pack(reply.compute_s, reply.load, queue, count, reply.number)
    parts: list[bytes | memoryview] = [_prefix(_REPLY), body]
    for output in reply.outputs:
        parts += wire_tensors.pack(Raw(output))
    return _join(parts)


def unpack_reply(message: bytes) -> Reply:
    """Reply from bytes; the outputs are read-only views of `message`.

    Raises:
        WireError: the bytes are no reply, truncated, too long or hold values out of range.
    """
    reader = _open(message, _REPLY)
    compute_s, load, queue, count, number = reader.take(_REPLY_BODY)
    tensors = wire_tensors.unpack(reader, count)
    reader.end()
    outputs = tuple(tensor.array for tensor in tensors if isinstance(tensor, Raw))
    if not outputs or len(outputs) != len(tensors):
        raise WireError("reply holds no output or a quantised one: the server is broken")
    if not (0 <= compute_s < math.inf and 0 <= load <= 1):
        raise WireError("reply holds values out of range: the server is broken")
    return Reply(outputs, compute_s, load, queue, number)


def pack_echo(load: float) -> bytes:
    """Answer to an echo: the server's load."""
    return _ECHO_BODY.pack(load)


def unpack_echo(message: bytes) -> float:
    """Load in the answer to an echo.

    Raises:
        WireError: it is something else.
    """
    if len(message) != _ECHO_BODY.size:
        raise WireError(f"an echo's answer has {len(message)} bytes, expected {_ECHO_BODY.size}")
    (load,) = _ECHO_BODY.unpack(message)
    if not 0 <= load <= 1:
        raise WireError(f"an echo's answer holds load {load}, expected 0 to 1")
    return float(load)


def _prefix(kind: int) -> bytes:
    return _PREFIX.pack(_MAGIC, _VERSION, kind)


def _open(message: bytes, kind: int) -> Reader:
    """A reader behind the prefix of a message of `kind`."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise WireError(f"message of {len(message)} bytes is over {MAX_MESSAGE_BYTES}")
    reader = Reader(message)
    magic, version, found = reader.take(_PREFIX)
    if magic != _MAGIC:
        raise WireError(f"message starts with {magic!r}, not {_MAGIC!r}: not a dvfo peer")
    if version != _VERSION:
        raise WireError(
            f"the message is of version {version} of the protocol, this side speaks {_VERSION}: "
            "install the same version of dvfo on both sides"
        )
    if found != kind:
        raise WireError(f"message is of kind {found}, expected {kind}")
    return reader


def _count(tensors: tuple[object, ...]) -> int:
    if len(tensors) > MAX_TENSORS:
        raise WireError(f"message with {len(tensors)} tensors: send up to {MAX_TENSORS}")
    return len(tensors)


def _join(parts: list[bytes | memoryview]) -> bytes:
    message = b"".join(parts)
    if len(message) > MAX_MESSAGE_BYTES:
        raise WireError(f"message of {len(message)} bytes is over {MAX_MESSAGE_BYTES}")
    return message
