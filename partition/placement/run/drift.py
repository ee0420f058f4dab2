"""Drift: whether something takes another time than the planner counts on."""

from __future__ import annotations

CHANGE = 0.2
"""Share by which a link's rate or a device's speed has to change before stages are placed again."""
NOISE_S = 0.01
"""What a busy processor or a burst may add to a transfer, or take from it."""
COMPUTE_NOISE_S = 0.002
"""The same of a stage's time, a median over frames."""


def is_other(known_s: float, measured_s: float, noise_s: float = NOISE_S) -> bool:
    """Whether something takes so much more or less time that what does it must have changed."""
    slower = measured_s > known_s / (1 - CHANGE) + noise_s
    return slower or measured_s < known_s / (1 + CHANGE) - noise_s
