"""Rows of an evaluation, one per policy and scenario."""

from __future__ import annotations

from dataclasses import dataclass

ALL = "all"
"""Scenario of the rows over all scenarios."""
SHORTEST_WAY = 0.05


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One line of `evaluation.csv`: a policy in a scenario, with 95 % bootstrap intervals.

    `oracle_gap` is cost over the oracle's cost, minus one; `share_of_way` is how much of the way
    from `best-static` to the oracle the policy goes, not a number where that way is shorter than
    `SHORTEST_WAY` of the oracle's cost.
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
    qos_met: float
    qos_met_low: float
    qos_met_high: float
    accuracy: float
    cost: float
    cost_low: float
    cost_high: float
    oracle_gap: float
    share_of_way: float
    share_of_way_low: float
    share_of_way_high: float
