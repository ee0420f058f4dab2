"""The state of a driven board as one document, which its page and its screen show."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.deployed.plain import plain
from agents.deployed.promise_watch import PromiseWatch
from agents.deployed.service_totals import ServiceTotals
from agents.deployed.summary import Summary
from agents.watch.events import EventLog
from agents.watch.history import History, columns, recent
from agents.watch.saving import last_saving
from envs.live.plant import LivePlant

PERIOD_S = 1.0
"""Between two snapshots. One takes the control loop 0.1 ms; what is more work, and grows with the
history, is done in the thread of whoever asks."""
RECENT_S = 300.0
"""What "lately" means."""


class BoardState:
    """Follows a board, control step by control step.

    Args:
        algorithm: that drives the board.
        plant: the board.
        totals: what it has come to.
        promise: on what it keeps, if anything.
        events: what happened.
        run: folder of the run, where comparisons on the board have left what they found.
        clock: monotonic seconds.
        time_of_day: s since 1970.
    """

    def __init__(
        self,
        algorithm: str,
        plant: LivePlant,
        totals: ServiceTotals,
        promise: PromiseWatch | None,
        events: EventLog,
        run: Path,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._plant, self._totals, self._promise, self._events = plant, totals, promise, events
        self._summary = Summary(algorithm, plant, totals, promise)
        self._history = History(plant, totals)
        self._saving = last_saving(run, plant.layout, is_modelled=plant.is_modelled)
        self._clock, self._time_of_day = clock, time_of_day
        self._take()

    def look(self) -> None:
        """Take in the control step that has just ended."""
        self._history.look()
        if self._clock() - self._taken_s >= PERIOD_S:
            self._take()

    def document(self) -> dict[str, Any]:
        """Plain values as of at most `PERIOD_S` ago, or of the last control step that ended.

        Safe to call from another thread than `look`. Keys have units; None is what is unknown, and
        `age_s` how old the rest is, by which a loop that has stopped shows.
        """
        taken_s, snapshot, periods = self._snapshot
        age_s = self._clock() - taken_s
        time_s = self._time_of_day() - age_s
        service_s = snapshot["totals"]["duration_s"]
        found: dict[str, Any] = plain(
            {
                "age_s": age_s,
                "time_s": time_s,
                **snapshot,
                "recent": recent(periods, RECENT_S),
                "history": columns(periods, service_s, time_s),
                "events": self._events.document(),
                "saving": self._saving,
            }
        )
        return found

    def _take(self) -> None:
        self._taken_s = self._clock()
        totals, plant = self._totals, self._plant
        promise, link = self._promise, plant.known_link
        asked = {each.name: each for each in totals.clocks}
        snapshot: dict[str, Any] = {
            "totals": self._summary.document(),
            "power_w": totals.power_w if totals.n_steps else None,
            "power_is_measured": plant.last_power.is_measured,
            "temperature_margin_c": plant.known_margin_c,
            "latency_target_s": plant.latency_target_s,
            "clocks": [
                {
                    "name": name,
                    "hz": hz,
                    "asked_hz": asked[name].requested_hz if name in asked else None,
                    "overruled_by": asked[name].cause if name in asked else None,
                }
                for name, hz in totals.clocks_hz.items()
            ],
            "cloud": {
                "is_there": plant.has_cloud,
                "link_bps": None if link is None else link.rate_bps,
                "rtt_s": None if link is None else link.rtt_s,
                "server_load": None if link is None else link.server_load,
            },
            "fallbacks_by_reason": totals.fallbacks_by_reason,
            "stood_in_for": totals.failure,
            "promise_is_broken": None if promise is None else promise.is_broken,
        }
        self._snapshot = (self._taken_s, snapshot, self._history.periods())
