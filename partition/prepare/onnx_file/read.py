"""An ONNX file in memory, in the one form that the rest of `prepare` knows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError, EncodeError
from onnx import helper, numpy_helper

from common.regular_file import read_bytes
from partition.errors import ModelExportError
from partition.model.onnx_nodes import BATCH
from partition.prepare.onnx_file.subgraphs import all_graphs, rename, sort
from partition.providers.session import RUNTIME_ERRORS

GARBLED: tuple[type[Exception], ...] = (
    *RUNTIME_ERRORS,
    DecodeError,
    EncodeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a damaged file makes protobuf, onnx, numpy and ONNX Runtime raise: none of them checks all
that it reads."""
_MAX_BYTES = 2**31 - 1
"""Of a protobuf message, in which ONNX Runtime is given every part of a network."""
_LEAST_IR_VERSION = 4
"""Before it, a weight had to be an input as well."""


def read(path: Path) -> onnx.ModelProto:
    """A network as its file has it, without what only the form of the file is about.

    Functions are inlined; constants are initialisers, dense, and no inputs; an open dimension has
    no value; no tensor has the name that `prepare` gives the batch.

    Raises:
        ModelExportError: the file, or one with its weights, cannot be read or holds too much.
    """
    try:
        model = onnx.load_model_from_string(read_bytes(path))
    except GARBLED as error:
        raise ModelExportError(
            f"model file {path} is cut short, damaged or no ONNX ({_reason(error)}): fetch or "
            "export it again"
        ) from error
    try:
        _check_sizes(path, model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of entries that it does not know
            onnx.load_external_data_for_model(model, str(path.parent))
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _normalise(model)
    except GARBLED as error:
        raise ModelExportError(
            f"model file {path} cannot be read ({_reason(error)}): fetch or export it again, with "
            "the files of its weights next to it (files, not links)"
        ) from error
    if not model.graph.node:
        raise ModelExportError(f"model file {path} holds no network: give another .onnx file")
    return model


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _check_sizes(path: Path, model: onnx.ModelProto) -> None:
    """Refuse weights that no message holds before they are read, and sizes that end onnx."""
    for tensor in _constants(model.graph):
        if min(tensor.dims, default=0) < 0:  # its shape inference aborts the process on some
            raise ValueError(f"weight {tensor.name!r} of shape {list(tensor.dims)}")
    tensors = [tensor for graph in all_graphs(model.graph) for tensor in graph.initializer]
    n_bytes = sum(
        math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in tensors
        if tensor.data_type != onnx.TensorProto.STRING
    )
    if n_bytes > _MAX_BYTES:
        raise ModelExportError(
            f"model file {path} has {n_bytes / 1e9:.1f} GB of weights, 2.1 GB can be: export it "
            "quantised or in float16"
        )


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Weights, and tensors within nodes."""
    for one in all_graphs(graph):
        yield from one.initializer
        for node in one.node:
            yield from (held.t for held in node.attribute if held.HasField("t"))


def _normalise(model: onnx.ModelProto) -> None:
    graph = model.graph
    model.ir_version = max(model.ir_version, _LEAST_IR_VERSION)
    del model.training_info[:]
    del graph.quantization_annotation[:]
    _lift_constants(graph)
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse))
    del graph.sparse_initializer[:]
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:  # some exporters' open dimension
                dim.Clear()
    sort(graph)
    names = {name for node in graph.node for name in node.output} | weights
    if BATCH in names | {value.name for value in graph.input}:
        rename(graph, {BATCH: _unused(f"{BATCH}_", names)})


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Make initialisers of the nodes that only hold a tensor, so that it goes into the weights."""
    nodes = list(graph.node)
    outputs = {value.name for value in graph.output}
    del graph.node[:]
    for node in nodes:
        held = node.attribute[0] if len(node.attribute) == 1 else None
        is_constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        if is_constant and held is not None and node.output[0] not in outputs:
            if held.name == "value":
                graph.initializer.append(held.t)
                graph.initializer[-1].name = node.output[0]
                continue
            if held.name == "sparse_value":
                graph.initializer.append(_dense(held.sparse_tensor))
                graph.initializer[-1].name = node.output[0]
                continue
        graph.node.append(node)


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    if math.prod(sparse.dims) * values.itemsize > _MAX_BYTES:
        raise ValueError(f"sparse weight {sparse.values.name!r} of shape {list(sparse.dims)}")
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return numpy_helper.from_array(dense, sparse.values.name)


def _unused(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    return name
