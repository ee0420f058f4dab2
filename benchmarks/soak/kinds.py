"""All kinds of faults by name."""

from __future__ import annotations

from benchmarks.soak import faults_around, faults_of_board
from benchmarks.soak.faults import Draw

AT_START = {
    "late-cloud": "the cloud starts a while after the daemon",
    "proxy": "http_proxy names a machine that has no business with the board",
}
"""Faults that are there, or not, when the daemon starts."""
KINDS: dict[str, Draw] = {**faults_of_board.KINDS, **faults_around.KINDS}
"""Faults that are drawn again and again."""
ALL = (*AT_START, *KINDS)
OF_JETSONS = ("power-mode", "status")
"""Kinds that need nvpmodel."""
