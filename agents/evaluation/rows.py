"""Rows of an evaluation, one per policy and scenario."""

from __future__ import annotations

from dataclasses import dataclass

ALL = "all"
"""Scenario of the rows over all scenarios."""
SMALLEST_GAP = 0.05


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One line of `evaluation.csv`: a policy in a scenario, with 95 % bootstrap intervals.

    `oracle_gap` is cost over the oracle's cost, minus one; `gap_closed` is the fraction of
    the gap between `best-static` and the oracle that the policy closes, not a number where that
    gap is smaller than `SMALLEST_GAP` of the oracle's cost. Nor is `accuracy` one where what the
    network's routes lose was not measured.
    """

    scenario: str
    policy: str
    energy_j: float
    energy_j_low: float
    energy_j_high: float
    latency_s: float
    latency_s_low: float
    latency_s_high: float
    p95_latency_s: float
    deadline_hit_rate: float
    deadline_hit_rate_low: float
    deadline_hit_rate_high: float
    accuracy: float
    cost: float
    cost_low: float
    cost_high: float
    oracle_gap: float
    gap_closed: float
    gap_closed_low: float
    gap_closed_high: float
