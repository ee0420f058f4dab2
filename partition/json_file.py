"""Reading JSON that may be damaged or made to do harm."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from common.regular_file import open_regular

_MAX_BYTES = 2**26
"""Many times the largest file that this project writes; the document takes ten times as much."""
_MAX_WHOLE = 2**63
"""What numpy and a byte count hold."""


def read(path: Path) -> Any:
    """The document in a file.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is too large, no UTF-8, no JSON, nested too deeply, names a key twice, or
            holds a number that is none or beyond what a computer's numbers hold.
    """
    with open_regular(path) as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError(f"it is longer than the {_MAX_BYTES} bytes that are read")
    return parse(text)


def parse(text: bytes | str) -> Any:
    """The document in a text.

    Raises:
        ValueError: as in `read`.
    """
    try:
        return json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 at byte {error.start}") from None  # its own text is the file's
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} stands there twice")
    return table


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _whole(text: str) -> int:
    if len(text) > len(str(-_MAX_WHOLE)) or not -_MAX_WHOLE <= (value := int(text)) < _MAX_WHOLE:
        raise ValueError(f"{text[:40]} is too large a number")
    return value
