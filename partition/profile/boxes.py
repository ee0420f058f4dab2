"""Boxes in a detector's outputs, and how many of two sets are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

MIN_CONFIDENCE = 0.25
"""Of a box that counts, the usual default of YOLO's tools."""
SAME_IOU = 0.5
"""Intersection over union of boxes that are the same, as in PASCAL VOC; of one class, they are also
one object, of which the best box is kept."""
_MAX_BOXES = 1000
"""Of one output, the most confident ones; a raw head may have thousands alike."""
_STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Boxes:
    """Confident boxes of one picture, the most confident first, one per object."""

    corners: Floats
    """(n, 4): left, top, right, bottom, or top before left."""
    classes: npt.NDArray[np.int64]
    """(n,)."""


def anchors_of(height: int, width: int) -> int:
    """Anchor points of YOLO's three scales on a picture of this size."""
    return sum(-(-height // stride) * -(-width // stride) for stride in _STRIDES)


def find(outputs: Sequence[Array], picture: tuple[int, int]) -> Boxes | None:
    """The boxes of one picture; None where the outputs are of no detector that is known.

    Known are YOLO's raw heads, (1, 4 + classes, anchors) without and (1, 3 anchors, 5 + classes)
    with objectness; lists (1, n, 6) of corners, confidence and class; and several outputs, of which
    one is boxes (1, n, 4) and one the classes' scores (1, n, classes), or two are a score and a
    class per box.

    Args:
        outputs: of the network, for one sample.
        picture: its height and width.
    """
    arrays = _of_one_sample(outputs)
    found = _single(arrays, anchors_of(*picture)) or _several(arrays)
    if found is None:
        return None
    corners, scores, classes = found
    confident = np.flatnonzero(scores >= MIN_CONFIDENCE)
    order = confident[np.argsort(-scores[confident], kind="stable")][:_MAX_BOXES]
    return _one_per_object(_cornered(corners[order]), classes[order].astype(np.int64))


def counts(whole: Boxes, received: Boxes) -> Floats:
    """Twice the boxes that both hold, and the boxes of both, shape (1, 2): their ratio is F1.

    Each box of the one is matched with the box of the other that overlaps it most, is of the same
    class and was not matched before.
    """
    overlaps = _iou(whole.corners, received.corners)
    overlaps[whole.classes[:, None] != received.classes] = 0.0
    n_same = 0
    for row in overlaps:
        if len(row) and row.max() >= SAME_IOU:
            n_same += 1
            overlaps[:, row.argmax()] = 0.0
    return np.array([[2.0 * n_same, len(whole.classes) + len(received.classes)]])


def _of_one_sample(outputs: Sequence[Array]) -> list[Array]:
    """Without the batch; a list of one box, (1, 4) or (1, 6), has none."""
    has_batch = any(a.ndim == 3 and len(a) == 1 and a.shape[2] in (4, 6) for a in outputs)
    has_list = any(a.ndim == 2 and a.shape[1] in (4, 6) for a in outputs)
    if has_list and not has_batch:
        return list(outputs)
    return [a[0] if a.ndim > 1 and len(a) == 1 else a for a in outputs]


Found = tuple[Floats, Floats, Array]
"""Boxes (n, 4), confidence and class of each (n,)."""


def _single(arrays: list[Array], n_anchors: int) -> Found | None:
    """From one output that holds everything, others being masks or features."""
    first = arrays[0]
    if first.ndim != 2 or first.dtype.kind != "f":
        return None
    rows, columns = first.shape
    # A second output of 4 dimensions holds prototypes of masks, whose weights end each column.
    n_masks = next((a.shape[0] for a in arrays[1:] if a.ndim == 3), 0)
    if columns == n_anchors and rows - n_masks > 4:
        scores = first[4 : rows - n_masks].astype(np.float64)
        return _probable(_centred(first[:4].T), scores.max(axis=0), scores.argmax(axis=0))
    if rows == 3 * n_anchors and columns - n_masks > 5:
        scores = first[:, 5 : columns - n_masks].astype(np.float64)
        confidence = scores.max(axis=1) * first[:, 4]
        return _probable(_centred(first[:, :4]), confidence, scores.argmax(axis=1))
    if len(arrays) == 1 and columns == 6:
        corners, score, label = first[:, :4], first[:, 4], first[:, 5]
        if np.array_equal(label, np.rint(label)) and (label >= -1).all():
            return _probable(corners.astype(np.float64), score.astype(np.float64), label)
    return None


def _several(arrays: list[Array]) -> Found | None:
    """From boxes in one output and scores in another."""
    boxes = next(
        (a for a in arrays if a.ndim == 2 and a.shape[1] == 4 and a.dtype.kind == "f"), None
    )
    if boxes is None:
        return None
    n = len(boxes)
    others = [a for a in arrays if a is not boxes and a.ndim in (1, 2) and len(a) == n]
    lists = [a for a in others if a.ndim == 1]
    corners = boxes.astype(np.float64)
    score = next((a for a in lists if a.dtype.kind == "f" and not _whole_numbers(a)), None)
    label = next((a for a in lists if a is not score and _whole_numbers(a)), None)
    if score is not None and label is not None:
        return _probable(corners, score.astype(np.float64), label)
    scores = next((a for a in others if a.ndim == 2 and a.dtype.kind == "f"), None)
    if scores is None:
        return None
    return _probable(corners, *_best(scores.astype(np.float64)))


def _best(scores: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Confidence and class of each box from scores (n, classes), raw ones by the logistic function.

    Where the scores of a box add up to 1, one class is the background: the one of most boxes.
    """
    if scores.size and (scores.min() < 0.0 or scores.max() > 1.0):
        scores = 1.0 / (1.0 + np.exp(-np.clip(scores, -50, 50)))
    elif scores.size and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3):
        background = int(np.bincount(scores.argmax(axis=1)).argmax())
        scores = scores.copy()
        scores[:, background] = 0.0
    return scores.max(axis=1, initial=0.0), scores.argmax(axis=1)


def _whole_numbers(values: Array) -> bool:
    return values.dtype.kind in "iu" or bool(np.array_equal(values, np.rint(values)))


def _probable(corners: Floats, confidence: Floats, classes: Array) -> Found | None:
    """Nothing where the numbers are no probabilities, or no boxes."""
    if not np.isfinite(corners).all() or not ((confidence > -1e-3) & (confidence < 1.001)).all():
        return None
    return corners, confidence, classes


def _centred(boxes: Array) -> Floats:
    """Corners from centre, width and height."""
    middle, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def _cornered(boxes: Floats) -> Floats:
    """Corners, also where centre, width and height were given as if they were."""
    inverted = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    return _centred(boxes) if len(boxes) and inverted.mean() > 0.1 else boxes


def _one_per_object(corners: Floats, classes: npt.NDArray[np.int64]) -> Boxes:
    """Drop what overlaps a more confident box of the same class."""
    alike = (_iou(corners, corners) >= SAME_IOU) & (classes[:, None] == classes)
    kept: list[int] = []
    for i in range(len(classes)):
        if not alike[i, kept].any():
            kept.append(i)
    return Boxes(corners[kept], classes[kept])


def _iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union of each with each, shape (n, m)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [
        np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (one, other)
    ]
    either = areas[0][:, None] + areas[1][None] - common
    shares: Floats = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
    return shares
