"""Export of a network to one clean ONNX graph with known shapes, for any batch size if it can."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError, EncodeError

from partition.errors import ModelExportError
from partition.prepare.shapes import Feeds, settle
from partition.prepare.zoo import Source
from partition.providers.session import RUNTIME_ERRORS, make_session

if TYPE_CHECKING:
    from torch import Tensor, nn

_INSTALL = "pip install --editable '.[prepare]'"
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_ROWS_ERROR = 1e-3


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph, ready to be cut."""

    model: onnx.ModelProto
    """Shapes inferred, nodes named, no meta-data; the batch is called N where it is free."""
    dynamic_batch: bool


@dataclass(frozen=True, slots=True)
class _Example:
    """A torch network with one sample for it."""

    network: nn.Module
    arguments: tuple[Tensor, ...]
    keywords: dict[str, Tensor]

    def repeated(self, times: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Arguments with the sample several times over."""
        import torch

        one = tuple(tensor[:1] for tensor in self.arguments)
        keywords = {name: tensor[:1] for name, tensor in self.keywords.items()}
        return (
            tuple(torch.cat([tensor] * times) for tensor in one),
            {name: torch.cat([tensor] * times) for name, tensor in keywords.items()},
        )

    @property
    def has_batch(self) -> bool:
        """Whether the first dimension of all inputs is the same, hence the batch."""
        tensors = [*self.arguments, *self.keywords.values()]
        return len({tuple(tensor.shape[:1]) for tensor in tensors}) == 1 and tensors[0].ndim > 0


def to_onnx(source: Source, *, dynamic_batch: bool = True) -> Exported:
    """The graph of `source`.

    Args:
        source: the network.
        dynamic_batch: leave the batch free if the network can take any; otherwise it is 1.

    Raises:
        ModelExportError: the exporter cannot follow the network, or ONNX Runtime cannot run it.
    """
    if isinstance(source.load, Path):
        model, feeds = _read(source.load), None
        if dynamic_batch and _free_batch(model):
            settled = _settled(source.name, model, feeds, dynamic_batch=True)
            if settled is not None:
                return Exported(settled, dynamic_batch=True)
        return Exported(_fixed(source.name, model, feeds), dynamic_batch=False)
    example = _example(source.name, source.load)
    one = _feeds_of(example)
    if dynamic_batch and example.has_batch:
        with contextlib.suppress(ModelExportError):
            model = _from_torch(source.name, example, dynamic_batch=True)
            settled = _settled(source.name, model, one, dynamic_batch=True)
            if settled is not None:
                return Exported(settled, dynamic_batch=True)
    model = _from_torch(source.name, example, dynamic_batch=False)
    return Exported(_fixed(source.name, model, one), dynamic_batch=False)


def _fixed(
    name: str, model: onnx.ModelProto, feeds: list[npt.NDArray[Any]] | None
) -> onnx.ModelProto:
    settled = _settled(name, model, feeds, dynamic_batch=False)
    if settled is None:
        raise ModelExportError(f"model {name!r} does not run in ONNX Runtime")
    return settled


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
        return onnx.inliner.inline_local_functions(model) if model.functions else model
    except (DecodeError, onnx.checker.ValidationError, OSError) as error:
        raise ModelExportError(f"model file {path} cannot be read: {error}") from error


def _example(name: str, load: Callable[[], object]) -> _Example:
    made = load()
    try:
        from torch import Tensor, nn
    except ModuleNotFoundError as error:
        raise ModelExportError(f"exporting {name!r} needs torch: {_INSTALL}") from error

    def are_tensors(values: Iterable[object]) -> bool:
        return all(isinstance(value, Tensor) for value in values)

    match made:
        case (nn.Module() as network, Tensor() as example):
            return _Example(network.eval(), (example,), {})
        case (nn.Module() as network, tuple(arguments)) if arguments and are_tensors(arguments):
            return _Example(network.eval(), arguments, {})
        case (nn.Module() as network, dict(keywords)) if keywords and are_tensors(
            keywords.values()
        ):
            return _Example(network.eval(), (), keywords)
    raise ModelExportError(
        f"model {name!r} gave {type(made).__name__}: return (nn.Module, example_input), the "
        "input a tensor, a tuple of tensors, or a dict of them by argument name"
    )


def _from_torch(name: str, example: _Example, *, dynamic_batch: bool) -> onnx.ModelProto:
    import torch

    for chatty in ("torch.onnx", "torch.fx.experimental.symbolic_shapes"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    # A batch of 1 would be taken for a constant.
    if dynamic_batch:
        arguments, keywords = example.repeated(2)
        free = {0: torch.export.Dim.DYNAMIC}
        names = dict.fromkeys(keywords, free)
        dynamic: Any = names or tuple(free for _ in arguments)
    elif example.has_batch:
        arguments, keywords = example.repeated(1)
        dynamic = None
    else:
        arguments, keywords, dynamic = example.arguments, example.keywords, None
    try:
        # The exporter folds BatchNorm into convolutions; it also prints and warns a lot.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            exported = torch.export.export(
                example.network, arguments, keywords, dynamic_shapes=dynamic, strict=False
            )
            program = torch.onnx.export(exported, dynamo=True, verbose=False)
    except ModuleNotFoundError as error:
        raise ModelExportError(f"exporting {name!r} needs {error.name}: {_INSTALL}") from error
    except Exception as error:  # torch.export documents no exception types
        raise ModelExportError(_reason(name, error)) from error
    if program is None:
        raise ModelExportError(f"model {name!r} gave no graph: give an .onnx file instead")
    return program.model_proto


def _reason(name: str, error: Exception) -> str:
    """Why the exporter gave up, and where: in the user's code, or in a library's, but torch's."""
    places: dict[bool, str] = {}
    cause: BaseException | None = error
    root: BaseException = error
    while cause is not None:
        root = cause if cause is error or cause is root.__cause__ else root
        for frame in traceback.extract_tb(cause.__traceback__):
            path = Path(frame.filename)
            inner = {"torch", f"python{sys.version_info.major}.{sys.version_info.minor}"}
            installed = "site-packages" in path.parts
            within = path.parts[path.parts.index("site-packages") :] if installed else path.parts
            own = inner.isdisjoint(within) and not frame.filename.startswith("<")
            if own and path != Path(__file__):
                places[installed] = f" at {frame.filename}:{frame.lineno} ({frame.line})"
        cause = cause.__cause__ or cause.__context__
    where = places.get(False, places.get(True, ""))
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    reason = lines[0] if lines else type(root).__name__
    return (
        f"model {name!r} cannot be exported{where}: {reason}; change that line or give an .onnx "
        "file instead"
    )


def _free_batch(model: onnx.ModelProto) -> bool:
    """Whether an .onnx file leaves the first dimension of every input open."""
    shapes = [value.type.tensor_type.shape.dim for value in _inputs(model.graph)]
    return all(dims and not dims[0].HasField("dim_value") for dims in shapes)


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _settled(
    name: str,
    original: onnx.ModelProto,
    one: list[npt.NDArray[Any]] | None,
    *,
    dynamic_batch: bool,
) -> onnx.ModelProto | None:
    """The graph with certain shapes; None where samples of a batch are not independent."""
    model = onnx.ModelProto()
    model.CopyFrom(original)
    graph = model.graph
    inputs = _inputs(graph)
    del graph.input[:]
    graph.input.extend(inputs)
    samples = one or [_sample(name, value) for value in inputs]
    feeds = {value.name: sample for value, sample in zip(inputs, samples, strict=True)}
    two = {key: _rows(sample, 2) for key, sample in feeds.items()} if dynamic_batch else None
    _check(name, model)
    try:
        settle(model, feeds, two)
        _name_nodes(graph)
        _strip(model)
        if dynamic_batch and not _independent(model, feeds):
            return None
    except EncodeError as error:
        raise ModelExportError(f"model {name!r} is over 2 GB: that is not supported") from error
    except RUNTIME_ERRORS as error:
        if dynamic_batch:
            return None
        raise ModelExportError(f"model {name!r} does not run in ONNX Runtime: {error}") from error
    return model


def _check(name: str, model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelExportError(f"model {name!r} is not a valid graph: {error}") from error


def _sample(name: str, value: onnx.ValueInfoProto) -> npt.NDArray[Any]:
    """An input for one sample."""
    tensor = value.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    if dims and dims[0] == 0:
        dims[0] = 1
    if 0 in dims:
        texts = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
        raise ModelExportError(
            f"model {name!r} takes {value.name} of open shape [{', '.join(texts)}]: fix all but "
            "the first dimension, python -m onnxruntime.tools.make_dynamic_shape_fixed does"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if dtype.kind == "f":
        return np.random.default_rng(0).normal(size=dims).astype(dtype)
    return np.ones(dims, dtype)


def _feeds_of(example: _Example) -> list[npt.NDArray[Any]]:
    arguments, keywords = (
        example.repeated(1)
        if example.has_batch
        else (
            example.arguments,
            example.keywords,
        )
    )
    return [tensor.detach().numpy() for tensor in (*arguments, *keywords.values())]


def _rows(sample: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """A batch of different samples."""
    if sample.dtype.kind == "f":
        noise = np.random.default_rng(0).normal(size=(count, *sample.shape[1:]))
        return (sample + noise).astype(sample.dtype)
    return np.concatenate([np.roll(sample, i, -1) for i in range(count)])


def _independent(model: onnx.ModelProto, feeds: Feeds) -> bool:
    """Whether three samples give in a batch what they give one by one."""
    session = make_session(model)
    batch = {name: _rows(sample, 3) for name, sample in feeds.items()}
    together = session.run(None, batch)
    for i in range(3):
        alone = session.run(None, {name: rows[i : i + 1] for name, rows in batch.items()})
        for whole, one in zip(together, alone, strict=True):
            if whole.shape != (3, *one.shape[1:]) or not _near(whole[i : i + 1], one):
                return False
    return True


def _near(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if one.dtype.kind != "f":
        return True  # an index or a comparison may flip on a rounding error
    scale = max(float(np.abs(other).max(initial=0.0)), 1e-3)
    return bool(np.abs(one - other).max(initial=0.0) <= _ROWS_ERROR * scale)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name every node after its weight or the module it came from, uniquely."""
    weights = {tensor.name for tensor in graph.initializer}
    seen = {"input": 1, "output": 1}  # the names of the first and the last cut
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
