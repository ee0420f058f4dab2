"""Messages between edge and cloud: a fixed header packed in front of raw bytes, little endian.

Whatever arrives is checked before it is used; nothing in a message is ever executed.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from partition.codec import PARAMETER_BYTES, Encoded, Float32Array, encoded_bytes, group_count
from partition.errors import WireError

MAX_MESSAGE_BYTES = 64 * 2**20
_MAGIC = b"DVFO"
_VERSION = 1
_HELLO, _REQUEST, _REPLY = 1, 2, 3
_MAX_DIMS = 4
_UINT8 = 1

_PREFIX = struct.Struct("<4sBB2x")  # magic, version, kind
_HELLO_BODY = struct.Struct("<8s8s")  # model, cut list
_REQUEST_BODY = struct.Struct("<8sHH")  # model, split point, number of tensors
_TENSOR = struct.Struct("<BB2x4I")  # dtype, number of dimensions, shape
_ECHO_BODY = struct.Struct("<f")  # load
_REPLY_BODY = struct.Struct("<dfII")  # compute seconds, load, queue, number of classes


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
    tensors: tuple[Encoded, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The tail's answer and the state of the server."""

    logits: Float32Array
    """(1, n_classes)."""
    compute_s: float
    """Time in the server, from the parsed request to the logits."""
    load: float
    """Share of the server's workers busy, 0..1."""
    queue: int
    """Requests in the server beside this one."""


def request_bytes(shapes: tuple[tuple[int, ...], ...]) -> int:
    """Size of a request that carries tensors of these shapes."""
    tensors = sum(_TENSOR.size + encoded_bytes(shape) for shape in shapes)
    return _PREFIX.size + _REQUEST_BODY.size + tensors


def pack_hello(hello: Hello) -> bytes:
    """Hello as bytes."""
    model, cut_list = hello.fingerprint, hello.cut_list_fingerprint
    return _prefix(_HELLO) + _HELLO_BODY.pack(bytes.fromhex(model), bytes.fromhex(cut_list))


def unpack_hello(message: bytes) -> Hello:
    """Hello from bytes.

    Raises:
        WireError: the bytes are no hello.
    """
    model, cut_list = _Reader(message, _HELLO).last(_HELLO_BODY)
    return Hello(model.hex(), cut_list.hex())


def pack_request(request: Request) -> bytes:
    """Request as bytes."""
    body = _REQUEST_BODY.pack(
        bytes.fromhex(request.fingerprint), request.split, len(request.tensors)
    )
    parts: list[bytes | memoryview] = [_prefix(_REQUEST), body]
    for tensor in request.tensors:
        padding = (0,) * (_MAX_DIMS - len(tensor.shape))
        parts.append(_TENSOR.pack(_UINT8, len(tensor.shape), *tensor.shape, *padding))
        parts += [tensor.scale.data, tensor.zero.data, tensor.payload.data]
    return b"".join(parts)


def unpack_request(message: bytes) -> Request:
    """Request from bytes; the tensors are views of `message`.

    Raises:
        WireError: the bytes are no request, truncated, too long or hold values out of range.
    """
    reader = _Reader(message, _REQUEST)
    model, split, count = reader.take(_REQUEST_BODY)
    tensors = tuple(_read_tensor(reader) for _ in range(count))
    reader.end()
    return Request(model.hex(), split, tensors)


def pack_reply(reply: Reply) -> bytes:
    """Reply as bytes."""
    body = _REPLY_BODY.pack(reply.compute_s, reply.load, reply.queue, reply.logits.size)
    return _prefix(_REPLY) + body + reply.logits.tobytes()


def unpack_reply(message: bytes) -> Reply:
    """Reply from bytes.

    Raises:
        WireError: the bytes are no reply, truncated, too long or hold values out of range.
    """
    reader = _Reader(message, _REPLY)
    compute_s, load, queue, n_classes = reader.take(_REPLY_BODY)
    logits = np.frombuffer(reader.raw(4 * n_classes), "<f4").reshape(1, n_classes)
    reader.end()
    if not (0 <= compute_s < math.inf and 0 <= load <= 1 and np.isfinite(logits).all()):
        raise WireError("reply holds values out of range: the server is broken")
    return Reply(logits, compute_s, load, queue)


def _prefix(kind: int) -> bytes:
    return _PREFIX.pack(_MAGIC, _VERSION, kind)


def _read_tensor(reader: _Reader) -> Encoded:
    dtype, n_dims, *dims = reader.take(_TENSOR)
    shape = tuple(dims[:n_dims])
    if dtype != _UINT8 or not 2 <= n_dims <= _MAX_DIMS or 0 in shape or any(dims[n_dims:]):
        raise WireError(f"tensor of type {dtype} and shape {dims} is not understood")
    groups = group_count(shape)
    parameters = np.frombuffer(reader.raw(PARAMETER_BYTES * groups), "<f4")
    scale, zero = parameters.reshape(2, groups)
    if not (np.isfinite(parameters).all() and scale.min() >= 0):
        raise WireError("tensor has a scale that is not a finite number")
    payload = np.frombuffer(reader.raw(math.prod(shape)), np.uint8)
    return Encoded(shape, payload.reshape(groups, -1), scale, zero)


class _Reader:
    """Takes a message apart and never reads beyond its end."""

    def __init__(self, message: bytes, kind: int) -> None:
        self._message = memoryview(message)
        self._position = 0
        if len(message) > MAX_MESSAGE_BYTES:
            raise WireError(f"message of {len(message)} bytes is over {MAX_MESSAGE_BYTES}")
        magic, version, found = self.take(_PREFIX)
        if magic != _MAGIC:
            raise WireError(f"message starts with {magic!r}, not {_MAGIC!r}: not a dvfo peer")
        if version != _VERSION:
            raise WireError(f"message has version {version}, this side speaks {_VERSION}")
        if found != kind:
            raise WireError(f"message is of kind {found}, expected {kind}")

    def raw(self, size: int) -> memoryview:
        part = self._message[self._position : self._position + size]
        if len(part) < size:
            missing = size - len(part)
            raise WireError(f"message of {len(self._message)} bytes lacks {missing} bytes")
        self._position += size
        return part

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.raw(layout.size))

    def last(self, layout: struct.Struct) -> tuple[Any, ...]:
        fields = self.take(layout)
        self.end()
        return fields

    def end(self) -> None:
        if self._position != len(self._message):
            extra = len(self._message) - self._position
            raise WireError(f"message has {extra} bytes too many")


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
