"""Model folders made of PyTorch and ONNX networks."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from partition.errors import ModelExportError, ModelFolderError
from partition.model.folder import (
    CUTS_FILE,
    GRAPH_FILE,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    ModelFolder,
    fingerprint_of,
)
from partition.prepare import zoo
from partition.prepare.export import Exported, to_onnx
from partition.prepare.graph import CROSSING_TYPES, MAX_DIMS, MAX_TENSORS, find_cuts

# Shape inference reads small constants from the graph file itself.
_INLINE_BELOW_BYTES = 1024


def prepare(
    spec: str | zoo.Source, out: Path | None = None, *, dynamic_batch: bool = True
) -> ModelFolder:
    """Export a network, find its legal cuts and write both.

    Args:
        spec: what `zoo.resolve` understands, or what it returns.
        out: the model folder, `models/<name>` by default; one that is there is replaced.
        dynamic_batch: leave the batch free if the network can take any; otherwise it is 1.

    Raises:
        ModelNotFoundError: no such network.
        ModelExportError: the network cannot be exported.
        ModelFolderError: `out` cannot be written, or is something else than a model folder.
    """
    source = zoo.resolve(spec) if isinstance(spec, str) else spec
    target = out or Path("models") / source.name
    if target.exists() and not (target / CUTS_FILE).is_file():
        raise ModelFolderError(f"{target} exists and is no model folder: choose another --out")
    exported = to_onnx(source, dynamic_batch=dynamic_batch)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=target.parent) as scratch:
            _write(source, exported, Path(scratch) / "new")
            if target.exists():
                target.rename(Path(scratch) / "old")
            (Path(scratch) / "new").rename(target)
    except OSError as error:
        raise ModelFolderError(
            f"model folder {target} cannot be written ({error.strerror}): choose another --out"
        ) from error
    return ModelFolder.open(target)


def _write(source: zoo.Source, exported: Exported, folder: Path) -> None:
    folder.mkdir()
    cuts = [asdict(cut) for cut in find_cuts(exported.model)]
    inputs, outputs = _specs(cuts[0]), _specs(cuts[-1])
    _check_carried(source.name, "inputs", inputs)
    _check_carried(source.name, "outputs", outputs)
    onnx.save_model(
        exported.model,
        folder / GRAPH_FILE,
        save_as_external_data=True,
        location=WEIGHTS_FILE,
        size_threshold=_INLINE_BELOW_BYTES,
    )
    (folder / WEIGHTS_FILE).touch()  # a network may have small tensors only
    (folder / WEIGHTS_FILE).chmod(0o644)  # onnx gives it to its owner alone
    description = {
        "schema_version": SCHEMA_VERSION,
        "name": source.name,
        "fingerprint": fingerprint_of(folder),
        "dynamic_batch": exported.dynamic_batch,
        "inputs": inputs,
        "outputs": outputs,
        "preprocess": _preprocess(source, inputs, outputs),
        "cuts": cuts,
    }
    (folder / CUTS_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _check_carried(name: str, side: str, specs: list[dict[str, Any]]) -> None:
    """Refuse what a message between edge and cloud cannot carry."""
    if not 1 <= len(specs) <= MAX_TENSORS:
        raise ModelExportError(f"model {name!r} has {len(specs)} {side}: 1 to {MAX_TENSORS} can be")
    for spec in specs:
        fits = len(spec["shape"]) <= MAX_DIMS and 0 not in spec["shape"]
        if not fits or spec["dtype"] not in CROSSING_TYPES:
            raise ModelExportError(
                f"model {name!r} has {spec['name']} of {spec['dtype']} {list(spec['shape'])} among "
                f"its {side}: up to {MAX_DIMS} dimensions of {', '.join(sorted(CROSSING_TYPES))} "
                "can cross"
            )


def _specs(cut: dict[str, Any]) -> list[dict[str, Any]]:
    fields = zip(cut["tensors"], cut["dtypes"], cut["shapes"], strict=True)
    return [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in fields]


def _preprocess(
    source: zoo.Source, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """How photographs are prepared, where a square one goes in and logits come out."""
    image, logits = inputs[0], outputs[0]
    channels = tuple(image["shape"][:2])
    square = len(image["shape"]) == 4 and channels == (1, 3) and len(set(image["shape"][2:])) == 1
    if len(inputs) != 1 or not square or image["dtype"] != "float32" or len(logits["shape"]) != 2:
        return None
    return {"crop_fraction": source.crop_fraction, "mean": source.mean, "std": source.std}
