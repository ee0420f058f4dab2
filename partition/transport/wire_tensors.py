"""Tensors inside a message: a header each, then parameters, kept channels and payload."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.codec import quantisers
from partition.codec.codec import Codec
from partition.codec.encoded import (
    FLOAT16,
    FLOAT32,
    MAX_DIMS,
    MIN_DIMS,
    PARAMETER_BYTES,
    Encoded,
    Uint16Array,
    check_channels,
    check_outliers,
    is_feature_map,
    most_outliers,
    payload_shape,
)
from partition.codec.message_sizes import RAW_NAMES, RAW_TYPES, padding
from partition.codec.outliers import Outliers
from partition.codec.quantise import Float32Array, Quantiser
from partition.errors import WireError

MAX_TENSORS = 8
MAX_VALUES = 64 * 2**20
"""Values of all tensors of a message together, once decoded: 256 MiB of float32. Channels left out
cannot ask for more."""
_COMPRESSED, _SOME_CHANNELS, _HALF = 1, 2, 4
"""Flags; the first one, a payload that zstd has shrunk, was sent by none but early versions."""
# type, number of dimensions, flags; channels kept; bytes of the payload; shape; outliers
_HEADER = struct.Struct("<BBBxHxxI6II")
_RAW = {code: np.dtype(name).newbyteorder("<") for code, name in enumerate(RAW_TYPES, 16)}
_TYPE_OF_RAW = {dtype: code for code, dtype in _RAW.items()}

Part = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Raw:
    """An array that crosses as it is: token ids, masks, quantised tensors, scalars, outputs.

    One of the types in `RAW_TYPES`; 0 to 6 dimensions; an output whose shape depends on the data
    may be empty, as boxes are where nothing is found.
    """

    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.array.shape


class Reader:
    """Takes a message apart and never reads beyond its end."""

    def __init__(self, message: bytes) -> None:
        self._message = memoryview(message)
        self._position = 0

    def raw(self, size: int) -> memoryview:
        """The next `size` bytes.

        Raises:
            WireError: the message is shorter.
        """
        part = self._message[self._position : self._position + size]
        if len(part) < size:
            missing = size - len(part)
            raise WireError(f"message of {len(self._message)} bytes lacks {missing} bytes")
        self._position += size
        return part

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The next bytes in this layout, pad bytes checked.

        Raises:
            WireError: the message is shorter, or a pad byte is not 0.
        """
        part = self.raw(layout.size)
        fields = layout.unpack(part)
        if layout.pack(*fields) != part:
            raise WireError("message has pad bytes that are not 0")
        return fields

    def padded(self, size: int) -> memoryview:
        """The next `size` bytes and, unseen, the zeros that fill them up to 8.

        Raises:
            WireError: the message is shorter, or the padding is not 0.
        """
        part = self.raw(size)
        if any(self.raw(padding(size))):
            raise WireError("message has pad bytes that are not 0")
        return part

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            WireError: something is.
        """
        if self._position != len(self._message):
            extra = len(self._message) - self._position
            raise WireError(f"message has {extra} bytes too many")


def pack(tensor: Encoded | Raw) -> list[Part]:
    """The parts of a tensor.

    Raises:
        WireError: the format has no place for it.
    """
    return _pack_encoded(tensor) if isinstance(tensor, Encoded) else _pack_raw(tensor.array)


def carried(
    tensor: npt.NDArray[Any], codec: Codec | None, channels: Uint16Array | None = None
) -> Encoded | Raw:
    """What a message carries of a tensor: a feature map quantised, anything else as it is.

    Args:
        tensor: any.
        codec: for feature maps; None sends them as they are, too.
        channels: of a feature map that are kept, ascending; None: all.

    Raises:
        WireError: the codec cannot encode it.
    """
    if codec is None or not is_feature_map(tensor.shape, tensor.dtype):
        return Raw(tensor)
    return codec.encode(tensor, channels)


def unpack(reader: Reader, count: int) -> tuple[Encoded | Raw, ...]:
    """The next `count` tensors, as views of the message.

    Raises:
        WireError: there are too many or too large ones, or one is malformed.
    """
    if count > MAX_TENSORS:
        raise WireError(f"message with {count} tensors, expected up to {MAX_TENSORS}")
    tensors = []
    values_left = MAX_VALUES
    for _ in range(count):
        tensor = _unpack_one(reader, values_left)
        values_left -= math.prod(tensor.shape)
        tensors.append(tensor)
    return tuple(tensors)


def _pack_encoded(tensor: Encoded) -> list[Part]:
    flags = _SOME_CHANNELS * (tensor.channels is not None)
    flags |= _HALF * (tensor.dtype == FLOAT16)
    kept = 0 if tensor.channels is None else len(tensor.channels) - 1
    outliers = tensor.outliers
    aside = 0 if outliers is None else len(outliers.positions)
    payload = tensor.payload.reshape(-1)
    code = quantisers.of_bits(tensor.bits).wire_type
    header = _header(code, flags, kept, payload.nbytes, tensor.shape, aside)
    parts: list[Part] = [header, tensor.scale.data, tensor.zero.data]
    if tensor.channels is not None:
        parts += [tensor.channels.data, bytes(padding(tensor.channels.nbytes))]
    if outliers is not None:
        parts += [outliers.positions.data, outliers.values.data]
    return [*parts, payload.data, bytes(padding(payload.nbytes))]


def _pack_raw(array: npt.NDArray[Any]) -> list[Part]:
    code = _TYPE_OF_RAW.get(array.dtype)
    if code is None:
        raise WireError(f"array of {array.dtype}: a message carries {RAW_NAMES}")
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    header = _header(code, 0, 0, data.nbytes, array.shape, 0)
    return [header, data.data, bytes(padding(data.nbytes))]


def _header(
    code: int, flags: int, kept: int, n_bytes: int, shape: tuple[int, ...], aside: int
) -> bytes:
    if len(shape) > MAX_DIMS or _values(shape) > MAX_VALUES:
        raise WireError(
            f"tensor of shape {shape}: send up to {MAX_DIMS} dimensions and {MAX_VALUES} values"
        )
    dims = (*shape, *(0,) * (MAX_DIMS - len(shape)))
    return _HEADER.pack(code, len(shape), flags, kept, n_bytes, *dims, aside)


def _values(shape: tuple[int, ...]) -> int:
    """Of a tensor, a size of 0 taken for 1: no other size may be beyond all bounds beside it."""
    return math.prod(size or 1 for size in shape)


def _unpack_one(reader: Reader, max_values: int) -> Encoded | Raw:
    code, n_dims, flags, kept, n_bytes, *dims, aside = reader.take(_HEADER)
    shape = tuple(dims[:n_dims])
    if n_dims > MAX_DIMS or any(dims[n_dims:]):
        raise WireError(f"tensor of type {code}, {n_dims} dimensions and shape {dims}")
    if _values(shape) > max_values:
        raise WireError(f"tensor of shape {shape} takes a message beyond {MAX_VALUES} values")
    if code in _RAW and not (flags or kept or aside):
        return _unpack_raw(reader, _RAW[code], shape, n_bytes)
    quantiser = quantisers.of_wire_type(code)
    if quantiser is not None and flags & _COMPRESSED:
        raise WireError(
            f"tensor {shape} is compressed with zstd, as only an older version could send it: "
            "install the same version on both sides"
        )
    some = bool(flags & _SOME_CHANNELS)
    known = not flags & ~(_SOME_CHANNELS | _HALF) and (some or not kept)
    if quantiser is None or n_dims < MIN_DIMS or 0 in shape or not known:
        raise WireError(f"tensor of type {code}, flags {flags} and shape {shape}")
    dtype = FLOAT16 if flags & _HALF else FLOAT32
    kept_shape = (shape[0], kept + 1, *shape[2:]) if some else shape
    groups, row_bytes = payload_shape(kept_shape, quantiser.bits)
    parameters = np.frombuffer(reader.raw(PARAMETER_BYTES * groups), "<f4").reshape(2, groups)
    scale, zero = parameters
    _check_parameters(scale, zero, quantiser, dtype)
    channels = None
    if some:
        channels = np.frombuffer(reader.padded(2 * (kept + 1)), "<u2")
        check_channels(channels, shape[1])
    outliers = _unpack_outliers(reader, aside, kept_shape, dtype) if aside else None
    if n_bytes != groups * row_bytes:
        raise WireError(f"tensor {shape} has {n_bytes} bytes, expected {groups * row_bytes}")
    payload = np.frombuffer(reader.padded(n_bytes), np.uint8).reshape(groups, row_bytes)
    return Encoded(shape, quantiser.bits, payload, scale, zero, channels, outliers, dtype)


def _unpack_outliers(
    reader: Reader, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Outliers:
    if count > most_outliers(shape):
        raise WireError(f"tensor {shape} has {count} outliers: up to {most_outliers(shape)} may be")
    positions = np.frombuffer(reader.raw(4 * count), "<u4")
    outliers = Outliers(positions, np.frombuffer(reader.raw(4 * count), "<f4"))
    check_outliers(outliers, shape, dtype)
    return outliers


def _check_parameters(
    scale: Float32Array, zero: Float32Array, quantiser: Quantiser, dtype: np.dtype[Any]
) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.stack([zero, scale * np.float32(quantiser.top) + zero]).astype(dtype)
    if not (np.isfinite(ends).all() and scale.min() >= 0):
        raise WireError(f"tensor has a scale or zero beyond the finite numbers of {dtype.name}")


def _unpack_raw(reader: Reader, dtype: np.dtype[Any], shape: tuple[int, ...], n_bytes: int) -> Raw:
    if n_bytes != math.prod(shape) * dtype.itemsize:
        raise WireError(f"array {shape} of {dtype.name} has {n_bytes} bytes")
    data = np.frombuffer(reader.padded(n_bytes), np.uint8)
    if dtype == np.bool_ and data.max(initial=0) > 1:
        raise WireError(f"array {shape} of bool holds {data.max()}")
    return Raw(data.view(dtype).reshape(shape))
