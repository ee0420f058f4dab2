"""One clean ONNX graph of any network, with known shapes, for any batch size if it can."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from google.protobuf.message import EncodeError

from partition.data.array_files import Sample
from partition.errors import ModelExportError
from partition.prepare import bounded, from_torch, trial
from partition.prepare.naming import name_nodes
from partition.prepare.onnx_file import inputs, network
from partition.prepare.onnx_file.choices import Choices
from partition.prepare.samples import Feeds, rows
from partition.prepare.shapes import inline_branches, read_shape, settle
from partition.prepare.zoo import Source
from partition.providers.session import RUNTIME_ERRORS, make_session

_ROWS_ERROR = {"float16": 1e-2}
"""Of a batch against its samples one by one, relative to the largest value: rounding differs."""
_OTHER_ROWS_ERROR = 1e-3


Report = Callable[[str], object]
"""Called with what is done next."""
STEPS = 5


def silent(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph, ready to be cut."""

    model: onnx.ModelProto
    """Shapes inferred, nodes named, no meta-data; the batch is called N where it is free."""
    dynamic_batch: bool
    samples: tuple[Sample, ...] = ()
    """Real inputs, where the user gave some."""


def to_onnx(
    source: Source,
    *,
    dynamic_batch: bool = True,
    choices: Choices | None = None,
    report: Report = silent,
) -> Exported:
    """The graph of `source`.

    Args:
        source: the network.
        dynamic_batch: leave the batch free if the network can take any; otherwise it is 1.
        choices: about an ONNX file.
        report: told what is being done.

    Raises:
        ModelExportError: the exporter cannot follow the network, ONNX Runtime cannot run it, or a
            choice does not fit.
        SampleError: the example does not fit.
    """
    report("reading it")
    if isinstance(source.load, Path):
        return _from_file(source.name, source.load, choices or Choices(), dynamic_batch, report)
    if choices:
        raise ModelExportError(
            f"model {source.name!r} is no .onnx file: it brings its own example input, which "
            "decides on shapes and values"
        )
    example = from_torch.load(source.name, source.load)
    one, how = [example.sample], "on its example input"
    if dynamic_batch and example.has_batch:
        with contextlib.suppress(ModelExportError):
            model = from_torch.to_graph(source.name, example, dynamic_batch=True)
            report("finding its shapes")
            settled = _for_any_batch(model, one)
            if settled is not None:
                return Exported(settled, dynamic_batch=True)
    model = from_torch.to_graph(source.name, example, dynamic_batch=False)
    return Exported(_for_one_sample(source.name, model, one, how), dynamic_batch=False)


def _from_file(
    name: str, path: Path, choices: Choices, dynamic_batch: bool, report: Report
) -> Exported:
    read = network.load(name, path, choices)
    report("finding its shapes")
    real = () if read.is_made_up else tuple(read.samples)
    if dynamic_batch and read.has_free_batch:
        settled = _for_any_batch(read.model, read.samples)
        if settled is not None:
            return Exported(settled, dynamic_batch=True, samples=real)
    report("finding its shapes for one sample")
    how = read.describe_samples()
    fixed = _for_one_sample(name, read.model, read.samples, how)
    return Exported(fixed, dynamic_batch=False, samples=real)


def _for_any_batch(original: onnx.ModelProto, samples: Sequence[Sample]) -> onnx.ModelProto | None:
    """The graph for a batch of any size; None where it cannot take one."""
    model, feeds = _copied(original), _feeds(original, samples[:1], 1)
    try:
        _settle(model, feeds, _feeds(original, samples, 2))
        # The number of boxes or tokens found says nothing about which sample they are of.
        certain = all(read_shape(value) is not None for value in model.graph.output)
        is_free = certain and _independent(model, _feeds(original, samples, 3))
    except (*RUNTIME_ERRORS, EncodeError):
        return None
    return model if is_free else None


def _for_one_sample(
    name: str, original: onnx.ModelProto, samples: Sequence[Sample], how: str
) -> onnx.ModelProto:
    model = _copied(original)
    try:
        _settle(model, _feeds(original, samples[:1], 1), None)
        make_session(model)  # now that it has shapes, which ONNX Runtime checks in all branches
    except EncodeError as error:
        raise ModelExportError(
            f"model {name!r} is over 2 GB: export it quantised or in float16"
        ) from error
    except RUNTIME_ERRORS as error:
        raise _refusal(name, original, how, error) from error
    return model


def _settle(model: onnx.ModelProto, one: Feeds, two: Feeds | None) -> None:
    inline_branches(model, one, two)
    settle(model, one, two)
    name_nodes(model.graph)
    _strip(model)


def _copied(original: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(original)
    return model


def _feeds(model: onnx.ModelProto, samples: Sequence[Sample], count: int) -> Feeds:
    """A batch of so many samples, by name of the input; one sample as it is."""
    arrays = zip(*samples, strict=True)
    return {
        value.name: held[0] if count == 1 else rows(held, count)
        for value, held in zip(model.graph.input, arrays, strict=True)
    }


def _refusal(name: str, model: onnx.ModelProto, how: str, error: Exception) -> ModelExportError:
    """Why a graph does not run: it is none, ONNX Runtime lacks something, or its inputs do."""
    if bounded.is_endless(error):
        return ModelExportError(
            f"model {name!r} does not end within {bounded.LIMIT_S:.0f} s {how}; or else a loop in "
            "it is damaged"
        )
    freeze = inputs.freezing(model.graph, ", or freeze ")
    if reason := trial.cannot_load(name, _unshaped(model)):
        try:
            onnx.checker.check_model(model)
        except (onnx.checker.ValidationError, ValueError) as invalid:
            return ModelExportError(
                f"model {name!r} is no valid graph ({invalid}): export it again"
            )
        return ModelExportError(
            f"model {name!r} does not load in ONNX Runtime {ort.__version__} ({_short(reason)}): "
            "export it with other operators, or for another opset"
        )
    if reason := trial.cannot_load(name, model):
        return ModelExportError(
            f"model {name!r} does not load with these shapes ({_short(reason)}): give it others "
            f"with --shape{freeze}"
        )
    return ModelExportError(f"model {name!r} does not run ({_short(str(error))}) {how}")


def _unshaped(model: onnx.ModelProto) -> onnx.ModelProto:
    free = _copied(model)
    del free.graph.value_info[:]
    for value in [*free.graph.input, *free.graph.output]:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    return free


def _short(reason: str) -> str:
    """ONNX Runtime's reason without its code and the place in its source."""
    return reason.rpartition("[ONNXRuntimeError] : ")[2].strip()


def _independent(model: onnx.ModelProto, batch: Feeds) -> bool:
    """Whether samples give in a batch what they give one by one."""
    session = make_session(model)
    together = bounded.run(session, None, batch)
    count = len(next(iter(batch.values())))
    for i in range(count):
        alone = bounded.run(session, None, {k: held[i : i + 1] for k, held in batch.items()})
        for whole, one in zip(together, alone, strict=True):
            if whole.shape != (count, *one.shape[1:]) or not _near(whole[i : i + 1], one):
                return False
    return True


def _near(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if one.dtype.kind != "f":
        return True  # an index or a comparison may flip on a rounding error
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    scale = max(float(np.abs(other[finite]).max(initial=0.0)), 1e-3)
    limit = _ROWS_ERROR.get(str(one.dtype), _OTHER_ROWS_ERROR)
    return bool(np.abs(one[finite] - other[finite]).max(initial=0.0) <= limit * scale)


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
