"""The last minutes of a driven board, in constant memory."""

from __future__ import annotations

import math
from collections import Counter, deque
from statistics import fmean
from typing import Any

from agents.deployed.histogram import TimeHistogram
from agents.deployed.service_totals import ServiceTotals
from envs.live.plant import LivePlant

PERIOD_S = 2.0
KEPT_S = 600.0


class History:
    """Means over periods of `PERIOD_S`, of the last `KEPT_S`.

    Args:
        plant: the board.
        totals: what it has come to; periods are differences of it.
    """

    def __init__(self, plant: LivePlant, totals: ServiceTotals) -> None:
        self._plant, self._totals = plant, totals
        self._periods: deque[dict[str, Any]] = deque(maxlen=round(KEPT_S / PERIOD_S))
        self._begin()

    def look(self, now_s: float) -> None:
        """Take in a control step, and end a period if it is over.

        Args:
            now_s: time of day, s since 1970; it may be set while the board is driven.
        """
        self._powers_w.append(self._totals.power_w)
        if self._totals.duration_s - self._begun_s < PERIOD_S:
            return
        self._periods.append(self._period(now_s))
        self._begin()

    def latencies(self, last_s: float) -> TimeHistogram:
        """Of the requests that were answered in the last so many seconds."""
        found = TimeHistogram()
        for period in self._recent(last_s):
            found.merge(period["latencies"])
        return found

    def document(self) -> dict[str, list[Any]]:
        """Plain values, a list for each figure, the oldest first; None for what is unknown.

        Each figure is of a period that ended at `time_s`, seconds since 1970.
        """
        names = [name for name in self._period(0.0) if name != "latencies"]
        return {name: [period[name] for period in self._periods] for name in names}

    def recent(self, last_s: float) -> dict[str, Any]:
        """Sums and means over the last so many seconds, keys with units; None for the unknown."""
        periods = self._recent(last_s)
        n_met, n_late, n_dropped = (
            sum(period[name] for period in periods) for name in ("in_time", "late", "dropped")
        )
        n, energy_j = n_met + n_late, sum(period["energy_j"] for period in periods)
        latencies = self.latencies(last_s)
        return {
            "duration_s": sum(period["duration_s"] for period in periods),
            "requests": n,
            "dropped": n_dropped,
            "deadline_hit_rate": n_met / (n + n_dropped) if n + n_dropped else None,
            "energy_per_request_j": energy_j / n if n else None,
            "latency_p50_s": latencies.quantile_s(0.5),
            "latency_p95_s": latencies.quantile_s(0.95),
            "fallbacks": sum(period["fallbacks"] for period in periods),
        }

    def _recent(self, last_s: float) -> list[dict[str, Any]]:
        return list(self._periods)[-max(round(last_s / PERIOD_S), 1) :]

    def _begin(self) -> None:
        totals = self._totals
        self._begun_s, self._energy_j = totals.duration_s, totals.energy.energy_j
        self._met, self._late, self._dropped = totals.n_met, totals.n_late, totals.dropped
        self._fallbacks = totals.fallbacks.total()
        self._cuts = Counter(totals.cuts)
        self._latencies = totals.latencies.copy()
        self._powers_w: list[float] = []

    def _period(self, now_s: float) -> dict[str, Any]:
        totals, plant = self._totals, self._plant
        duration_s = totals.duration_s - self._begun_s
        energy_j = totals.energy.energy_j - self._energy_j
        latencies = totals.latencies.since(self._latencies)
        n = len(latencies)
        cuts = totals.cuts - self._cuts
        target_s, link = plant.latency_target_s, plant.known_link
        return {
            "time_s": now_s,
            "duration_s": duration_s,
            "in_time": totals.n_met - self._met,
            "late": totals.n_late - self._late,
            "dropped": totals.dropped - self._dropped,
            "fallbacks": totals.fallbacks.total() - self._fallbacks,
            "cut": cuts.most_common(1)[0][0] if cuts else None,
            "energy_j": energy_j,
            "power_w": fmean(self._powers_w) if self._powers_w else None,
            "energy_per_request_j": energy_j / n if n else None,
            "latency_mean_s": latencies.total_s / n if n else None,
            "latency_p95_s": latencies.quantile_s(0.95),
            "latency_target_s": target_s if math.isfinite(target_s) else None,
            "clocks_hz": dict(totals.clocks_hz),
            "link_bps": None if link is None else link.rate_bps,
            "latencies": latencies,
        }
