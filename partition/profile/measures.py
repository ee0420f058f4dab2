"""How much of a network's answer is left when a cut's tensors cross in few bits, by kind of output.

Each measure counts what is right and what there is, per sample; the counts of all samples are added
up and divided. 1 is the unsplit network's answer. A measure is a line of `MEASURES` and a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.errors import PartitionError
from partition.model import profile_file
from partition.profile import boxes

Array = npt.NDArray[Any]
Outputs = tuple[Array, ...]
Floats = npt.NDArray[np.float64]
Counts = Floats
"""(k, 2): what is right and what there is, of each class or output."""


class MeasureError(PartitionError):
    """A measure is unknown or does not fit a network's outputs."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A way to compare the outputs that come from a decoded cut with those of the whole network."""

    name: str
    meaning: str
    """What 0.97 of it says, for a table's head."""
    function: Callable[[Outputs, Outputs, tuple[int, int]], Counts]
    """Behind `counts`; the outputs have the same shapes unless it takes any length."""
    value: Callable[[Counts], float]
    """From the sum of the counts; no row is without anything."""
    is_share: bool = False
    """Whether each sample counts as right or wrong, so that an interval of a share applies."""
    min_count: float = 1.0
    """Least sum of what there is; below it nothing can be said."""
    takes_any_length: bool = False
    nothing_left: float = 0.0
    """First of the counts over the second where nothing is left."""

    def counts(self, whole: Outputs, received: Outputs, picture: tuple[int, int]) -> Counts:
        """Compare two answers to one sample.

        Args:
            whole: of the whole network.
            received: of the decoded cut; where shapes depend on the data, they may differ.
            picture: height and width of the input.

        Raises:
            MeasureError: the measure does not fit the outputs.
        """
        alike = [one.shape for one in whole] == [other.shape for other in received]
        if alike or self.takes_any_length:
            return self.function(whole, received, picture)
        lost = self.function(whole, whole, picture)
        lost[:, 0] = self.nothing_left * lost[:, 1]
        return lost


def ratio(counts: Counts) -> float:
    """Mean of right over all, within 0 and 1."""
    return float(np.clip(counts[:, 0] / counts[:, 1], 0.0, 1.0).mean())


def top1(whole: Outputs, received: Outputs, _picture: tuple[int, int]) -> Counts:
    """Rows of the first output whose largest value is at the same place."""
    first, other = (np.atleast_1d(outputs[0]) for outputs in (whole, received))
    if not first.size:
        return np.zeros((1, 2))
    same = first.argmax(axis=-1) == other.argmax(axis=-1)
    return np.array([[float(np.sum(same)), float(same.size)]])


def cosine(whole: Outputs, received: Outputs, _picture: tuple[int, int]) -> Counts:
    """Cosine between the vectors along the last dimension, per output."""
    rows = []
    for one, other in zip(whole, received, strict=True):
        if one.dtype.kind != "f" or one.ndim == 0:
            continue
        if not one.size:
            rows.append([0.0, 0.0])
            continue
        a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (one, other))
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        same = np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)
        same[(a == b).all(axis=1)] = 1.0
        rows.append([float(np.nan_to_num(same).sum()), float(len(a))])
    if not rows:
        raise MeasureError("measure 'cosine' needs an output of decimal numbers: give another")
    return np.array(rows)


def relative(whole: Outputs, received: Outputs, _picture: tuple[int, int]) -> Counts:
    """Squared error and squared value, per output; a whole number is right or wrong."""
    rows = []
    for one, other in zip(whole, received, strict=True):
        if one.dtype.kind != "f":
            rows.append([float(np.sum(one != other)), float(one.size)])
            continue
        a, b = one.astype(np.float64), other.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))  # infinities, too
        with np.errstate(invalid="ignore"):
            error = np.where(same, 0.0, a - b)
        error[~np.isfinite(error)] = np.inf
        rows.append([float(np.sum(error**2)), float(np.sum(a[np.isfinite(a)] ** 2))])
    return np.array(rows)


def worst_relative(counts: Counts) -> float:
    """1 - rms error / rms value of the output that is worst off, not below 0."""
    return max(1.0 - float(np.sqrt(counts[:, 0] / counts[:, 1]).max()), 0.0)


def overlap(whole: Outputs, received: Outputs, picture: tuple[int, int]) -> Counts:
    """Boxes of a detector that both have, see `partition.profile.boxes`."""
    found = boxes.find(whole, picture), boxes.find(received, picture)
    if found[0] is None:
        raise MeasureError("measure 'boxes' finds none in the network's outputs: give another")
    if found[1] is None:  # the decoded cut gives no probabilities any more
        return np.array([[0.0, float(len(found[0].classes))]])
    return boxes.counts(found[0], found[1])


def regions(whole: Outputs, received: Outputs, _picture: tuple[int, int]) -> Counts:
    """Pixels that both give to a class, and those that either does, per class."""
    threshold = _threshold(whole[0])  # the same for both: rounding makes a probability 1.0000001
    one, other = labels_of(whole[0], threshold), labels_of(received[0], threshold)
    if one is None or other is None:
        raise MeasureError("measure 'iou' needs an output of pixels: give another")
    n = _n_classes(whole[0])
    one, other = (np.clip(labels, 0, n - 1).astype(np.int64).ravel() for labels in (one, other))
    both, of_one, of_other = (
        np.bincount(labels, minlength=n).astype(np.float64)
        for labels in (one[one == other], one, other)
    )
    rows = np.stack([both, of_one + of_other - both], axis=1)
    is_single = whole[0].dtype.kind == "f" and whole[0].shape[1] == 1
    return rows[1:] if is_single else rows  # of foreground and background the former


def labels_of(output: Array, threshold: float = 0.5) -> Array | None:
    """Class of every pixel of (1, C, H, W) scores, of (1, 1, H, W) one class's, or of classes."""
    if output.dtype.kind in "iub":
        return output if output.ndim >= 3 else None
    if output.ndim != 4:
        return None
    if output.shape[1] > 1:
        return np.asarray(output.argmax(axis=1))
    return np.asarray(output[:, 0] >= threshold)


def _threshold(output: Array) -> float:
    """From which on one class's scores count: a half of probabilities, and 0 of raw scores."""
    is_probability = bool((output >= -1e-3).all() and (output <= 1.001).all())
    return 0.5 if is_probability else 0.0


_MAX_LABELS = 256
"""Classes that whole numbers may stand for."""


def _n_classes(output: Array) -> int:
    if output.dtype.kind in "iub":
        return _MAX_LABELS
    return max(int(output.shape[1]), 2)


def text(whole: Outputs, received: Outputs, _picture: tuple[int, int]) -> Counts:
    """Symbols that need no edit, and symbols of the longer text, decoded as CTC's best path.

    The blank is the first or the last class, whichever the whole network gives more often.
    """
    path, other = (_steps(outputs[0]).argmax(axis=-1) for outputs in (whole, received))
    last = _steps(whole[0]).shape[-1] - 1
    blank = last if np.sum(path == last) > np.sum(path == 0) else 0
    one, two = _collapsed(path, blank), _collapsed(other, blank)
    longest = max(len(one), len(two))
    return np.array([[float(longest - _edits(one, two)), float(longest)]])


def _steps(output: Array) -> Array:
    """(T, C) of (1, T, C) or (T, 1, C)."""
    if output.ndim != 3 or 1 not in output.shape[:2]:
        raise MeasureError(
            f"measure 'text' needs an output of steps and classes, not of shape {output.shape}: "
            "give another"
        )
    return output.reshape(-1, output.shape[-1])


def _collapsed(path: Array, blank: int) -> list[int]:
    changes = np.flatnonzero(np.diff(path, prepend=-1))
    return [int(symbol) for symbol in path[changes] if symbol != blank]


def _edits(one: Sequence[int], other: Sequence[int]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for i, symbol in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, its in enumerate(other, 1):
            changed = before + (symbol != its)
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, changed)
    return row[-1]


TOP1 = Measure(profile_file.TOP1, "inputs whose first choice stays", top1, ratio, is_share=True)
BOXES = Measure(
    "boxes",
    "F1 of the whole network's boxes",
    overlap,
    ratio,
    min_count=20.0,
    takes_any_length=True,
)
COSINE = Measure("cosine", "cosine of the embeddings", cosine, ratio)
IOU = Measure("iou", "mean overlap of the classes' regions", regions, ratio)
TEXT = Measure("text", "symbols of the text that stay", text, ratio, min_count=20.0)
RELATIVE = Measure(
    "relative",
    "1 - rms error / rms of the worst output",
    relative,
    worst_relative,
    nothing_left=1.0,
)
MEASURES = (TOP1, BOXES, COSINE, IOU, TEXT, RELATIVE)


def of_name(name: str) -> Measure:
    """The measure of that name.

    Raises:
        MeasureError: there is none.
    """
    for measure in MEASURES:
        if measure.name == name:
            return measure
    known = ", ".join(measure.name for measure in MEASURES)
    raise MeasureError(f"no measure {name!r}: choose from {known}")
