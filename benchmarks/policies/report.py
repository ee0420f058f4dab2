"""CSV, Markdown and pictures of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.errors import AgentError
from benchmarks.policies import table_file
from benchmarks.policies.figures import draw
from benchmarks.policies.page import page
from benchmarks.policies.plan import OURS
from benchmarks.policies.run import MeasuredDecider
from benchmarks.policies.table import ORACLE, STATIC, Samples, TableRow, by_case, rows, speed_rows
from benchmarks.policies.verdict import bars

TABLE, SPEED, PAGE = "benchmark.csv", "benchmark-speed.csv", "benchmark.md"


def write(
    results: Sequence[MeasuredDecider], out: Path, command: str, *, shows_goals: bool
) -> list[TableRow]:
    """Write everything to `out`.

    Args:
        results: of all jobs.
        out: folder.
        command: that made them, for the page.
        shows_goals: whether the page sets the project's own goals beside what was found.

    Returns:
        All rows.

    Raises:
        AgentError: no case has got far enough to be compared.
    """
    out.mkdir(parents=True, exist_ok=True)
    cases = by_case(results)
    samples = {key: Samples(case) for key, case in cases.items() if _is_whole(case)}
    samples = {key: each for key, each in samples.items() if each.seeds}
    if not samples:
        raise AgentError("no seed of every decider is finished: run the comparison on")
    cases = {key: cases[key] for key in samples}
    first = next(iter(samples.values()))
    table = [row for key, each in samples.items() for row in rows(key, each)]
    speed = [row for key, case in cases.items() for row in speed_rows(key, case)]
    verdict = bars(first) if shows_goals and OURS in first.deciders else []
    table_file.write_rows(out / TABLE, table)
    table_file.write_speeds(out / SPEED, speed)
    pictures = draw(table, out)
    text = page(table, speed, verdict, cases, first, pictures, command)
    (out / PAGE).write_text(text, encoding="utf-8")
    return table


def _is_whole(case: Sequence[MeasuredDecider]) -> bool:
    """Whether a case has what the others are compared with."""
    return {ORACLE, STATIC} <= {r.job.decider for r in case}
