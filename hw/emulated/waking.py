"""How late this machine wakes a sleeper."""

from __future__ import annotations


class WakingDelay:
    """Learns how much too late sleeps end, so that the next ones are as much shorter.

    The kernel's timers are late by 50 us and more, and looking whether work is done takes as long
    again: together 4 % of 3 ms.

    Attributes:
        usual_s: by which sleeps end late.
    """

    MOST_S = 3e-4
    """What is later was kept waiting by other programs, which the next sleep may not be."""
    SHARE = 0.1
    """Of what is seen that is believed at once."""

    def __init__(self) -> None:
        self.usual_s = 0.0

    def seen(self, late_s: float) -> None:
        """Learn from a sleep that ended so late, or early, as it was."""
        usual_s = self.usual_s + self.SHARE * min(late_s, self.MOST_S)
        self.usual_s = min(max(usual_s, 0.0), self.MOST_S)
