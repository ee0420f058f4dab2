"""From a network to one clean ONNX graph: one image in, one vector of logits out, batch 1."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from partition.errors import ModelExportError
from partition.zoo import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

_INSTALL = "pip install 'dvfo[prepare]'"
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"


def to_onnx(source: Source) -> onnx.ModelProto:
    """The graph of `source` with inferred shapes, readable node names and no meta-data.

    Raises:
        ModelExportError: the network does not have the form described above, or the exporter
            cannot follow it.
    """
    if isinstance(source.load, Path):
        model = _read(source.load)
    else:
        model = _from_torch(source.name, *_example(source.name, source.load))
    _static_batch(model)
    model = _with_shapes(source.name, model)
    _check_interface(source.name, model)
    _name_nodes(model.graph)
    _strip(model)
    return model


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError) as error:
        raise ModelExportError(f"model file {path} cannot be read: {error}") from error


def _example(name: str, load: Callable[[], object]) -> tuple[nn.Module, Tensor]:
    made = load()
    try:
        from torch import Tensor, nn
    except ModuleNotFoundError as error:
        raise ModelExportError(f"exporting {name!r} needs torch: {_INSTALL}") from error

    match made:
        case (nn.Module() as network, Tensor() as example):
            return network, example
    raise ModelExportError(
        f"model {name!r} gave {type(made).__name__}: return (nn.Module, example_input)"
    )


def _from_torch(name: str, network: nn.Module, example: Tensor) -> onnx.ModelProto:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        # The exporter folds BatchNorm into convolutions; it also prints and warns a lot.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(network.eval(), (example,), dynamo=True, verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ModelExportError(
            f"model {name!r} cannot be exported: {first_line}; give an .onnx file instead"
        ) from error
    except ModuleNotFoundError as error:
        raise ModelExportError(f"exporting {name!r} needs {error.name}: {_INSTALL}") from error
    if program is None:
        raise ModelExportError(f"model {name!r} gave no graph: give an .onnx file instead")
    return program.model_proto


def _static_batch(model: onnx.ModelProto) -> None:
    """Leave the activations as the only inputs and set a symbolic batch to 1."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in [*graph.input, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1


def _with_shapes(name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ModelExportError(f"model {name!r} is not a valid graph: {error}") from error
    return model


def _check_interface(name: str, model: onnx.ModelProto) -> None:
    graph = model.graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ModelExportError(
            f"model {name!r} has {len(graph.input)} inputs and {len(graph.output)} outputs: "
            "one of each is supported"
        )
    image, logits = graph.input[0].type.tensor_type, graph.output[0].type.tensor_type
    shape_in = [dim.dim_value for dim in image.shape.dim]
    shape_out = [dim.dim_value for dim in logits.shape.dim]
    square = len(shape_in) == 4 and shape_in[:2] == [1, 3] and shape_in[2] == shape_in[3] > 0
    if not square or image.elem_type != onnx.TensorProto.FLOAT:
        raise ModelExportError(f"model {name!r} takes {shape_in}: float32 [1, 3, N, N] is needed")
    if len(shape_out) != 2 or shape_out[0] != 1 or shape_out[1] < 1:
        raise ModelExportError(f"model {name!r} returns {shape_out}: logits [1, n] are needed")


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name every node after its weight or the module it came from, uniquely."""
    weights = {tensor.name for tensor in graph.initializer}
    seen: dict[str, int] = {}
    for node in graph.node:
        name = _readable(node, weights)
        seen[name] = seen.get(name, 0) + 1
        node.name = name if seen[name] == 1 else f"{name}#{seen[name]}"


def _readable(node: onnx.NodeProto, weights: set[str]) -> str:
    for name in node.input:
        if name in weights and name.endswith(".weight"):
            return _without_underscores(name.removesuffix(".weight"))
    properties = {entry.key: entry.value for entry in node.metadata_props}
    if _SCOPES_KEY in properties:
        scopes = [scope for scope in ast.literal_eval(properties[_SCOPES_KEY]) if scope]
        module = scopes[-2] if len(scopes) > 1 else ""
        return _without_underscores(f"{module}.{node.op_type.lower()}").lstrip(".")
    return (node.name or node.output[0]).strip("/")


def _without_underscores(path: str) -> str:
    """`_blocks.2._expand_conv` -> `blocks.2.expand_conv`."""
    return ".".join(part.lstrip("_") for part in path.split("."))


def _strip(model: onnx.ModelProto) -> None:
    """Drop what holds paths of the exporting machine; the same network gives the same bytes."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    shapes = [value for value in graph.value_info if value.name not in weights]
    del graph.value_info[:]
    graph.value_info.extend(sorted(shapes, key=lambda value: value.name))
    parts = [model, graph, *graph.node, *graph.initializer]
    parts += [*graph.input, *graph.output, *graph.value_info]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
