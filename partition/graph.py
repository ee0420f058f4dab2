"""Legal cuts of an ONNX graph, by liveness, and what each side of a cut costs.

A cut is a position in the topological order of the nodes where exactly one activation is alive:
the head computes it, the tail needs nothing else. Weights and other constants do not count, since
both sides hold them. A convolution and the activation that follows it run as one kernel, so no
cut goes between them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from partition.cost import FLOAT32_BYTES, Cost

_FUSED_OPS = {"BatchNormalization", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"}
_VIEW_OPS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Dropout"}


@dataclass(frozen=True, slots=True)
class Cut:
    """One legal cut: the tensors that cross it and the cost of everything before it."""

    name: str
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    head: Cost


def node_reads(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors a node reads, with those its subgraphs capture from outside."""
    reads = {name for name in node.input if name}
    for attribute in node.attribute:
        subgraphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for subgraph in subgraphs:
            inner = set().union(*(node_reads(child) for child in subgraph.node))
            made = {name for child in subgraph.node for name in child.output}
            made |= {own.name for own in [*subgraph.input, *subgraph.initializer]}
            reads |= inner - made
    return reads


def find_cuts(model: onnx.ModelProto) -> tuple[Cut, ...]:
    """All legal cuts by depth; the first is the input, the last the output.

    Args:
        model: a graph with one input and one output and inferred shapes; what has no static shape
            is no cut and counts as no work.
    """
    graph = model.graph
    shapes = _float_shapes(graph)
    weights = {tensor.name for tensor in graph.initializer}
    constants = _constants(graph, weights)
    units = [unit for unit in _units(graph) if not set(unit[-1].output) <= constants]
    last_use = {
        name: i for i, unit in enumerate(units) for node in unit for name in node_reads(node)
    }
    last_use[graph.output[0].name] = len(units)
    alive = {graph.input[0].name}
    head = Cost()
    cuts = [_cut("input", alive, shapes, head)]
    for i, unit in enumerate(units):
        head += _cost(unit, shapes, weights, constants)
        alive |= {name for node in unit for name in node.output}
        alive = {name for name in alive if last_use.get(name, -1) > i}
        if len(alive) == 1 and alive <= shapes.keys() and alive != set(cuts[-1].tensors):
            name = "output" if i == len(units) - 1 else unit[0].name
            cuts.append(_cut(name, alive, shapes, head))
    return tuple(cuts)


def _cut(name: str, alive: set[str], shapes: dict[str, tuple[int, ...]], head: Cost) -> Cut:
    tensors = tuple(sorted(alive))
    return Cut(name, tensors, tuple(shapes[tensor] for tensor in tensors), head)


def _constants(graph: onnx.GraphProto, weights: set[str]) -> set[str]:
    """Weights and everything computed from weights alone."""
    constants = set(weights)
    for node in graph.node:
        if node_reads(node) <= constants:
            constants.update(node.output)
    return constants


def _units(graph: onnx.GraphProto) -> Iterator[list[onnx.NodeProto]]:
    """Nodes in order, a convolution together with what the run-time fuses into it."""
    readers = Counter(name for node in graph.node for name in node_reads(node))
    readers[graph.output[0].name] += 1
    unit: list[onnx.NodeProto] = []
    for node in graph.node:
        follows = bool(unit) and unit[-1].output[0] == node.input[0] if node.input else False
        fused = follows and unit[0].op_type == "Conv" and node.op_type in _FUSED_OPS
        if not (fused and readers[node.input[0]] == 1):
            if unit:
                yield unit
            unit = []
        unit.append(node)
    if unit:
        yield unit


def _float_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Static shapes of the float32 tensors."""
    float32 = onnx.TensorProto.FLOAT
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type == float32}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        if tensor.elem_type == float32 and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    return shapes


def _cost(
    unit: list[onnx.NodeProto],
    shapes: dict[str, tuple[int, ...]],
    weights: set[str],
    constants: set[str],
) -> Cost:
    if all(node.op_type in _VIEW_OPS for node in unit):
        return Cost()
    made = {name for node in unit for name in node.output}
    reads = set().union(*(node_reads(node) for node in unit)) - made
    param_bytes = _float32_bytes(reads & weights, shapes)
    moved_bytes = _float32_bytes((reads - constants) | {unit[-1].output[0]}, shapes)
    flops = sum(_flops(node, shapes) for node in unit)
    return Cost(flops, param_bytes, param_bytes + moved_bytes, 1)


def _float32_bytes(names: set[str], shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shapes[name]) * FLOAT32_BYTES for name in names if name in shapes)


def _flops(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    elements = math.prod(shapes.get(node.output[0], (0,)))
    if node.op_type == "Conv":
        # (out, in / groups, kernel...): multiply-accumulates per output element.
        return 2 * elements * math.prod(shapes.get(node.input[1], (0, 0))[1:])
    if node.op_type in ("Gemm", "MatMul"):
        trans_a = any(a.name == "transA" and a.i for a in node.attribute)
        return 2 * elements * shapes.get(node.input[0], (0, 0))[-2 if trans_a else -1]
    return elements
