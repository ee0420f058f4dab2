"""Bounds on the scores of a small network, so that absurd weights are refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LARGEST_SCORE = 1e9
"""Policies that learned (ppo, advised) reach a few hundred by this bound. Beyond 1e9 float32 no
longer tells scores apart that differ by less than 64, so that the choice among them is chance."""


def check_reach(
    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    largest_input: float,
    *,
    saturates: bool = False,
) -> None:
    """Refuse weights whose scores can leave what float32 tells apart.

    Args:
        layers: weight, shape (n_out, n_in), and bias, shape (n_out,), of each; they fit together.
        largest_input: absolute value that no input exceeds.
        saturates: whether what lies between layers ends at 1 (tanh) or not (relu).

    Raises:
        ValueError: a weight is not finite, or a score can be larger than `LARGEST_SCORE`.
    """
    reach = np.full(layers[0][0].shape[1] if layers else 0, largest_input)
    for weight, bias in layers:
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("a weight is not finite; train the policy again")
        reach = np.abs(weight.astype(np.float64)) @ reach + np.abs(bias)
        largest = float(reach.max(initial=0.0))
        if largest > LARGEST_SCORE:
            raise ValueError(
                f"its weights are absurd (values up to {largest:.2g}); train the policy again"
            )
        if saturates:
            reach = np.minimum(reach, 1.0)
