"""Which measure suits a network, as far as its shapes and its answers to real inputs tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partition.profile import boxes
from partition.profile.measures import (
    BOXES,
    COSINE,
    IOU,
    RELATIVE,
    TEXT,
    TOP1,
    Array,
    Measure,
    Outputs,
    labels_of,
)

_FEATURES = 32
"""Sizes of embeddings are multiples of it, numbers of classes seldom are."""
_MIN_STEPS, _MIN_SYMBOLS = 8, 30
"""Of a text recogniser: digits and letters, and more steps than most words have letters."""
_CLEAR, _CLEAR_SHARE = 0.1, 0.9
"""A map of one class is this near to 0 or 1 almost everywhere; a picture or a depth is not."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A measure, and why it was chosen."""

    measure: Measure
    why: str


def detect(outputs: Sequence[Outputs], picture: tuple[int, int] | None) -> Kind:
    """The measure for a network; `relative`, which suits all, where its kind is not certain.

    Args:
        outputs: of the unsplit network for each of some real inputs.
        picture: height and width of its input, None where that is no picture.
    """
    first = [sample[0] for sample in outputs]
    if picture is not None and _are_boxes(outputs, picture):
        return Kind(BOXES, "boxes with classes")
    if len(outputs[0]) > 1:
        return Kind(RELATIVE, "several outputs of no detector that is known")
    shape, is_float = first[0].shape, first[0].dtype.kind == "f"
    if picture is not None and _is_map(first, picture):
        return Kind(IOU, "a class for every pixel")
    if is_float and len(shape) == 2 and shape[1] > 1:
        return _of_vectors(np.concatenate(first).astype(np.float64), picture is not None)
    if is_float and len(shape) == 3 and 1 in shape[:2] and _is_text(first, picture is not None):
        return Kind(TEXT, "scores of symbols, step by step, from a picture")
    return Kind(RELATIVE, f"one output of shape {shape}, of no kind that is known")


def _are_boxes(outputs: Sequence[Outputs], picture: tuple[int, int]) -> bool:
    """Whether every answer holds boxes, each with an area, and not always one: that is a vector."""
    if all(array.ndim <= 2 and array.shape[:1] == (1,) for sample in outputs for array in sample):
        return False
    found = [boxes.find(sample, picture) for sample in outputs]
    return all(each is not None and _hold(each) for each in found)


def _hold(found: boxes.Boxes) -> bool:
    """Whether the boxes are found again in themselves, as those without an area are not."""
    ((n_same, n_all),) = boxes.counts(found, found)
    return bool(n_same == n_all)


def _of_vectors(rows: Array, from_picture: bool) -> Kind:
    n, choices = rows.shape[1], set(rows.argmax(axis=1).tolist())
    if _are_probabilities(rows):
        if len(choices) == 1:  # it would stay, whatever became of the rest
            return Kind(RELATIVE, f"of {n} probabilities the same is largest for every input")
        return Kind(TOP1, f"probabilities of {n} classes")
    if np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-3):
        return Kind(COSINE, f"vectors of {n} numbers and length 1")
    if from_picture and n % _FEATURES and len(choices) > 1:
        return Kind(TOP1, f"{n} scores of a picture")
    return Kind(RELATIVE, f"{n} numbers that may be scores, features or coordinates")


def _are_probabilities(rows: Array) -> bool:
    return bool((rows >= 0.0).all() and np.allclose(rows.sum(axis=-1), 1.0, atol=1e-3))


def _is_text(outputs: Sequence[Array], from_picture: bool) -> bool:
    n_symbols = outputs[0].shape[-1]
    if not from_picture or n_symbols < _MIN_SYMBOLS or max(outputs[0].shape[:2]) < _MIN_STEPS:
        return False
    return n_symbols % _FEATURES > 0 or all(map(_are_probabilities, outputs))


def _is_map(outputs: Sequence[Array], picture: tuple[int, int]) -> bool:
    shape = outputs[0].shape
    if labels_of(outputs[0]) is None or tuple(shape[-2:]) != picture:
        return False
    if outputs[0].dtype.kind != "f":
        return True
    if shape[1] == 1:
        values = np.concatenate([output.ravel() for output in outputs])
        clear = np.minimum(np.abs(values), np.abs(values - 1.0)) < _CLEAR
        return bool(clear.mean() > _CLEAR_SHARE)
    return int(shape[1]) != 3  # as many as a picture's colours
