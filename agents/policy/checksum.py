"""A checksum inside a JSON document, against damage: a bad card, a copy that was cut, an editor.

It is no signature: a deliberate change can bring a new checksum with it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

KEY = "sha256"


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """A document with its checksum.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    return {**document, KEY: _digest(document)}


def check(document: dict[str, Any]) -> None:
    """Refuse what was changed since it was sealed.

    Raises:
        ValueError: the checksum is missing or another one.
    """
    if document.get(KEY) != _digest(document):
        raise ValueError(f"its {KEY} is that of another content")


def _digest(document: dict[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != KEY}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
