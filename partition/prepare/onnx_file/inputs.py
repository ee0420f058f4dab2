"""Inputs of an ONNX file: constants in the place of some, certain shapes for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from partition.codec.message_sizes import RAW_NAMES, RAW_TYPES
from partition.data.array_files import Sample, read_samples
from partition.errors import ModelExportError
from partition.model.inputs import as_type
from partition.model.split_point import TensorSpec
from partition.prepare.onnx_file.choices import FREE, ONLY, Shape
from partition.prepare.onnx_file.types import type_name

_UNNAMED = {"", "?", "-1"}
"""What exporters write for a dimension of which nothing is known."""


def check_types(name: str, graph: onnx.GraphProto) -> None:
    """Refuse inputs that no message carries.

    Raises:
        ModelExportError: there is one, or no input at all.
    """
    if not graph.input:
        raise ModelExportError(f"model {name!r} takes no input: there is nothing to send")
    for value in graph.input:
        kind = type_name(value.type)
        if kind not in RAW_TYPES:
            raise ModelExportError(
                f"model {name!r} takes input {value.name!r} of type {kind}, a message carries "
                f"arrays of {RAW_NAMES}: export the network from the tensor that is made of it"
            )


def freeze(name: str, graph: onnx.GraphProto, values: Mapping[str, npt.ArrayLike]) -> None:
    """Make constants of inputs that always have the same value.

    Raises:
        ModelExportError: there is no such input, or the value does not fit it.
    """
    for key, given in values.items():
        value = _find(name, graph, key, "--value")
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in _dims(value)]
        wanted = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = np.asarray(given)
        ranked = value.type.tensor_type.HasField("shape")
        if ranked and array.size == 1 and len(dims) != array.ndim and all(n < 2 for n in dims):
            array = array.reshape([1] * len(dims))
        fits = not ranked or (
            array.ndim == len(dims)
            and all(n in (0, m) for n, m in zip(dims, array.shape, strict=True))
        )
        try:
            if not fits:
                raise ValueError(f"shape {list(array.shape)} does not fit")
            typed = as_type(array, wanted)
        except ValueError as error:
            raise ModelExportError(
                f"model {name!r} takes input {key!r} of {wanted} {shape_text(value)}, --value "
                f"gives {array.dtype} ({error}): give another value"
            ) from error
        graph.initializer.append(numpy_helper.from_array(typed, key))
        graph.input.remove(value)


def read_examples(name: str, graph: onnx.GraphProto, path: Path | None) -> list[Sample]:
    """Real inputs, whose sizes become those of the dimensions that are open; none without a file.

    Raises:
        ModelExportError: the rank of an input is unknown.
        SampleError: the file cannot be read, or does not fit the inputs.
    """
    if path is None:
        return []
    specs = []
    for value in graph.input:
        if not value.type.tensor_type.HasField("shape"):
            raise ModelExportError(
                f"model {name!r} does not say how many dimensions input {value.name!r} has: say it "
                f"with --shape {value.name}=SIZES"
            )
        sizes = tuple(d.dim_value if d.HasField("dim_value") else 0 for d in _dims(value))
        specs.append(TensorSpec(value.name, type_name(value.type), sizes))
    samples = read_samples(path, specs)
    for value, array in zip(graph.input, samples[0], strict=True):
        for dim, size in zip(_dims(value)[1:], array.shape[1:], strict=True):
            dim.dim_value = size
    return samples


def set_shapes(name: str, graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> None:
    """Give inputs the shapes that were chosen, and others what follows from a common symbol.

    Raises:
        ModelExportError: there is no such input, or the shape contradicts the file.
    """
    symbols: dict[str, int | str] = {}
    for key, shape in shapes.items():
        value = _find(name, graph, key, "--shape")
        tensor = value.type.tensor_type
        text = "x".join(map(str, shape))
        if not tensor.HasField("shape"):
            tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
        dims = _dims(value)
        declared = shape_text(value)
        if len(dims) != len(shape):
            raise ModelExportError(
                f"model {name!r} takes input {value.name!r} of shape {declared}: --shape {text} "
                f"has {len(shape)} sizes instead of {len(dims)}"
            )
        for dim, size in zip(dims, shape, strict=True):
            known: int | str = size
            if dim.HasField("dim_value"):
                known = dim.dim_value
            elif _is_symbol(dim):
                known = symbols.setdefault(dim.dim_param, size)
            if known != size:
                raise ModelExportError(
                    f"model {name!r} takes input {value.name!r} of shape {declared}: --shape "
                    f"{text} has {size} where it has to be {known}"
                )
            if size != FREE:
                dim.dim_value = int(size)
    for value in graph.input:
        for dim in _dims(value):
            if _is_symbol(dim) and (size := symbols.get(dim.dim_param, FREE)) != FREE:
                dim.dim_value = int(size)


def has_free_batch(graph: onnx.GraphProto) -> bool:
    """Whether the first dimension of every input is open."""
    first = [_dims(value)[:1] for value in graph.input]
    return all(dims and not dims[0].HasField("dim_value") for dims in first)


def open_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs with an open dimension besides the first, or of unknown rank."""
    return [
        value
        for value in graph.input
        if not value.type.tensor_type.HasField("shape")
        or not all(dim.HasField("dim_value") for dim in _dims(value)[1:])
    ]


def shape_text(value: onnx.ValueInfoProto) -> str:
    """A shape as the file has it, for a message."""
    if not value.type.tensor_type.HasField("shape"):
        return "of unknown rank"
    sizes = (
        str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in _dims(value)
    )
    return f"[{', '.join(sizes)}]"


def freezing(graph: onnx.GraphProto, start: str) -> str:
    """How to make a constant of an input that is a single number, if there is one."""
    scalars = (
        value.name
        for value in graph.input
        if value.type.tensor_type.HasField("shape") and not value.type.tensor_type.shape.dim
    )
    name = next(scalars, None)
    return (
        "" if name is None else f"{start}{name!r}, if it stays the same, by --value {name}=NUMBER"
    )


def _find(name: str, graph: onnx.GraphProto, key: str, option: str) -> onnx.ValueInfoProto:
    if key == ONLY and len(graph.input) == 1:
        key = graph.input[0].name
    found: onnx.ValueInfoProto
    for found in graph.input:
        if found.name == key:
            return found
    raise ModelExportError(
        f"model {name!r} has no input {key!r} for {option}: it takes "
        f"{', '.join(repr(value.name) for value in graph.input)}"
    )


def _dims(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _is_symbol(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return dim.HasField("dim_param") and dim.dim_param not in _UNNAMED
