"""Early exit by difficulty: the edge answers what its second head trusts, the rest is sent.

AppealNet (Li et al., arXiv 2105.04104) with both answers known: accuracy against the share of
images that appeal to the cloud, next to what chance, the branch's own confidence and a head that
knows the truth would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.codec.codec import Float32Array

SHARES = tuple(i / 50 for i in range(51))
Floats = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AppealCurve:
    """Accuracy at every share of `SHARES`."""

    predicted: tuple[float, ...]
    """By the second head: the least trusted appeal first."""
    confidence: tuple[float, ...]
    """By the highest class probability of the branch."""
    random: tuple[float, ...]
    """By chance: the straight line between both ends."""
    ideal: tuple[float, ...]
    """First those that only the cloud classifies correctly, last those that only the edge does."""


def curve(
    edge_right: BoolArray, cloud_right: BoolArray, trust: Float32Array, confidence: Float32Array
) -> AppealCurve:
    """Accuracy over appeals.

    Args:
        edge_right: (N,), whether the edge's answer is right.
        cloud_right: (N,), whether the cloud's is.
        trust: (N,), the second head's logit of the edge being right.
        confidence: (N,), the branch's highest class probability.
    """
    gain = cloud_right.astype(np.int64) - edge_right.astype(np.int64)
    ends = float(edge_right.mean()), float(cloud_right.mean())
    chance = tuple(ends[0] + share * (ends[1] - ends[0]) for share in SHARES)
    return AppealCurve(
        _by(edge_right, gain, trust),
        _by(edge_right, gain, confidence),
        chance,
        _by(edge_right, gain, -gain),
    )


def threshold_for(
    edge_right: BoolArray, cloud_right: BoolArray, trust: Float32Array, max_loss: float
) -> float:
    """Trust below which to appeal, so that accuracy is at most `max_loss` below the cloud's.

    The lowest such value, to be found on validation images.
    """
    order = np.argsort(trust, kind="stable")
    gain = cloud_right.astype(np.int64) - edge_right.astype(np.int64)
    reached = (edge_right.sum() + np.r_[0, np.cumsum(gain[order])]) / len(trust)
    n_appeals = int(np.argmax(reached >= cloud_right.mean() - max_loss))
    ends = np.r_[trust[order], np.float32(np.inf)]
    return float(ends[n_appeals]) if n_appeals else float("-inf")


def summary(
    edge_right: BoolArray, cloud_right: BoolArray, trust: Float32Array, threshold: float
) -> dict[str, Any]:
    """What a threshold does on the test images, for the accuracy table."""
    appeals = trust < threshold
    return {
        "threshold": threshold if np.isfinite(threshold) else None,
        "share_of_appeals": float(appeals.mean()),
        "accuracy": float(np.where(appeals, cloud_right, edge_right).mean()),
        "edge_accuracy": float(edge_right.mean()),
        "cloud_accuracy": float(cloud_right.mean()),
    }


def confidence_of(logits: Float32Array) -> Float32Array:
    """Highest class probability of each row."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    highest: Float32Array = 1 / shifted.sum(1)
    return highest


def _by(
    edge_right: BoolArray, gain: npt.NDArray[np.int64], key: npt.NDArray[Any]
) -> tuple[float, ...]:
    """Accuracy when the images with the lowest key appeal first."""
    order = np.argsort(key, kind="stable")
    reached = (edge_right.sum() + np.r_[0, np.cumsum(gain[order])]) / len(gain)
    return tuple(float(reached[round(share * len(gain))]) for share in SHARES)
