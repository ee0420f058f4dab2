"""Printed table of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from agents.evaluation.rows import EvaluationRow


def print_rows(rows: Sequence[EvaluationRow]) -> None:
    """Print one line per policy and scenario; the fraction of the gap that it closes in percent."""
    table = Table(title="held-out episodes (modelled)", title_justify="left")
    table.add_column("scenario")
    table.add_column("policy")
    for title in ("J/inference", "ms", "p95 ms", "in time %", "accuracy %", "cost", "gap closed %"):
        table.add_column(title, justify="right")
    previous = None
    for row in rows:
        if previous is not None and row.scenario != previous:
            table.add_section()
        table.add_row(
            "" if row.scenario == previous else row.scenario,
            row.policy,
            f"{row.energy_j:.3f}",
            f"{1e3 * row.latency_s:.1f}",
            f"{1e3 * row.p95_latency_s:.0f}",
            f"{100 * row.deadline_hit_rate:.1f}",
            "unknown" if math.isnan(row.accuracy) else f"{100 * row.accuracy:.1f}",
            f"{row.cost:.3f}",
            _way(row),
        )
        previous = row.scenario
    Console(width=128).print(table)


def _way(row: EvaluationRow) -> str:
    """Share of the gap between best-static and the oracle; meaningless where the two are close."""
    if math.isnan(row.gap_closed):
        return "-"
    mean, low, high = (
        100.0 * share for share in (row.gap_closed, row.gap_closed_low, row.gap_closed_high)
    )
    return f"{mean:.0f} ({low:.0f} to {high:.0f})"
