"""The page of a comparison, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from benchmarks.page import machine, markdown
from benchmarks.policies.run import MeasuredDecider
from benchmarks.policies.table import Key, Samples, SpeedRow, TableRow, over_all
from benchmarks.policies.traces import FITTED_TO, HELD_OUT
from benchmarks.policies.verdict import Target, learning_against_searching

_COLUMNS = (
    *(
        "decider",
        "kind",
        "J",
        "ms",
        "p95 ms",
        "in time %",
        "accuracy %",
        "cost",
        "gap %",
        "closed %",
    ),
    *("decisions/s", "fit s", "fit steps"),
)
_EXPLAINED = """\
Intervals are 95 % bootstrap intervals over seeds and episodes, the same draws for all. A learned
policy is trained once on all scenarios, a searched one is fitted to each scenario by itself; both
are fitted again for each seed, and run on that seed's episodes, so that what their fits owe to
chance is in the intervals. A rule owes nothing to chance: it is fitted once to each scenario and
run on the episodes of all seeds (`random` draws the same actions in all). Of few seeds, three say,
such intervals are narrower than they should be. `p95 ms` is the percentile of all requests of a row
together that were answered; those dropped from a full queue only count as late.
`cost` is eta * energy + (1 - eta) * P_max * time over its value at full speed, plus missed
deadlines, accuracy, switching and heat; `gap` is the cost above the oracle's, `closed` the
fraction of the gap between best-static and the oracle that is closed."""
_LINKS = f"""\
Recorded links in the place of a scenario's own, read where they are, no part of this project:
Mahimahi's (GPL-3.0), Starlink on the Autobahn (CC BY-SA 4.0) and FjordLink (CC BY 4.0).
"{HELD_OUT}" are those that nothing was fitted to: uplinks of Starlink on a motorway with round
trips of another dish, and the downlinks of cellular drives as if they led up. "{FITTED_TO}" are the
uplinks that the link of `lte-driving` or `umts-fringe` was fitted to, so that only the order of the
rates is new."""


def page(
    table: Sequence[TableRow],
    speed: Sequence[SpeedRow],
    verdict: Sequence[Target],
    cases: dict[Key, list[MeasuredDecider]],
    samples: Samples,
    pictures: Sequence[Path],
    command: str,
) -> str:
    """Write the page.

    Args:
        table: all rows.
        speed: of all deciders.
        verdict: bars of the first case.
        cases: results by device and network; the first one is the main one.
        samples: of the main one.
        pictures: next to the page.
        command: that made everything.
    """
    (device, model), *others = cases
    main = [row for row in table if (row.device, row.model) == (device, model)]
    notes = {r.job.decider: r.note for case in cases.values() for r in case if r.note}
    n_seeds = main[0].n_seeds
    parts = [
        "# Everything that decides, compared",
        *learning_against_searching(samples),
        f"All boards are modelled; {n_seeds} seeds of {device} with {model}. By\n\n    {command}",
        _EXPLAINED,
        *(f"![{path.stem}]({path.name})" for path in pictures),
    ]
    if verdict:
        parts += ["## What was hoped for, and what was found", _bars(verdict)]
    parts += [f"## {device}, {model}, over all scenarios", _over_all(main, speed)]
    parts += ["## Scenario by scenario: cost", _costs_by(main, samples.groups[ALL])]
    recorded = {
        name: samples.groups[name] for name in (HELD_OUT, FITTED_TO) if name in samples.groups
    }
    if recorded:
        parts += ["## Recorded links", _LINKS, _gaps_by(main, list(recorded))]
        parts += [_costs_by(main, [name for members in recorded.values() for name in members])]
    if others:
        n_elsewhere = min(row.n_seeds for row in table)
        title = f"## Other devices and networks, over all scenarios, {n_elsewhere} seeds"
        parts += [title, _elsewhere(table, others)]
    if notes:
        parts += ["## Notes", "\n".join(f"- `{name}`: {note}" for name, note in notes.items())]
    return "\n\n".join([*parts, f"Machine:\n\n{machine()}"]) + "\n"


def _bars(verdict: Sequence[Target]) -> str:
    lines = [["met" if b.is_met else "missed", b.what, b.bar, b.found] for b in verdict]
    return markdown([("", "what", "bar", "found"), *lines])


def _over_all(main: Sequence[TableRow], speed: Sequence[SpeedRow]) -> str:
    times = {(row.device, row.model, row.decider): row for row in speed}
    lines = []
    for row in over_all(main):
        time = times[row.device, row.model, row.decider]
        lines.append(
            [
                *(row.decider, row.kind, _pm(row.energy_j, 1, 3), _pm(row.latency_s, 1e3, 1)),
                *(f"{1e3 * row.pooled_p95_latency_s:.0f}", _pm(row.deadline_hit_rate, 100, 2)),
                *(_accuracy(row), *_costs(row), _count(time.decisions_per_s)),
                *(f"{time.fit_s:.1f}", _count(time.fit_steps)),
            ]
        )
    return markdown([_COLUMNS, *lines])


def _costs_by(main: Sequence[TableRow], scenarios: Sequence[str]) -> str:
    cost = {(row.decider, row.scenario): row.cost.mean for row in main}
    lines = [
        [row.decider, *(f"{cost[row.decider, name]:.3f}" for name in scenarios)]
        for row in over_all(main)
    ]
    return markdown([("decider", *scenarios), *lines])


def _gaps_by(main: Sequence[TableRow], groups: Sequence[str]) -> str:
    """Costs, their gaps and shares in time, means over the links of each group."""
    found = {(row.decider, row.scenario): row for row in main}
    columns = [f"{what}, {name}" for name in groups for what in ("cost", "gap %", "in time %")]
    lines = [
        [
            row.decider,
            *(
                text
                for name in groups
                for one in (found[row.decider, name],)
                for text in (
                    _pm(one.cost, 1, 4),
                    _pm(one.oracle_gap, 100, 1),
                    _pm(one.deadline_hit_rate, 100, 2),
                )
            ),
        ]
        for row in over_all(main)
    ]
    return markdown([("decider", *columns), *lines])


def _elsewhere(table: Sequence[TableRow], keys: Sequence[Key]) -> str:
    lines = [
        [
            *(row.device, row.model, row.decider, _pm(row.energy_j, 1, 3)),
            *(
                _pm(row.latency_s, 1e3, 1),
                _pm(row.deadline_hit_rate, 100, 2),
                _accuracy(row),
            ),
            *_costs(row),
        ]
        for key in keys
        for row in over_all([row for row in table if (row.device, row.model) == key])
    ]
    columns = ("J", "ms", "in time %", "accuracy %", "cost", "gap %", "closed %")
    return markdown([("device", "network", "decider", *columns), *lines])


def _costs(row: TableRow) -> list[str]:
    return [_pm(row.cost, 1, 4), _pm(row.oracle_gap, 100, 1), _pm(row.gap_closed, 100, 1)]


def _pm(value: Interval, factor: float, digits: int) -> str:
    """Mean and half the width of the interval."""
    if math.isnan(value.mean):
        return "-"
    half = 0.5 * factor * (value.high - value.low)
    return f"{factor * value.mean:.{digits}f} ± {half:.{digits}f}"


def _accuracy(row: TableRow) -> str:
    return "unknown" if math.isnan(row.accuracy.mean) else _pm(row.accuracy, 100, 2)


def _count(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f}"
