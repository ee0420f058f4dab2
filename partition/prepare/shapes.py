"""Shapes and values of a graph that depend on the batch alone, found by running it.

The graph is run with one sample and with two, all intermediate tensors as outputs. What does not
change is a constant; what does is made to follow from one tensor, the batch, which either side of
a cut can read off what crosses. Of a shape that depends on the data only the rank is known, and the
sizes that onnx infers.
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

from partition.codec.message_sizes import RAW_TYPES
from partition.model.onnx_nodes import BATCH, BATCH_SHAPE, node_reads
from partition.prepare import bounded
from partition.prepare.onnx_file import branches
from partition.prepare.onnx_file.subgraphs import keep_needed
from partition.prepare.onnx_file.types import UNDEFINED, type_name
from partition.prepare.samples import Feeds
from partition.providers.registry import CPU

_WITH_ARRAY = {*RAW_TYPES, UNDEFINED, "string", "sequence", "optional", "complex64", "complex128"}
UNKNOWN = -1
"""Size of a dimension that depends on the data."""
_MAX_SHAPE_VALUES = 16
_LARGE_BYTES = 1024
"""A weight above it is no shape, so that onnx need not see it."""
_SLICED_SHAPE_OPSET = 15
"""First one in which `Shape` can give the first dimension alone."""
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
    inferred, without_array = _inferred(model, one)
    first = _run(model, one, without_array)
    second = _run(model, two, without_array) if two is not None else first
    certain = {name for name, seen in first.items() if inferred.get(name) == seen.shape}
    settled, data_shaped = _dependence(graph, certain)
    _fold(graph, _opset(model), settled, first, second)
    keep_needed(graph, {value.name for value in graph.output})
    del graph.value_info[:]
    made = {name for node in graph.node for name in node.output if name}
    outputs = {value.name for value in graph.output}
    known = [name for name in first if name in made | outputs and name not in data_shaped]
    infos = {name: _value_info(name, first[name], second[name]) for name in known}
    graph.value_info.extend(infos[name] for name in sorted(made & infos.keys() - outputs))
    for value in graph.output:
        name = value.name
        if name not in infos:
            infos[name] = _data_shaped_info(name, first[name], inferred.get(name, ()))
        value.CopyFrom(infos[name])
    for value in graph.input:
        value.CopyFrom(
            _value_info(value.name, _seen(one[value.name]), _seen((two or one)[value.name]))
        )


def inline_branches(model: onnx.ModelProto, one: Feeds, two: Feeds | None) -> None:
    """Replace conditions that follow from shapes and weights by the branch that is taken.

    Args:
        model: changed in place.
        one: inputs with one sample.
        two: the same with two samples; a condition on the size of the batch stays.

    Raises:
        what `partition.providers.session.RUNTIME_ERRORS` lists: the graph does not run.
    """

    def values(names: list[str]) -> dict[str, bool]:
        asked = onnx.ModelProto()
        asked.CopyFrom(model)
        keep_needed(asked.graph, names)
        del asked.graph.output[:], asked.graph.value_info[:]
        asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = _session(asked)
        runs = [bounded.run(session, names, feeds) for feeds in (one, two) if feeds is not None]
        return {
            name: bool(arrays[0].reshape(-1)[0])
            for name, *arrays in zip(names, *runs, strict=True)
            if all(np.array_equal(array, arrays[0]) for array in arrays)
        }

    branches.inline(model.graph, lambda: _dependence(model.graph, set())[0], values)


def _dependence(graph: onnx.GraphProto, certain: set[str]) -> tuple[set[str], set[str]]:
    """Tensors whose values follow from shapes and weights, and those of a data-dependent shape.

    Args:
        graph: all of it.
        certain: tensors that are known to have always the same shape.
    """
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
            data_shaped |= outputs - certain
    return settled, data_shaped


def _inferred(model: onnx.ModelProto, one: Feeds) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """What onnx infers without running anything.

    Returns:
        Shapes for one sample, `UNKNOWN` for sizes that are not; and the tensors of types that numpy
        lacks, as bfloat16, so that no run can give them.
    """
    known = onnx.ModelProto()
    known.CopyFrom(model)
    graph = known.graph
    for tensor in graph.initializer:
        if len(tensor.raw_data) > _LARGE_BYTES:
            tensor.raw_data = b""
    for value in graph.input:
        array = one[value.name]
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, dtype, array.shape))
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    try:
        graph = onnx.shape_inference.infer_shapes(known, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return {}, set()  # of an operator that is not onnx's
    shapes = {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else UNKNOWN
            for dim in value.type.tensor_type.shape.dim
        )
        for value in [*graph.value_info, *graph.output]
        if value.type.tensor_type.HasField("shape")
    }
    types = {value.name: type_name(value.type) for value in [*graph.value_info, *graph.output]}
    return shapes, {name for name, kind in types.items() if kind not in _WITH_ARRAY}


def _run(model: onnx.ModelProto, feeds: Feeds, without_array: set[str]) -> dict[str, _Seen]:
    """Every tensor that the nodes make, but those that numpy has no type for."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    wanted = {value.name for value in probe.graph.output}
    for value in [*probe.graph.input, *probe.graph.output]:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    for node in probe.graph.node:
        names = [name for name in node.output if name and name not in wanted | without_array]
        probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    del probe.graph.value_info[:]
    session = _session(probe)
    names = [value.name for value in session.get_outputs()]
    arrays = zip(names, bounded.run(session, names, feeds), strict=True)
    return {name: _seen(array) for name, array in arrays if isinstance(array, np.ndarray)}


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    """What runs a graph as it is written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=[CPU.ort_name], enable_fallback=0
    )


def _opset(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def _seen(array: npt.NDArray[Any]) -> _Seen:
    small = array.dtype == np.int64 and array.ndim <= 1 and array.size <= _MAX_SHAPE_VALUES
    return _Seen(array.dtype, array.shape, array if small else None)


def _fold(
    graph: onnx.GraphProto,
    opset: int,
    settled: set[str],
    first: Mapping[str, _Seen],
    second: Mapping[str, _Seen],
) -> None:
    """Constants for what a batch does not change, the batch for what it does."""
    weights = {tensor.name for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(_batch_nodes(graph, opset))
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


def _batch_nodes(graph: onnx.GraphProto, opset: int) -> list[onnx.NodeProto]:
    """Nodes that read the batch, a vector of one element, off the first input."""
    source = graph.input[0].name
    if opset >= _SLICED_SHAPE_OPSET:
        return [helper.make_node("Shape", [source], [BATCH], start=0, end=1)]
    first = f"{BATCH_SHAPE}.first"
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), first))
    return [
        helper.make_node("Shape", [source], [BATCH_SHAPE]),
        helper.make_node("Gather", [BATCH_SHAPE, first], [BATCH], axis=0),
    ]


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


def _value_info(name: str, one: _Seen, two: _Seen) -> onnx.ValueInfoProto:
    """Shape with `N` for the batch, `k*N` for multiples; None where it follows in another way."""
    dtype = helper.np_dtype_to_tensor_dtype(one.dtype)
    if len(one.shape) != len(two.shape):
        return helper.make_tensor_value_info(name, dtype, None)
    dims: list[int | str | None] = []
    for ours, theirs in zip(one.shape, two.shape, strict=True):
        follows = BATCH if ours == 1 else f"{ours}*{BATCH}"
        dims.append(ours if ours == theirs else follows if theirs == 2 * ours else None)
    return helper.make_tensor_value_info(name, dtype, dims)


def _data_shaped_info(name: str, seen: _Seen, inferred: tuple[int, ...]) -> onnx.ValueInfoProto:
    """Sizes where onnx infers what was seen, None for the others."""
    sizes = inferred if len(inferred) == len(seen.shape) else (UNKNOWN,) * len(seen.shape)
    dims = [ours if ours == known else None for ours, known in zip(seen.shape, sizes, strict=True)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(seen.dtype), dims)


def read_output_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Shape of an output for one sample; `UNKNOWN` for what depends on the data."""
    return read_shape(value) or tuple(
        dim.dim_value if dim.HasField("dim_value") else UNKNOWN
        for dim in value.type.tensor_type.shape.dim
    )


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
