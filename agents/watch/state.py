"""The state of a driven board as one document, which its page and its screen show."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.deployed.promise_watch import PromiseWatch
from agents.deployed.service_totals import ServiceTotals
from agents.deployed.summary import Summary
from agents.watch.events import EventLog
from agents.watch.history import History
from agents.watch.saving import last_saving
from envs.live.plant import LivePlant

PERIOD_S = 1.0
"""Between two documents: composing one takes a control step 0.3 ms on an EPYC core."""
SILENT_S = 10.0
"""A control loop whose last step is older has stopped; the page knows the same number."""
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
        self._saving = last_saving(run, plant.layout)
        self._clock, self._time_of_day = clock, time_of_day
        self._begun_s = self._time_of_day()
        self._compose()

    def look(self) -> None:
        """Take in the control step that has just ended."""
        self._history.look(self._time_of_day())
        if self._clock() - self._composed_s >= PERIOD_S:
            self._compose()

    def document(self) -> dict[str, Any]:
        """Plain values as of at most `PERIOD_S` ago, or of the last control step that ended.

        Safe to call from another thread than `look`. Keys have units; None is what is unknown, and
        `age_s` how old the rest is, by which a loop that has stopped shows.
        """
        composed_s, document = self._composed
        age_s = self._clock() - composed_s
        return {"age_s": age_s, **document, "events": self._events.document()}

    def _compose(self) -> None:
        self._composed_s = self._clock()
        totals, plant = self._totals, self._plant
        promise, link = self._promise, plant.known_link
        document = {
            "time_s": self._time_of_day(),
            "begun_s": self._begun_s,
            "totals": self._summary.document(),
            "recent": self._history.recent(RECENT_S),
            "power_w": totals.power_w if totals.n_steps else None,
            "power_is_measured": plant.last_power.is_measured,
            "temperature_margin_c": plant.margin_c,
            "latency_target_s": plant.latency_target_s,
            "clocks": [
                {
                    "name": name,
                    "hz": hz,
                    "asked_hz": asked.requested_hz if asked else None,
                    "overruled_by": asked.cause if asked else None,
                }
                for name, hz in totals.clocks_hz.items()
                for asked in [next((c for c in totals.clocks if c.name == name), None)]
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
            "saving": self._saving,
            "history": self._history.document(),
        }
        self._composed = (self._composed_s, _finite(document))


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value
