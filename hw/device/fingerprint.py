"""Fingerprints: short hashes that say whether a policy was trained for this board."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def fingerprint(name: str, tables_hz: Mapping[str, tuple[int, ...]]) -> str:
    """Hash a name and its operating points (domain -> Hz) to 16 hexadecimal digits."""
    content = repr((name, sorted(tables_hz.items())))
    return hashlib.sha256(content.encode()).hexdigest()[:16]
