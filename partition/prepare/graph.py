"""Legal cuts of an ONNX graph, by liveness, and what each side of a cut costs.

A cut is a position in the topological order of the nodes: the head computes the tensors that are
alive there, the tail needs nothing else. Weights and what follows from weights and the size of
the batch do not count, since both sides have them. A kernel and what the run-time fuses into it
are one, so no cut goes between them.

Every position where a single tensor is alive is a cut. Where several are (8 at most), a position is
one only if it sends less than its neighbours or than all before it: inside a residual block, for
instance, a cut would send the block's input and more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from partition.codec.message_sizes import RAW_TYPES
from partition.model.cost import Cost
from partition.model.onnx_nodes import BATCH, node_reads
from partition.prepare.shapes import follows_batch, read_shape

MAX_TENSORS = 8
"""Most tensors that may cross a cut."""
MAX_DIMS = 6
_KERNELS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_FUSED_OPS = {
    "Add",
    "BatchNormalization",
    "Clip",
    "Div",
    "Erf",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mul",
    "PRelu",
    "Relu",
    "Sigmoid",
    "Sub",
    "Tanh",
}
_VIEW_OPS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Dropout"}
CROSSING_TYPES = frozenset(RAW_TYPES)
"""numpy's names of the types that a message carries."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One legal cut: the tensors that cross it and the cost of everything before it."""

    name: str
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    """For one sample."""
    dtypes: tuple[str, ...]
    head: Cost
    peak_bytes: int
    """Most bytes of activations alive at once since the cut before this one."""


@dataclass(slots=True)
class _Position:
    """A place between two kernels."""

    name: str
    alive: tuple[str, ...]
    head: Cost
    peak_bytes: int
    sent_bytes: int
    possible: bool
    """Whether everything that is alive may cross."""


@dataclass(slots=True)
class _Tensors:
    """What is known of the tensors of a graph."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, np.dtype[Any]] = field(default_factory=dict)
    crossing: set[str] = field(default_factory=set)
    """May cross a cut."""

    def bytes_of(self, names: set[str] | tuple[str, ...]) -> int:
        """Bytes of those whose shape is known."""
        return sum(
            math.prod(self.shapes[name]) * self.dtypes[name].itemsize
            for name in names
            if name in self.shapes
        )


def find_cuts(model: onnx.ModelProto) -> tuple[Cut, ...]:
    """All legal cuts by depth; the first is the inputs, the last the outputs.

    Args:
        model: a graph with inferred shapes; what has no certain shape is no cut and counts as no
            work.
    """
    tensors = _tensors(model.graph)
    positions = _positions(model.graph, tensors)
    chosen = [positions[0]]
    peak_bytes = 0
    least_bytes = positions[0].sent_bytes
    for i, here in enumerate(positions[1:-1], 1):
        peak_bytes = max(peak_bytes, here.peak_bytes)
        if _is_cut(positions, i, least_bytes) and set(here.alive) != set(chosen[-1].alive):
            here.peak_bytes, peak_bytes = peak_bytes, 0
            chosen.append(here)
            least_bytes = min(least_bytes, here.sent_bytes)
    positions[-1].peak_bytes = max(peak_bytes, positions[-1].peak_bytes)
    return tuple(
        Cut(
            position.name,
            position.alive,
            tuple(tensors.shapes[name] for name in position.alive),
            tuple(str(tensors.dtypes[name]) for name in position.alive),
            position.head,
            position.peak_bytes,
        )
        for position in [*chosen, positions[-1]]
    )


def _is_cut(positions: list[_Position], i: int, least_bytes: int) -> bool:
    here = positions[i].sent_bytes
    if not positions[i].possible:
        return False
    if len(positions[i].alive) == 1 or here < least_bytes:
        return True
    after = (p.sent_bytes for p in positions[i + 1 :] if p.sent_bytes != here)
    return positions[i - 1].sent_bytes > here and next(after, 0) > here


def _positions(graph: onnx.GraphProto, tensors: _Tensors) -> list[_Position]:
    weights = {tensor.name for tensor in graph.initializer}
    constants = _constants(graph, weights)
    units = [unit for unit in _units(graph, constants) if not set(unit[-1].output) <= constants]
    last_use = {
        name: i for i, unit in enumerate(units) for node in unit for name in node_reads(node)
    }
    last_use |= {value.name: len(units) for value in graph.output}
    inputs = tuple(value.name for value in graph.input)
    outputs = tuple(value.name for value in graph.output)
    alive = set(inputs)
    head = Cost()
    sent_bytes = tensors.bytes_of(inputs)
    start = _Position("input", inputs, head, sent_bytes, sent_bytes, possible=True)
    positions = [start]
    for i, unit in enumerate(units):
        head += _cost(unit, tensors, weights, constants)
        alive |= {name for node in unit for name in node.output} - constants - {""}
        peak_bytes = tensors.bytes_of(alive)
        alive = {name for name in alive if last_use.get(name, -1) > i}
        names = tuple(sorted(alive))
        possible = alive <= tensors.crossing and 0 < len(alive) <= MAX_TENSORS
        sent_bytes = tensors.bytes_of(names)
        positions.append(_Position(unit[0].name, names, head, peak_bytes, sent_bytes, possible))
    end = _Position("output", outputs, head, 0, tensors.bytes_of(outputs), possible=True)
    if len(positions) > 1:
        end.peak_bytes = positions.pop().peak_bytes
    return [*positions, end]


def _constants(graph: onnx.GraphProto, weights: set[str]) -> set[str]:
    """Weights, the batch, and everything computed from them alone."""
    constants = {*weights, BATCH}
    for node in graph.node:
        if node_reads(node) <= constants:
            constants.update(node.output)
    return constants


def _units(graph: onnx.GraphProto, constants: set[str]) -> Iterator[list[onnx.NodeProto]]:
    """Nodes in order, a kernel together with what the run-time fuses into it."""
    unit: list[onnx.NodeProto] = []
    made: set[str] = set()
    for node in graph.node:
        reads = node_reads(node) - constants
        joins = unit and unit[0].op_type in _KERNELS and node.op_type in _FUSED_OPS
        residual = bool(unit) and unit[-1].op_type == "Add" and node.op_type == "Relu"
        if not ((joins or residual) and reads and reads <= made):
            if unit:
                yield unit
            unit, made = [], set()
        unit.append(node)
        made |= set(node.output)
    if unit:
        yield unit


def _tensors(graph: onnx.GraphProto) -> _Tensors:
    """Types and shapes, as far as they are certain."""
    known = _Tensors()
    for tensor in graph.initializer:
        known.shapes[tensor.name] = tuple(tensor.dims)
        known.dtypes[tensor.name] = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    has_batch = any(follows_batch(value) for value in graph.input)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        shape = read_shape(value)
        if shape is not None:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            known.shapes[value.name], known.dtypes[value.name] = shape, dtype
            fits = follows_batch(value) if has_batch else math.prod(shape) > 0
            if fits and str(dtype) in CROSSING_TYPES and len(shape) <= MAX_DIMS:
                known.crossing.add(value.name)
    return known


def _cost(
    unit: list[onnx.NodeProto], tensors: _Tensors, weights: set[str], constants: set[str]
) -> Cost:
    if all(node.op_type in _VIEW_OPS for node in unit):
        return Cost()
    made = {name for node in unit for name in node.output}
    reads = set().union(*(node_reads(node) for node in unit)) - made
    # int64 holds shapes and indices.
    parameters = {name for name in reads & weights if tensors.dtypes[name] != np.int64}
    param_bytes = tensors.bytes_of(parameters)
    moved_bytes = tensors.bytes_of((reads - constants) | {unit[-1].output[0]})
    flops = sum(_flops(node, tensors.shapes) for node in unit)
    return Cost(flops, param_bytes, param_bytes + moved_bytes, 1)


def _flops(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    elements = math.prod(shapes.get(node.output[0], (0,)))
    if node.op_type == "ConvTranspose":
        # (in, out / groups, kernel...): multiply-accumulates per input element.
        per_element = math.prod(shapes.get(node.input[1], (0, 0))[1:])
        return 2 * math.prod(shapes.get(node.input[0], (0,))) * per_element
    if node.op_type == "Conv":
        # (out, in / groups, kernel...): multiply-accumulates per output element.
        return 2 * elements * math.prod(shapes.get(node.input[1], (0, 0))[1:])
    if node.op_type in ("GRU", "LSTM", "RNN"):
        # Input and recurrent weights, (directions, gates * hidden, size), at each step.
        weights = (math.prod(shapes.get(name, (0,))) for name in node.input[1:3])
        return 2 * math.prod(shapes.get(node.input[0], (0,))[:2]) * sum(weights)
    if node.op_type in ("Gemm", "MatMul"):
        trans_a = any(a.name == "transA" and a.i for a in node.attribute)
        return 2 * elements * shapes.get(node.input[0], (0, 0))[-2 if trans_a else -1]
    return elements
