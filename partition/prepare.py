"""Turn a network into a model folder: `python -m partition.prepare --model M [--out DIR]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx

from partition import cli, zoo
from partition.errors import ModelExportError, ModelFolderError
from partition.export import to_onnx
from partition.graph import find_cuts
from partition.model_folder import (
    CUTS_FILE,
    GRAPH_FILE,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    ModelFolder,
    fingerprint_of,
)
from partition.runtime import RUNTIME_ERRORS, SplitRuntime

# Shape inference reads small constants from the graph file itself.
_INLINE_BELOW_BYTES = 1024
_CANNOT_RUN: tuple[type[Exception], ...] = (ModelFolderError, *RUNTIME_ERRORS)


def prepare(spec: str, out: Path | None = None) -> ModelFolder:
    """Export a network, find its legal cuts and write both.

    Args:
        spec: what `zoo.resolve` understands.
        out: the model folder, `models/<name>` by default; one that is there is replaced.

    Raises:
        ModelNotFoundError: no such network.
        ModelExportError: the network cannot be exported.
        ModelFolderError: `out` cannot be written, or is something else than a model folder.
    """
    source = zoo.resolve(spec)
    target = out or Path("models") / source.name
    if target.exists() and not (target / CUTS_FILE).is_file():
        raise ModelFolderError(f"{target} exists and is no model folder: choose another --out")
    model = to_onnx(source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=target.parent) as scratch:
            _write(source, model, Path(scratch) / "new")
            _try_run(Path(scratch) / "new")
            if target.exists():
                target.rename(Path(scratch) / "old")
            (Path(scratch) / "new").rename(target)
    except OSError as error:
        raise ModelFolderError(
            f"model folder {target} cannot be written ({error.strerror}): choose another --out"
        ) from error
    return ModelFolder.open(target)


def _write(source: zoo.Source, model: onnx.ModelProto, folder: Path) -> None:
    folder.mkdir()
    cuts = find_cuts(model)
    graph = model.graph
    onnx.save_model(
        model,
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
        "input": {"name": graph.input[0].name, "shape": cuts[0].shapes[0]},
        "output": {"name": graph.output[0].name, "n_classes": cuts[-1].shapes[0][1]},
        "preprocess": {
            "crop_fraction": source.crop_fraction,
            "mean": source.mean,
            "std": source.std,
        },
        "cuts": [asdict(cut) for cut in cuts],
    }
    (folder / CUTS_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _try_run(path: Path) -> None:
    folder = ModelFolder.open(path)
    try:
        SplitRuntime(folder).whole(np.zeros(folder.input_shape, np.float32))
    except _CANNOT_RUN as error:
        raise ModelExportError(
            f"model {folder.name!r} does not run in ONNX Runtime: {error}"
        ) from error


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.prepare", description=__doc__)
    parser.add_argument(
        "--model",
        required=True,
        help=f"{', '.join(zoo.BUILT_IN)}, package.module:callable, or FILE.onnx",
    )
    parser.add_argument("--out", type=Path, help="model folder (default: models/<name>)")
    arguments = parser.parse_args()
    folder = prepare(arguments.model, arguments.out)
    sys.stdout.write(
        f"prepared {folder.path} {folder.fingerprint}: {len(folder.cuts)} legal cuts, "
        f"{len(folder.split_points)} split points\n"
    )


if __name__ == "__main__":
    sys.exit(cli.run(_main))
