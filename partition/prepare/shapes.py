"""Shapes and values of a graph that depend on the batch alone, found by running it.

The graph is run with one sample and with two, all intermediate tensors as outputs. What does not
change is a constant; what does is made to follow from one tensor, the batch, which either side of
a cut can read off what crosses. Shapes that depend on the data stay unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from partition.model.onnx_nodes import BATCH, node_reads

Feeds = Mapping[str, npt.NDArray[Any]]

_MAX_SHAPE_VALUES = 16
_DATA_SHAPED = {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "Unique"}
_SHAPE_INPUTS = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
}
"""Inputs whose values decide the shape of the output."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A tensor of one run."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    value: npt.NDArray[np.int64] | None
    """Of a small vector or scalar of int64."""


def settle(model: onnx.ModelProto, one: Feeds, two: Feeds | None) -> None:
    """Write every shape that is certain into the graph and simplify what computes shapes.

    Args:
        model: changed in place; its old shapes are dropped.
        one: inputs with one sample.
        two: the same with two samples, for a batch of any size.

    Raises:
        what `partition.providers.session.RUNTIME_ERRORS` lists: the graph does not run.
    """
    graph = model.graph
    settled, data_shaped = _dependence(graph)
    first = _run(model, one)
    second = _run(model, two) if two is not None else first
    _fold(graph, settled, first, second)
    _drop_dead_nodes(graph)
    del graph.value_info[:]
    made = {name for node in graph.node for name in node.output if name}
    outputs = {value.name for value in graph.output}
    known = [name for name in first if name in made | outputs and name not in data_shaped]
    infos = {name: _value_info(name, first[name], second[name]) for name in known}
    graph.value_info.extend(infos[name] for name in sorted(made & infos.keys() - outputs))
    for value in graph.output:
        if value.name in infos:
            value.CopyFrom(infos[value.name])
    for value in graph.input:
        value.CopyFrom(
            _value_info(value.name, _seen(one[value.name]), _seen((two or one)[value.name]))
        )


def _dependence(graph: onnx.GraphProto) -> tuple[set[str], set[str]]:
    """Tensors whose values follow from shapes and weights, and those of a data-dependent shape."""
    settled = {tensor.name for tensor in graph.initializer}
    data_shaped: set[str] = set()
    for node in graph.node:
        reads = node_reads(node)
        outputs = {name for name in node.output if name}
        if node.op_type in ("Shape", "Size"):
            reads &= data_shaped
        shaping = {
            node.input[i] for i in _SHAPE_INPUTS.get(node.op_type, ()) if i < len(node.input)
        }
        if reads <= settled:
            settled |= outputs
        elif node.op_type == "If" and node.input[0] in settled:
            pass
        elif node.op_type in _DATA_SHAPED or shaping - settled - {""} or reads & data_shaped:
            data_shaped |= outputs
    return settled, data_shaped


def _run(model: onnx.ModelProto, feeds: Feeds) -> dict[str, _Seen]:
    """Every tensor that the nodes make."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    wanted = {value.name for value in probe.graph.output}
    for value in [*probe.graph.input, *probe.graph.output]:
        value.type.tensor_type.ClearField("shape")
    for node in probe.graph.node:
        names = [name for name in node.output if name and name not in wanted]
        probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    del probe.graph.value_info[:]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_outputs()]
    arrays = zip(names, session.run(names, dict(feeds)), strict=True)
    return {name: _seen(array) for name, array in arrays if isinstance(array, np.ndarray)}


def _seen(array: npt.NDArray[Any]) -> _Seen:
    small = array.dtype == np.int64 and array.ndim <= 1 and array.size <= _MAX_SHAPE_VALUES
    return _Seen(array.dtype, array.shape, array if small else None)


def _fold(
    graph: onnx.GraphProto,
    settled: set[str],
    first: Mapping[str, _Seen],
    second: Mapping[str, _Seen],
) -> None:
    """Constants for what a batch does not change, the batch for what it does."""
    weights = {tensor.name for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    batch = helper.make_node("Shape", [graph.input[0].name], [BATCH], start=0, end=1)
    graph.node.append(batch)
    for node in nodes:
        name = node.output[0]
        ours, theirs = (run[name].value if name in run else None for run in (first, second))
        if name in settled and name not in weights and ours is not None and theirs is not None:
            if np.array_equal(ours, theirs):
                graph.initializer.append(numpy_helper.from_array(ours, name))
                continue
            if node.op_type in ("Shape", "Size"):
                graph.node.extend(_from_batch(name, ours, theirs, graph))
                continue
        if node.op_type == "Reshape":
            _free_reshape(node, first, second, graph)
        graph.node.append(node)


def _from_batch(
    name: str, one: npt.NDArray[np.int64], two: npt.NDArray[np.int64], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Nodes that compute a shape from the batch: `slope * N + rest`."""
    parts = {"slope": two - one, "rest": 2 * one - two}
    if parts["slope"].tolist() == [1] and parts["rest"].tolist() == [0]:
        return [helper.make_node("Identity", [BATCH], [name])]
    graph.initializer.extend(
        numpy_helper.from_array(np.atleast_1d(value), f"{name}.{part}")
        for part, value in parts.items()
    )
    nodes = [helper.make_node("Mul", [BATCH, f"{name}.slope"], [f"{name}.scaled"])]
    if one.ndim:
        return [*nodes, helper.make_node("Add", [f"{name}.scaled", f"{name}.rest"], [name])]
    return [
        *nodes,
        helper.make_node("Add", [f"{name}.scaled", f"{name}.rest"], [f"{name}.vector"]),
        helper.make_node("Squeeze", [f"{name}.vector"], [name]),
    ]


def _free_reshape(
    node: onnx.NodeProto,
    first: Mapping[str, _Seen],
    second: Mapping[str, _Seen],
    graph: onnx.GraphProto,
) -> None:
    """Let -1 stand for the one dimension that follows the batch."""
    if not {node.output[0], node.input[1]} <= first.keys():
        return
    shapes = first[node.output[0]].shape, second[node.output[0]].shape
    target = [ours if ours == theirs else -1 for ours, theirs in zip(*shapes, strict=True)]
    if target.count(-1) == 1 and 0 not in target:
        name = f"{node.output[0]}.shape"
        graph.initializer.append(numpy_helper.from_array(np.array(target), name))
        node.input[1] = name


def _drop_dead_nodes(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= node_reads(node)
    del graph.node[:]
    graph.node.extend(kept[::-1])
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _value_info(name: str, one: _Seen, two: _Seen) -> onnx.ValueInfoProto:
    """Shape with `N` for the batch, `k*N` for multiples; None where it follows in another way."""
    dims: list[int | str | None] = []
    for ours, theirs in zip(one.shape, two.shape, strict=True):
        follows = BATCH if ours == 1 else f"{ours}*{BATCH}"
        dims.append(ours if ours == theirs else follows if theirs == 2 * ours else None)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(one.dtype), dims)


def read_shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Shape of a tensor for one sample; None unless it is certain."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    shape = []
    for dim in tensor.shape.dim:
        factor, _, symbol = f"1*{dim.dim_param}".rpartition("*")
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
        elif symbol == BATCH:
            shape.append(math.prod(int(number) for number in factor.split("*")))
        else:
            return None
    return tuple(shape)


def follows_batch(value: onnx.ValueInfoProto) -> bool:
    """Whether the first dimension is the batch and no other depends on it."""
    dims = value.type.tensor_type.shape.dim
    first, rest = dims[:1], dims[1:]
    return bool(first) and first[0].dim_param == BATCH and not any(dim.dim_param for dim in rest)
