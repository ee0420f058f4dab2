"""Rails that never move: a monitor that hangs goes on showing its last value."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

STUCK_S = 600.0
"""Time without the smallest change after which a rail is called stuck. A board's input wanders by
more than a step within seconds; a coarse monitor of a part that sleeps may rest for minutes."""


class StuckWatch:
    """Tells once when a rail has not changed at all for long, and when it moves again."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # rail -> power, since when
        self._told: set[str] = set()

    def look(self, rail: str, lowest_w: float, highest_w: float, now_s: float) -> None:
        """Take what a rail has shown in a window that ends now."""
        shown_w, since_s = self._last.get(rail, (lowest_w, now_s))
        if lowest_w != highest_w or highest_w != shown_w:
            self._last[rail] = highest_w, now_s
            if rail in self._told:
                self._told.discard(rail)
                logger.warning("rail %s moves again: %.3f W", rail, highest_w)
            return
        self._last[rail] = shown_w, since_s
        if now_s - since_s >= STUCK_S and rail not in self._told:
            self._told.add(rail)
            logger.warning(
                "rail %s has shown exactly %.3f W for %.0f minutes; its power monitor may hang, "
                "check it (python -m hw.doctor)",
                rail,
                shown_w,
                (now_s - since_s) / 60.0,
            )
