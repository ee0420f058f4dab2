"""The last minutes of a driven board, in constant memory."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.deployed.histogram import TimeHistogram
from agents.deployed.service_totals import ServiceTotals
from envs.live.plant import LivePlant

PERIOD_S = 2.0
KEPT_S = 600.0
NAMES = (
    *("duration_s", "in_time", "late", "dropped", "fallbacks", "cut", "energy_j", "power_w"),
    *("energy_per_request_j", "latency_mean_s", "latency_p95_s", "latency_target_s"),
    *("clocks_hz", "link_bps"),
)
"""Of the figures of a period."""


@dataclass(frozen=True, slots=True)
class Period:
    """Some control steps, put together.

    Attributes:
        ended_s: at which time in service.
        duration_s: at least `PERIOD_S`, more where a step was long.
        values: plain values for a document, keys with units; None for what is unknown.
        latencies: of the requests that were answered.
    """

    ended_s: float
    duration_s: float
    values: dict[str, Any]
    latencies: TimeHistogram


class History:
    """Means over periods of `PERIOD_S`, of the last `KEPT_S`.

    Args:
        plant: the board.
        totals: what it has come to; periods are differences of it.
    """

    def __init__(self, plant: LivePlant, totals: ServiceTotals) -> None:
        self._plant, self._totals = plant, totals
        self._periods: deque[Period] = deque()
        self._begun_s = self._looked_s = self._power_j = 0.0
        self._begin()

    def look(self) -> None:
        """Take in a control step, and end a period if it is over."""
        totals = self._totals
        self._power_j += totals.power_w * (totals.duration_s - self._looked_s)
        self._looked_s = totals.duration_s
        if totals.duration_s - self._begun_s < PERIOD_S:
            return
        self._periods.append(self._period())
        while self._periods[0].ended_s < totals.duration_s - KEPT_S:
            self._periods.popleft()
        self._begin()

    def periods(self) -> tuple[Period, ...]:
        """That have ended, the oldest first; they do not change any more."""
        return tuple(self._periods)

    def _begin(self) -> None:
        totals = self._totals
        self._begun_s = self._looked_s = totals.duration_s
        self._power_j, self._energy_j = 0.0, totals.energy.energy_j
        self._met, self._late, self._dropped = totals.n_met, totals.n_late, totals.dropped
        self._fallbacks = totals.fallbacks.total()
        self._cuts = Counter(totals.cuts)
        self._latencies = totals.latencies.copy()

    def _period(self) -> Period:
        totals, plant = self._totals, self._plant
        duration_s = totals.duration_s - self._begun_s
        energy_j = totals.energy.energy_j - self._energy_j
        latencies = totals.latencies.since(self._latencies)
        n = len(latencies)
        cuts = totals.cuts - self._cuts
        target_s, link = plant.latency_target_s, plant.known_link
        values = (
            duration_s,
            totals.n_met - self._met,
            totals.n_late - self._late,
            totals.dropped - self._dropped,
            totals.fallbacks.total() - self._fallbacks,
            cuts.most_common(1)[0][0] if cuts else None,
            energy_j,
            self._power_j / duration_s,
            energy_j / n if n else None,
            latencies.total_s / n if n else None,
            latencies.quantile_s(0.95),
            target_s if math.isfinite(target_s) else None,
            dict(totals.clocks_hz),
            None if link is None else link.rate_bps,
        )
        named = dict(zip(NAMES, values, strict=True))
        return Period(totals.duration_s, duration_s, named, latencies)


def columns(periods: Sequence[Period], service_s: float, now_s: float) -> dict[str, list[Any]]:
    """A list for each figure, the oldest period first.

    Each figure is of a period that ended at `time_s`, seconds since 1970 by the present time of
    day: a clock that is set while a board is driven moves all of them.

    Args:
        periods: of a history.
        service_s: present time in service.
        now_s: present time of day, s since 1970.
    """
    return {
        "time_s": [now_s - (service_s - period.ended_s) for period in periods],
        **{name: [period.values[name] for period in periods] for name in NAMES},
    }


def recent(periods: Sequence[Period], last_s: float) -> dict[str, Any]:
    """Sums and means over about the last so many seconds, keys with units; None for the unknown."""
    latencies, duration_s = TimeHistogram(), 0.0
    totals = dict.fromkeys(("in_time", "late", "dropped", "fallbacks", "energy_j"), 0)
    for period in reversed(periods):
        if duration_s >= last_s:
            break
        duration_s += period.duration_s
        latencies.merge(period.latencies)
        for name in totals:
            totals[name] += period.values[name]
    n = totals["in_time"] + totals["late"]
    asked = n + totals["dropped"]
    return {
        "duration_s": duration_s,
        "requests": n,
        "dropped": totals["dropped"],
        "deadline_hit_rate": totals["in_time"] / asked if asked else None,
        "energy_per_request_j": totals["energy_j"] / n if n else None,
        "latency_p50_s": latencies.quantile_s(0.5),
        "latency_p95_s": latencies.quantile_s(0.95),
        "fallbacks": totals["fallbacks"],
    }
