"""What deciders saw, live and simulated: distributions of every reading, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.live.rows import Row
from benchmarks.page import markdown
from envs.arrays import Floats

READ = ("advised", "max-edge", "max-cloud")
"""Deciders whose readings are kept: one that moves, one that never sends, one that always does."""
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
SIDES = ("live", "sim")
KEY = ("link", "decider", "repeat", "reading")
COLUMNS = (*KEY, *(f"{side}_{name}" for side in SIDES for name in QUANTILES))
CLOSE = 0.10
"""Medians that differ by more, relative to the larger one, are set off."""


def reading_rows(
    live: Mapping[str, Floats], simulated: Mapping[str, Floats]
) -> Iterator[dict[str, str | float]]:
    """Quantiles of each reading, one row after the other."""
    for name, values in live.items():
        sides = {"live": values, "sim": simulated[name]}
        row: dict[str, str | float] = {"reading": name}
        for side, seen in sides.items():
            found = np.quantile(seen, list(QUANTILES.values()))
            row |= {f"{side}_{q}": float(v) for q, v in zip(QUANTILES, found, strict=True)}
        yield row


def differs(live: float, simulated: float) -> bool:
    """Whether two medians are further apart than `CLOSE`."""
    return abs(live - simulated) > CLOSE * max(abs(live), abs(simulated), 1e-9)


def by_reading(rows: Sequence[Row], link: str, decider: str) -> dict[str, dict[str, float]]:
    """Medians over the repeats of each quantile, by reading and column."""
    names = dict.fromkeys(row["reading"] for row in rows)
    columns = COLUMNS[len(KEY) :]
    found = {}
    for name in names:
        mine = [r for r in rows if (r["link"], r["decider"], r["reading"]) == (link, decider, name)]
        if mine:
            found[name] = {c: float(np.median([float(row[c]) for row in mine])) for c in columns}
    return found


def readings_table(rows: Sequence[Row], link: str) -> str:
    """Medians and 5 to 95 % of each reading on a link, by decider, those apart in bold."""
    deciders = [name for name in READ if any(r["decider"] == name for r in rows)]
    head = ["reading", *(f"{name}: {side}" for name in deciders for side in SIDES)]
    by_decider = {name: by_reading(rows, link, name) for name in deciders}
    lines = [head]
    for reading in next(iter(by_decider.values()), {}):
        line = [f"`{reading}`"]
        for name in deciders:
            values = by_decider[name][reading]
            mark = "**" if differs(values["live_median"], values["sim_median"]) else ""
            for side in SIDES:
                median, low, high = (values[f"{side}_{q}"] for q in ("median", "q05", "q95"))
                line.append(f"{mark}{median:.3g}{mark} ({low:.3g} to {high:.3g})")
        lines.append(line)
    return markdown(lines)
