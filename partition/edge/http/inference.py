"""Requests and responses of the Open Inference Protocol, version 2, with its binary tensor data.

https://github.com/kserve/open-inference-protocol; the binary data as in Triton Inference Server.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from partition.codec.encoded import MAX_DIMS
from partition.errors import WireError
from partition.model.description import MAX_TENSORS
from partition.model.folder import ModelFolder
from partition.model.inputs import as_inputs, as_type
from partition.model.split_point import TensorSpec
from partition.transport import rpc

Arrays = tuple[npt.NDArray[Any], ...]

HEADER_LENGTH = "Inference-Header-Content-Length"
EXTENSION = "binary_tensor_data"
DATATYPES = {
    "bool": "BOOL",
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}
"""The protocol's names by numpy's."""
_DTYPES = {name: np.dtype(dtype).newbyteorder("<") for dtype, name in DATATYPES.items()}
_MORE = 256
"""Values, lists and objects of a request besides its tensors' data."""
_SIZE, _BINARY, _ALL_BINARY, _TIMEOUT = (
    "binary_data_size",
    "binary_data",
    "binary_data_output",
    "timeout",
)
_CODEC = "content_type"
"""What MLServer's client makes of tensors at its own end; it adds nothing to shape and datatype."""
MICROSECONDS = 1e6
"""In a second; a time-out is given in the former."""


_Some = Meta(min_length=1)
_Number = bool | int | float
_Row = Annotated[list[_Number], _Some]
_Nested2 = Annotated[list[_Number | _Row], _Some]
_Nested3 = Annotated[list[_Number | _Nested2], _Some]
_Nested4 = Annotated[list[_Number | _Nested3], _Some]
_Nested5 = Annotated[list[_Number | _Nested4], _Some]
_Data = Annotated[list[_Number | _Nested5], _Some]
"""Numbers, or lists of them nested as deep as a tensor's dimensions; an empty one has no use, and
would take twenty times its two bytes."""
_Parameters = dict[str, bool | int | float | str]
_Shape = Annotated[list[Annotated[int, Meta(ge=0, le=2**31)]], Meta(max_length=MAX_DIMS)]


class _Input(Struct, forbid_unknown_fields=True):
    name: str
    shape: _Shape
    datatype: str
    parameters: _Parameters | None = None
    data: _Data | None = None


class _Output(Struct, forbid_unknown_fields=True):
    name: str
    parameters: _Parameters | None = None


class _Inference(Struct, forbid_unknown_fields=True):
    inputs: Annotated[list[_Input], Meta(max_length=MAX_TENSORS)]
    id: Annotated[str, Meta(max_length=1024)] | None = None
    model_name: str | None = None
    """KServe's own client names the network here, too."""
    parameters: _Parameters | None = None
    outputs: Annotated[list[_Output], Meta(max_length=MAX_TENSORS)] | None = None


_DECODER = msgspec.json.Decoder(_Inference)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    inputs: Arrays
    """In the network's order and types."""
    outputs: tuple[tuple[int, bool], ...]
    """Each one's index, and whether it is wanted as binary data."""
    timeout_s: float
    """After which the answer is of no use."""
    id: str
    """That the response repeats; empty: none."""


def parse(body: bytes, header_length: str | None, folder: ModelFolder) -> Asked:
    """What a body asks of a network.

    Args:
        body: JSON, and binary data behind it.
        header_length: bytes of the JSON, as the header says; None: all are.
        folder: the network.

    Raises:
        WireError: it is malformed, or not for this network.
    """
    view = memoryview(body)
    n_json = len(body) if header_length is None else _json_bytes(header_length, len(body))
    _check_extent(body if n_json == len(body) else body[:n_json], folder)
    try:
        document = _DECODER.decode(view[:n_json])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"the request is no inference request in JSON: {error}") from error
    if document.model_name not in (None, folder.name):
        raise WireError(f"the request is for {document.model_name!r}, here is {folder.name}")
    parameters = _known(document.parameters, "the request", _TIMEOUT, _ALL_BINARY)
    arrays, binary = {}, view[n_json:]
    for each in document.inputs:
        if each.name in arrays:
            raise WireError(f"input {each.name!r} is there twice")
        arrays[each.name], binary = _array(each, binary)
    if binary:
        raise WireError(f"{len(binary)} bytes of binary data belong to no input")
    return Asked(
        _in_order(arrays, folder),
        _wanted(document.outputs or [], folder.outputs, binary=_flag(parameters, _ALL_BINARY)),
        timeout_s(parameters.get(_TIMEOUT)),
        document.id or "",
    )


def timeout_s(timeout_us: object) -> float:
    """How long to wait, s; a minute for None.

    Args:
        timeout_us: microseconds, as a request gives them.

    Raises:
        WireError: that is no such number.
    """
    if timeout_us is None:
        return rpc.LONGEST_S
    if isinstance(timeout_us, bool) or not isinstance(timeout_us, int) or timeout_us <= 0:
        raise WireError(f"a timeout of {timeout_us!r} says nothing: give whole microseconds")
    return rpc.timeout_s(timeout_us / MICROSECONDS)


def largest_request_bytes(folder: ModelFolder, digits: int) -> int:
    """Length of the longest request that a network has use for.

    Args:
        folder: the network.
        digits: characters of a number in JSON.
    """
    return sum(digits * math.prod(each.shape) for each in folder.inputs)


def render_outputs(
    outputs: Arrays, wanted: tuple[tuple[int, bool], ...], specs: tuple[TensorSpec, ...]
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Outputs as the protocol describes them, and the binary data of those that are wanted so.

    Args:
        outputs: of the network.
        wanted: as `Asked.outputs`.
        specs: of all outputs.
    """
    documents: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for index, is_binary in wanted:
        array = outputs[index]
        document: dict[str, Any] = {
            "name": specs[index].name,
            "datatype": DATATYPES[array.dtype.name],
            "shape": array.shape,
        }
        if is_binary:
            data = np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes()
            document["parameters"] = {_SIZE: len(data)}
            binary.append(data)
        else:
            document["data"] = array.reshape(-1).tolist()
        documents.append(document)
    return documents, binary


def all_outputs(specs: tuple[TensorSpec, ...], *, binary: bool) -> tuple[tuple[int, bool], ...]:
    """As `Asked.outputs`, all of them."""
    return tuple((index, binary) for index in range(len(specs)))


def describe(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    """Inputs or outputs in a model's metadata."""
    return [
        {"name": each.name, "datatype": DATATYPES[each.dtype], "shape": each.shape}
        for each in specs
    ]


def _check_extent(text: bytes, folder: ModelFolder) -> None:
    """Refuse JSON of more things than a request has use for, before it is taken apart.

    A million empty lists would else keep the interpreter from the board's loop for a second.

    Raises:
        WireError: there are more.
    """
    shapes = [spec.shape for spec in folder.inputs]
    n_values = sum(map(math.prod, shapes))
    n_lists = sum(math.prod(shape[:n]) for shape in shapes for n in range(len(shape)))
    for sign, expected, name in (
        (b",", n_values, "values"),
        (b"[", n_lists, "lists"),
        (b"{", 0, "objects"),
    ):
        if text.count(sign) > expected + _MORE:
            raise WireError(f"the request has more {name} than {folder.name} takes")


def _json_bytes(header_length: str, n_bytes: int) -> int:
    text = header_length.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) <= n_bytes):
        raise WireError(
            f"{HEADER_LENGTH} is {text[:40]!r}: give the bytes of the JSON, {n_bytes} at most here"
        )
    return int(text)


def _array(each: _Input, binary: memoryview) -> tuple[npt.NDArray[Any], memoryview]:
    """An input as it was sent, and what is left of the binary data."""
    n_bytes = _known(each.parameters, f"input {each.name!r}", _SIZE).get(_SIZE)
    dtype = _DTYPES.get(each.datatype)
    if dtype is None:
        known = ", ".join(_DTYPES)
        raise WireError(f"input {each.name!r} is of datatype {each.datatype!r}: take {known}")
    if (n_bytes is None) == (each.data is None):
        raise WireError(f"input {each.name!r} has either data or {_SIZE}")
    if each.data is not None:
        return _from_json(each, dtype), binary
    expected = math.prod(each.shape) * dtype.itemsize
    if isinstance(n_bytes, bool) or n_bytes != expected or len(binary) < expected:
        raise WireError(
            f"input {each.name!r} of shape {each.shape} and {each.datatype} takes {expected} bytes "
            f"of binary data, {_SIZE} is {n_bytes!r} and {len(binary)} are there"
        )
    raw = np.frombuffer(binary[:expected], np.uint8)
    if dtype == np.bool_ and raw.max(initial=0) > 1:
        raise WireError(f"input {each.name!r} of BOOL holds {raw.max()}")
    return raw.view(dtype).reshape(each.shape), binary[expected:]


def _from_json(each: _Input, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values out of JSON, flat or nested, in the type that they are said to have."""
    try:
        array = np.asarray(each.data)
        if array.ndim > 1 and list(array.shape) != each.shape:
            raise ValueError(f"nested as {list(array.shape)}")
        return as_type(array, dtype).reshape(each.shape)
    except (ValueError, OverflowError) as error:
        raise WireError(
            f"the data of input {each.name!r} are not {each.shape} of {each.datatype}: {error}"
        ) from error


def _in_order(arrays: dict[str, npt.NDArray[Any]], folder: ModelFolder) -> Arrays:
    names = [spec.name for spec in folder.inputs]
    if set(arrays) != set(names):
        raise WireError(f"inputs are {sorted(arrays)}, {folder.name} takes {sorted(names)}")
    return as_inputs(folder, tuple(arrays[name] for name in names))


def _wanted(
    asked: list[_Output], specs: tuple[TensorSpec, ...], *, binary: bool
) -> tuple[tuple[int, bool], ...]:
    """Which outputs are wanted, and how; binary unless they say otherwise, or not."""
    if not asked:
        return all_outputs(specs, binary=binary)
    names = [spec.name for spec in specs]
    wanted: dict[int, bool] = {}
    for each in asked:
        parameters = _known(each.parameters, f"output {each.name!r}", _BINARY)
        if each.name not in names:
            raise WireError(f"there is no output {each.name!r}, but {', '.join(names)}")
        index = names.index(each.name)
        if index in wanted:
            raise WireError(f"output {each.name!r} is wanted twice")
        wanted[index] = _flag(parameters, _BINARY, default=binary)
    return tuple(wanted.items())


def _flag(parameters: _Parameters, name: str, *, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise WireError(f"parameter {name} is {value!r}: give true or false")
    return value


def _known(parameters: _Parameters | None, owner: str, *known: str) -> _Parameters:
    """Parameters, none of which would change an answer for others, and nothing here.

    Raises:
        WireError: one would.
    """
    parameters = parameters or {}
    if unknown := set(parameters).difference((*known, _CODEC)):
        raise WireError(
            f"{owner} has parameter {min(unknown)!r}, here there is only {', '.join(known)}"
        )
    return parameters
