"""Sensors that never move: a monitor that hangs goes on showing its last value."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

STUCK_S = 600.0
"""Time without the smallest change after which a sensor is called stuck. A board's input and the
temperature of its chips wander by more than a step within seconds; a coarse monitor of a part that
sleeps may rest for minutes."""


class StuckWatch:
    """Reports once when a sensor has not changed at all for long, and when it moves again.

    Args:
        what: is measured: "rail", "thermal zone".
        unit: in which it is shown.
    """

    def __init__(self, what: str, unit: str) -> None:
        self._what, self._unit = what, unit
        self._last: dict[str, tuple[float, float]] = {}  # name -> value, since when
        self._told: set[str] = set()

    def look(self, name: str, lowest: float, highest: float, now_s: float) -> None:
        """Take what a sensor has shown until now, since the last look."""
        shown, since_s = self._last.get(name, (lowest, now_s))
        if lowest != highest or highest != shown:
            self._last[name] = highest, now_s
            if name in self._told:
                self._told.discard(name)
                logger.warning("%s %s moves again: %.3f %s", self._what, name, highest, self._unit)
            return
        self._last[name] = shown, since_s
        if now_s - since_s >= STUCK_S and name not in self._told:
            self._told.add(name)
            logger.warning(
                "%s %s has shown exactly %.3f %s for %.0f minutes; its sensor may hang, check it "
                "(python -m hw.doctor)",
                self._what,
                name,
                shown,
                self._unit,
                (now_s - since_s) / 60.0,
            )
