"""Colours and marks of all pictures, told apart by the colour-blind, too.

Colours are those of Okabe and Ito (2008); whoever is compared has a mark of its own as well.
"""

from __future__ import annotations

from dataclasses import dataclass

INK, MUTED, GRID = "#1f2933", "#8a8f98", "#e4e7eb"
BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILION, PINK = "#0072b2", "#d55e00", "#cc79a7"
LEARNED, ORACLE = VERMILION, BLACK


@dataclass(frozen=True, slots=True)
class Mark:
    """How one of those who are compared is drawn."""

    colour: str
    shape: str
    """matplotlib's name of a marker."""


OURS_MARK, ORACLE_MARK = Mark(LEARNED, "D"), Mark(ORACLE, "|")
OTHER_MARKS = (
    Mark(BLUE, "s"),
    Mark(GREEN, "^"),
    Mark(PINK, "v"),
    Mark(SKY, "o"),
    Mark(ORANGE, "P"),
    Mark(MUTED, "X"),
)
