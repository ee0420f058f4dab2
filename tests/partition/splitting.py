"""Whether head plus tail equals the whole, cut by cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partition.model.folder import ModelFolder
from partition.model.runtime import Array, SplitRuntime, random_inputs
from partition.model.split_point import SplitPoint

SPREAD_CUTS = 12
RELATIVE_ERROR = 1e-4


@dataclass(frozen=True)
class Agreement:
    """What a network's cuts came to."""

    cuts: int
    most_tensors: int
    batches: tuple[int, ...]
    worst_error: float
    """Largest difference from the whole, relative to how much the output differs between samples;
    of whole numbers, the share that differs."""
    worst_cut: str


def spread(cuts: tuple[SplitPoint, ...], count: int = SPREAD_CUTS) -> list[SplitPoint]:
    """All cuts, or `count` of them from the first to the last."""
    indices = np.linspace(0, len(cuts) - 1, min(count, len(cuts))).round().astype(int)
    return [cuts[i] for i in indices]


def measure(folder: ModelFolder, runtime: SplitRuntime | None = None) -> Agreement:
    """Run every cut, or some spread over the depth, with one sample and, if it may, with three."""
    runtime = runtime or SplitRuntime(folder)
    batches = (1, 3) if folder.dynamic_batch else (1,)
    worst_error, worst_cut = 0.0, "none"
    samples = (runtime.whole(random_inputs(folder, seed=seed)) for seed in (1, 2))
    scales = [_scale(one, other) for one, other in zip(*samples, strict=True)]
    for batch in batches:
        inputs = random_inputs(folder, batch)
        whole = runtime.whole(inputs)
        for cut in spread(folder.cuts):
            tensors = runtime.head(cut, inputs)
            for tensor, shape, dtype in zip(tensors, cut.shapes, cut.dtypes, strict=True):
                expected = (batch, *shape[1:]) if folder.dynamic_batch else shape
                assert (tensor.shape, str(tensor.dtype)) == (expected, dtype), cut.name
            for ours, theirs, scale in zip(runtime.tail(cut, tensors), whole, scales, strict=True):
                error = _difference(ours, theirs, scale)
                if error > worst_error:
                    worst_error, worst_cut = error, cut.name
    most_tensors = max(len(cut.tensors) for cut in folder.cuts)
    return Agreement(len(folder.cuts), most_tensors, batches, worst_error, worst_cut)


def _scale(one: Array, other: Array) -> float:
    """How much an output of floating-point numbers differs between two samples."""
    if one.dtype.kind != "f":
        return 1.0
    scale = float(np.abs(one - other).max())
    assert scale > 1e-3 * float(np.abs(one).max()), "the output hardly depends on the input"
    return scale


def _difference(ours: Array, theirs: Array, scale: float) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if ours.dtype.kind != "f":
        return float(np.mean(ours != theirs))
    return float(np.abs(ours - theirs).max() / scale)
