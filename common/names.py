"""Names that a user misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is none of those known: the nearest, or all."""
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean {near[0]}?"
    return f"; remove it or correct its name ({', '.join(names)})"
