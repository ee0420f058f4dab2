"""Damaged network files: cut short, flipped bits, runs of other bytes, one number changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

# Weights that are changed are still weights: most damage is done to everything else.
_LARGE_BYTES = 256
_OF_WEIGHTS = 0.1
_LONGEST_RUN = 64
_MANY_BITS = 8
_NUMBERS = (0, 1, 2, -1, -2, 7, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63))
"""What sizes, axes and shapes are changed to."""
_KINDS = 5


@dataclass(frozen=True)
class Original:
    """A file, and where it holds anything but large weights."""

    data: bytes
    structure: np.ndarray
    """Offsets, int64."""


def original(data: bytes) -> Original:
    """A sound file, looked through."""
    is_weight = np.zeros(len(data), bool)
    for values in _large(onnx.load_from_string(data).graph):
        start = data.find(values)
        if start >= 0:
            is_weight[start : start + len(values)] = True
    return Original(data, np.flatnonzero(~is_weight))


def damaged(file: Original, draw: int) -> bytes:
    """The file with one kind of damage; the same for the same number."""
    rng = np.random.default_rng(draw)
    kind = draw % _KINDS
    if kind == 0:
        return file.data[: int(rng.integers(len(file.data)))]
    if kind == 1:
        return _with_another_number(file.data, rng)
    changed = bytearray(file.data)
    if kind == 2:
        start = _place(file, rng)
        run = rng.bytes(int(rng.integers(1, _LONGEST_RUN)))
        changed[start : start + len(run)] = run[: len(changed) - start]
    else:
        for _ in range(1 if kind == 3 else _MANY_BITS):
            changed[_place(file, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _place(file: Original, rng: np.random.Generator) -> int:
    if rng.random() < _OF_WEIGHTS:
        return int(rng.integers(len(file.data)))
    return int(rng.choice(file.structure))


def _with_another_number(data: bytes, rng: np.random.Generator) -> bytes:
    """One size, axis or shape replaced; what is written is a graph all the same."""
    model = onnx.load_from_string(data)
    numbers = list(_numbers(model.graph))
    holder, i = numbers[int(rng.integers(len(numbers)))]
    value = int(rng.choice(np.array(_NUMBERS, np.int64)))
    if isinstance(holder, TensorProto):
        values = np.frombuffer(holder.raw_data, np.int64).copy()
        values[i] = value
        holder.raw_data = values.tobytes()
    elif isinstance(holder, onnx.AttributeProto):
        holder.i = value
    elif isinstance(holder, onnx.TensorShapeProto.Dimension):
        holder.dim_value = value
    else:
        holder[i] = value
    return model.SerializeToString()


def _numbers(graph: onnx.GraphProto) -> Iterator[tuple[object, int]]:
    """Everything that sizes are made of, and the index of a number within."""
    for value in graph.input:
        yield from ((dim, 0) for dim in value.type.tensor_type.shape.dim)
    for tensor in _tensors(graph):
        yield from ((tensor.dims, i) for i in range(len(tensor.dims)))
        if tensor.data_type == TensorProto.INT64 and len(tensor.raw_data) < _LARGE_BYTES:
            yield from ((tensor, i) for i in range(len(tensor.raw_data) // 8))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.INT:
                yield attribute, 0
            yield from ((attribute.ints, i) for i in range(len(attribute.ints)))
            if attribute.HasField("g"):
                yield from _numbers(attribute.g)


def _large(graph: onnx.GraphProto) -> Iterator[bytes]:
    """Weights of a graph, those of its branches and constants too."""
    for tensor in _tensors(graph):
        values = tensor.raw_data or np.array(tensor.float_data, np.float32).tobytes()
        if len(values) >= _LARGE_BYTES:
            yield values
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _large(attribute.g)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
