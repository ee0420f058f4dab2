"""The objective: one cost per control step, as a sum of named terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.plant import Outcome

TERMS = ("energy", "time", "deadline", "accuracy", "switching", "thermal")
SMALLEST_COST = 1e-3
"""Lower costs are taken for this where their logarithm is wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """Cost C = eta * E + (1 - eta) * P_max * T over its value at full speed, plus penalties.

    The first two terms are Zeus's cost (You et al., NSDI 2023) as DVFO uses it, both in joules;
    they are divided by P_max * T_reference, the energy of one request served edge-only with
    everything at maximum, so that a cost near one is "as bad as full throttle".

    Attributes:
        max_power_w: P_max.
        reference_latency_s: T_reference, edge-only at maximum clocks.
        deadline_weight: cost if every request misses the latency target.
        accuracy_weight: cost if nothing is left of the unsplit network's answers; what is lost
            where the accuracy is unknown costs nothing, and whoever prints it says so.
        switching_weight: cost of changing all axes at once.
        thermal_weight_per_c: cost of each degree above the throttling point.
    """

    max_power_w: float
    reference_latency_s: float
    deadline_weight: float = 1.0
    accuracy_weight: float = 1.0
    switching_weight: float = 0.02
    thermal_weight_per_c: float = 0.1

    def terms(self, outcome: Outcome, eta: Floats) -> dict[str, Floats]:
        """Name each part of the cost.

        Args:
            outcome: of one step.
            eta: weight of energy, broadcastable to the outcome.

        Returns:
            Dimensionless terms, keyed by `TERMS`, each >= 0.
        """
        reference_j = self.max_power_w * self.reference_latency_s
        eta = eta.astype(outcome.energy_j.dtype, copy=False)
        return {
            "energy": (eta / reference_j) * outcome.energy_j,
            "time": ((1.0 - eta) / self.reference_latency_s) * outcome.latency_s,
            "deadline": self.deadline_weight * (1.0 - outcome.deadline_hit_rate),
            "accuracy": self.accuracy_weight * lost_accuracy(outcome.accuracy),
            "switching": self.switching_weight * outcome.switched,
            "thermal": self.thermal_weight_per_c * outcome.overheat_c,
        }

    def cost(self, outcome: Outcome, eta: Floats) -> Floats:
        """Sum of the terms."""
        energy, *others = self.terms(outcome, eta).values()
        return sum(others, start=energy)


def lost_accuracy(accuracy: Floats) -> Floats:
    """What is lost of the accuracies of a network's routes; 0 of each where they are unknown."""
    # Known of all or of none, so that the first one tells.
    return np.zeros_like(accuracy) if np.isnan(accuracy.flat[0]) else 1.0 - accuracy
