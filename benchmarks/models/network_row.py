"""One row of the page: a real network, prepared, cut and served, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from benchmarks.models import catalog, derived
from benchmarks.models.case import Case
from benchmarks.models.result import Result
from benchmarks.models.serving import WrongAnswerError, served, served_points
from partition.errors import PartitionError
from partition.model.folder import GRAPH_FILE, ModelFolder
from partition.model.runtime import Array, SplitRuntime
from tests.partition.splitting import spread

SPREAD_CUTS = 60
BARS = {"float32": 1e-4, "float64": 1e-4, "float16": 1e-2, "levels": 5e-2}
"""Largest difference, relative to the output's largest value, float16's where any crosses a cut;
other types have to be equal. `levels`: the network rounds to 255 levels of ranges that it finds
while it runs, so that a last bit, which a fusion changes, may move a value by a level."""
FINDS_LEVELS = {"DynamicQuantizeLinear", "DynamicQuantizeLSTM"}
PREPARE_S = 300.0


class RefusedError(Exception):
    """The network cannot be prepared; the sentence that says so."""


def packaged(name: str) -> Case:
    """A network of the list, which has to be there."""
    package, network = catalog.networks()[name]
    path = catalog.path_of(package, network)
    if path is None:
        raise FileNotFoundError(f"{name} is neither installed nor fetched: run make models-test")
    folder = path.parents[len(Path(network.file).parts) - 1]
    return Case(path=path, network=network, beside=[folder / other for other in network.beside])


def package_row(name: str) -> Result:
    """A network as it ships."""
    return measured("packages", packaged(name))


def derived_row(name: str) -> Result:
    """A network made of one of them."""
    with tempfile.TemporaryDirectory() as scratch:
        source = packaged(derived.MADE[name][0])
        return measured("derived", derived.make(name, source, Path(scratch)))


def measured(section: str, case: Case) -> Result:
    """Prepare, cut and serve a network."""
    name = case.network.name
    with tempfile.TemporaryDirectory() as scratch:
        start_s = time.monotonic()
        try:
            folder = prepared(case, Path(scratch))
            prepare_s = time.monotonic() - start_s
            runtime = SplitRuntime(folder)
            error, is_equal = cut_error(case, folder, runtime)
            with served(folder) as address:
                points = served_points(
                    address, folder, runtime, lambda seed: case.inputs(folder, 1, seed)
                )
        except RefusedError as refusal:
            return Result(section, name, "refused", [str(refusal)])
        except (WrongAnswerError, PartitionError) as problem:
            return Result(section, name, "wrong", [" ".join(str(problem).split())])
    batch = "free" if folder.dynamic_batch else "one"
    most = max(len(cut.tensors) for cut in folder.cuts)
    opset = str(case.opset())
    cells = [opset, f"{prepare_s:.1f}", batch, str(len(folder.cuts)), str(most), error, str(points)]
    if not is_equal:
        return Result(section, name, "wrong", [f"cuts differ from the whole by {error}"])
    return Result(section, name, "ok", cells)


def prepared(case: Case, scratch: Path) -> ModelFolder:
    """The model folder, made by the command.

    Raises:
        RefusedError: it ended with a sentence.
        WrongAnswerError: it ended in another way.
    """
    command = [sys.executable, "-m", "partition.prepare", "--model", str(case.path)]
    command += ["--out", str(scratch / "model"), *case.options(scratch)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PREPARE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise WrongAnswerError(f"not prepared after {PREPARE_S:g} s") from None
    if done.returncode == 2 and done.stderr.startswith("error: "):
        raise RefusedError(done.stderr.strip().removeprefix("error: "))
    if done.returncode != 0:
        raise WrongAnswerError(
            f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
        )
    return ModelFolder.open(scratch / "model")


def cut_error(case: Case, folder: ModelFolder, runtime: SplitRuntime) -> tuple[str, bool]:
    """Head plus tail against the whole: the largest difference as text, and whether it may be.

    One sample, and three where the batch is free, at all cuts or some spread over the depth.
    """
    worst, is_equal = 0.0, True
    kind = _kind(folder)
    for batch in (1, 3) if folder.dynamic_batch else (1,):
        inputs = case.inputs(folder, batch, seed=1)
        whole = runtime.whole(inputs)
        for cut in spread(folder.cuts, SPREAD_CUTS):
            halves = runtime.tail(cut, runtime.head(cut, inputs))
            for ours, theirs in zip(halves, whole, strict=True):
                error = difference(ours, theirs)
                worst = max(worst, error)
                bar = BARS[kind or ours.dtype.name] if ours.dtype.kind == "f" else 0.0
                is_equal &= error <= bar
            runtime.release()
    return "exact" if worst == 0 else f"{worst:.1e}", is_equal


def _kind(folder: ModelFolder) -> str | None:
    """Which bar holds for all outputs of floating-point numbers; None: that of their type."""
    graph = onnx.load(folder.path / GRAPH_FILE, load_external_data=False).graph
    if FINDS_LEVELS & {node.op_type for node in graph.node}:
        return "levels"
    crossing = {dtype for cut in folder.cuts for dtype in cut.dtypes}
    return "float16" if "float16" in crossing else None


def difference(ours: Array, theirs: Array) -> float:
    """Relative to the largest value; of whole numbers, and where NaN is, the share that differs."""
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return float("inf")
    if np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
        return 0.0
    if ours.dtype.kind != "f" or not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
        return float(np.mean(ours != theirs))
    finite = np.isfinite(theirs)
    off = np.abs(ours[finite].astype(np.float64) - theirs[finite].astype(np.float64)).max()
    return float(off / max(np.abs(theirs[finite].astype(np.float64)).max(), 1e-30))
