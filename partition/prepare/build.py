"""Model folders made of PyTorch and ONNX networks."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from partition.errors import ModelExportError, ModelFolderError
from partition.model import example_file
from partition.model.description import SCHEMA_VERSION
from partition.model.folder import CUTS_FILE, ModelFolder
from partition.model.network_files import GRAPH_FILE, WEIGHTS_FILE, fingerprint_of
from partition.prepare import zoo
from partition.prepare.export import Exported, Report, silent, to_onnx
from partition.prepare.graph import (
    CROSSING_TYPES,
    MAX_DIMS,
    MAX_TENSORS,
    MAX_VALUES,
    Cut,
    find_cuts,
)
from partition.prepare.onnx_file.choices import Choices, Shape
from partition.prepare.onnx_file.read import GARBLED
from partition.prepare.onnx_file.subgraphs import all_graphs
from partition.prepare.shapes import UNKNOWN

# Shape inference reads small constants from the graph file itself.
_INLINE_BELOW_BYTES = 1024


def prepare(
    spec: str | zoo.Source,
    out: Path | None = None,
    *,
    dynamic_batch: bool = True,
    shapes: Mapping[str, Shape] | None = None,
    values: Mapping[str, npt.ArrayLike] | None = None,
    example: Path | None = None,
    outputs: tuple[str, ...] = (),
    report: Report = silent,
) -> ModelFolder:
    """Export a network, find its legal cuts and write both.

    Args:
        spec: what `zoo.resolve` understands, or what it returns.
        out: the model folder, `models/<name>` by default; one that is there is replaced.
        dynamic_batch: leave the batch free if the network can take any; otherwise it is 1.
        shapes: of an ONNX file's inputs, by name; a first size `N` leaves the batch free.
        values: for inputs of an ONNX file that become constants.
        example: `.npy` or `.npz` of real inputs for an ONNX file; the folder keeps a few.
        outputs: tensors to stop at, instead of an ONNX file's outputs.
        report: told what is being done.

    Raises:
        ModelNotFoundError: no such network.
        ModelExportError: the network cannot be exported, or a choice does not fit it.
        SampleError: the example cannot be read, or does not fit.
        ModelFolderError: `out` cannot be written, or is something else than a model folder.
    """
    source = zoo.resolve(spec) if isinstance(spec, str) else spec
    target = out or Path("models") / source.name
    if target.exists() and not (target / CUTS_FILE).is_file():
        raise ModelFolderError(f"{target} exists and is no model folder: choose another --out")
    shapes = shapes or source.shapes
    choices = Choices(shapes=shapes, values=values or {}, example=example, outputs=outputs)
    exported, cuts = _export(source, choices, report, dynamic_batch=dynamic_batch)
    report("writing the folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=target.parent) as scratch:
            _write(source, exported, cuts, Path(scratch) / "new")
            if target.exists():
                target.rename(Path(scratch) / "old")
            (Path(scratch) / "new").rename(target)
    except OSError as error:
        raise ModelFolderError(
            f"model folder {target} cannot be written ({error.strerror}): choose another --out"
        ) from error
    return ModelFolder.open(target)


def _export(
    source: zoo.Source, choices: Choices, report: Report, *, dynamic_batch: bool
) -> tuple[Exported, tuple[Cut, ...]]:
    """The graph and its cuts, whose inputs and outputs a message can carry."""
    try:
        exported = to_onnx(source, dynamic_batch=dynamic_batch, choices=choices, report=report)
        report("finding its cuts")
        cuts = find_cuts(exported.model)
    except GARBLED as error:
        if not isinstance(source.load, Path):
            raise
        raise ModelExportError(
            f"model file {source.load} contradicts itself ({type(error).__name__}: {error}): fetch "
            "or export it again"
        ) from error
    _check_carried(source.name, "inputs", _specs(cuts[0]))
    _check_carried(source.name, "outputs", _specs(cuts[-1]))
    return exported, cuts


def _write(source: zoo.Source, exported: Exported, cuts: tuple[Cut, ...], folder: Path) -> None:
    folder.mkdir()
    inputs, outputs = _specs(cuts[0]), _specs(cuts[-1])
    _make_raw(exported.model.graph)
    onnx.save_model(
        exported.model,
        folder / GRAPH_FILE,
        save_as_external_data=True,
        location=WEIGHTS_FILE,
        size_threshold=_INLINE_BELOW_BYTES,
    )
    (folder / WEIGHTS_FILE).touch()  # a network may have small tensors only
    (folder / WEIGHTS_FILE).chmod(0o644)  # onnx gives it to its owner alone
    if exported.samples:
        example_file.write(folder, exported.samples)
    description: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": source.name,
        "dynamic_batch": exported.dynamic_batch,
        "inputs": inputs,
        "outputs": outputs,
        "preprocess": _preprocess(source, inputs, outputs),
        "cuts": [asdict(cut) for cut in cuts],
    }
    description["fingerprint"], _ = fingerprint_of(folder, description)
    (folder / CUTS_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _make_raw(graph: onnx.GraphProto) -> None:
    """Give large weights the one form that onnx moves to another file."""
    for one in all_graphs(graph):
        for tensor in one.initializer:
            if tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING:
                continue
            itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            if math.prod(tensor.dims) * itemsize >= _INLINE_BELOW_BYTES:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))


def _check_carried(name: str, side: str, specs: list[dict[str, Any]]) -> None:
    """Refuse what a message between edge and cloud cannot carry."""
    remedy = "choose some with --outputs" if side == "outputs" else "freeze some with --value"
    if not 1 <= len(specs) <= MAX_TENSORS:
        raise ModelExportError(
            f"model {name!r} has {len(specs)} {side}, 1 to {MAX_TENSORS} can be: {remedy}"
        )
    remedy = "stop at another with --outputs" if side == "outputs" else "export it with another"
    for spec in specs:
        shape = spec["shape"]
        fits = len(shape) <= MAX_DIMS and 0 < abs(math.prod(shape)) <= MAX_VALUES
        if not fits or spec["dtype"] not in CROSSING_TYPES:
            raise ModelExportError(
                f"model {name!r} has {spec['name']!r} of {spec['dtype']} {list(shape)} among its "
                f"{side}, a message carries up to {MAX_DIMS} dimensions and {MAX_VALUES} values of "
                f"{', '.join(sorted(CROSSING_TYPES))}: {remedy}"
            )


def _specs(cut: Cut) -> list[dict[str, Any]]:
    fields = zip(cut.tensors, cut.dtypes, cut.shapes, strict=True)
    return [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in fields]


def _preprocess(
    source: zoo.Source, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """How photographs are prepared, where a square one goes in and logits come out."""
    image, logits = inputs[0], outputs[0]
    channels = tuple(image["shape"][:2])
    square = len(image["shape"]) == 4 and channels == (1, 3) and len(set(image["shape"][2:])) == 1
    is_vector = len(logits["shape"]) == 2 and UNKNOWN not in logits["shape"]
    if len(inputs) != 1 or not square or image["dtype"] != "float32" or not is_vector:
        return None
    return {"crop_fraction": source.crop_fraction, "mean": source.mean, "std": source.std}
