"""One row: a network of the list, damaged again and again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.models.damage import run
from benchmarks.models.network_row import packaged
from benchmarks.models.result import Result

SECTION = "damage"
DRAWS = 200
BUDGET_S = 150.0
"""Draws of one file that are not begun by then are left out, and counted as such."""


def row(name: str) -> Result:
    """Damage a network's file, and prepare it."""
    case = packaged(name)
    with tempfile.TemporaryDirectory() as scratch:
        options = case.options(Path(scratch))
        outcome = run.outcome_of(case.path, options, DRAWS, BUDGET_S, case.beside)
    if outcome.failures:
        return Result(
            SECTION, name, "wrong", [f"{outcome.draws} draws; {'; '.join(outcome.failures)}"]
        )
    cells = [str(outcome.draws), str(outcome.ends["refused"]), str(outcome.ends["prepared"])]
    return Result(SECTION, name, "ok", cells)
