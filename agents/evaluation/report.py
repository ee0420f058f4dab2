"""Printed table of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from agents.evaluation.rows import SMALLEST_GAP, EvaluationRow

NO_GAP = (
    f"-: the best static setting costs less than {SMALLEST_GAP:.0%} more than the oracle, "
    "there is no gap to close"
)


def print_rows(rows: Sequence[EvaluationRow]) -> None:
    """Print one line per policy over all scenarios, or in the only one.

    Of the gap between best-static and the oracle, what a policy closes is in percent.
    """
    shown = [row for row in rows if row.scenario == rows[-1].scenario]
    table = Table(title="held-out episodes (modelled)", title_justify="left")
    table.add_column("scenario")
    table.add_column("policy")
    for title in ("J/inference", "ms", "p95 ms", "in time %", "accuracy %", "cost", "gap closed %"):
        table.add_column(title, justify="right")
    for row in shown:
        table.add_row(
            row.scenario,
            row.policy,
            f"{row.energy_j:.3f}",
            f"{1e3 * row.latency_s:.1f}",
            f"{1e3 * row.p95_latency_s:.0f}",
            f"{100 * row.deadline_hit_rate:.1f}",
            "unknown" if math.isnan(row.accuracy) else f"{100 * row.accuracy:.1f}",
            f"{row.cost:.3f}",
            _gap(row),
        )
    Console(width=128).print(table)
    if any(math.isnan(row.gap_closed) for row in shown):
        print(NO_GAP)
    if len(shown) < len(rows):
        print("each scenario is in evaluation.csv and evaluation.png")


def _gap(row: EvaluationRow) -> str:
    if math.isnan(row.gap_closed):
        return "-"
    mean, low, high = (
        100.0 * share for share in (row.gap_closed, row.gap_closed_low, row.gap_closed_high)
    )
    return f"{mean:.0f} ({low:.0f} to {high:.0f})"
