"""Differences between two sets of values, a line each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

Values = dict[str, Any]
"""What JSON can hold: numbers, strings, lists and mappings of them."""

_ABSENT = object()


def differences(
    stored: object, today: object, relative: float = 0.0, name: str = ""
) -> Iterator[str]:
    """Lines that name each value that differs, with both values.

    Args:
        stored: values as they were.
        today: values as they are.
        relative: difference of two floats that still counts as none, as a share of the larger.
        name: of what is compared.
    """
    if isinstance(stored, Mapping) and isinstance(today, Mapping):
        for key in {**stored, **today}:
            inner = f"{name}: {key}" if name else str(key)
            parts = stored.get(key, _ABSENT), today.get(key, _ABSENT)
            yield from differences(*parts, relative, inner)
    elif isinstance(stored, list) and isinstance(today, list) and len(stored) == len(today):
        for nth, parts in enumerate(zip(stored, today, strict=True)):
            yield from differences(*parts, relative, f"{name}[{nth}]")
    elif stored is _ABSENT:
        yield f"{name}: new, {_shown(today)}"
    elif today is _ABSENT:
        yield f"{name}: gone, was {_shown(stored)}"
    elif not _equal(stored, today, relative):
        yield f"{name}: was {_shown(stored)}, is {_shown(today)}"


def _equal(stored: object, today: object, relative: float) -> bool:
    if isinstance(stored, float) and isinstance(today, float):
        alike = math.isclose(stored, today, rel_tol=relative, abs_tol=0.0)
        return alike or (math.isnan(stored) and math.isnan(today))
    return type(stored) is type(today) and stored == today


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
