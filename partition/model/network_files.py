"""Graph and weights of a model folder as files: what they hash to, and whether they still do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.regular_file import Stamp, open_regular, stamp_of

GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "weights.bin"
_FILES = (GRAPH_FILE, WEIGHTS_FILE)
_UNHASHED = ("fingerprint", "name")
"""Keys of a description: the fingerprint itself, and a name that nothing depends on."""
_CHUNK_BYTES = 2**20

Stamps = tuple[Stamp, ...]


def fingerprint_of(folder: Path, description: Mapping[str, Any]) -> tuple[str, Stamps]:
    """First 16 hex digits of the SHA-256 over what decides how a network is cut and what it gives.

    That is graph, weights and description, each hashed by itself, so that no byte can move from one
    to another.

    Args:
        folder: that holds graph and weights.
        description: the document of `cuts.json`; its fingerprint and name do not count.

    Returns:
        The fingerprint, and the stamps of the files as they were read.

    Raises:
        OSError: a file cannot be read, is no regular file, or a link out of the folder.
    """
    kept = {key: value for key, value in description.items() if key not in _UNHASHED}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    digest, stamps = hashlib.sha256(hashlib.sha256(text.encode()).digest()), []
    for name in _FILES:
        check_inside(folder, name)
        of_file = hashlib.sha256()
        with open_regular(folder / name) as file:
            stamps.append(stamp_of(file))  # before: what is written meanwhile shows later
            while chunk := file.read(_CHUNK_BYTES):
                of_file.update(chunk)
        digest.update(of_file.digest())
    return digest.hexdigest()[:16], tuple(stamps)


def stamps_of(folder: Path) -> Stamps:
    """What the files are now.

    Raises:
        OSError: one cannot be opened, or is no regular file.
    """
    stamps = []
    for name in _FILES:
        with open_regular(folder / name) as file:
            stamps.append(stamp_of(file))
    return tuple(stamps)


def check_inside(folder: Path, name: str) -> None:
    """Refuse a link out of a folder.

    Raises:
        OSError: there is no such file, or it is one.
    """
    if not (folder / name).resolve(strict=True).is_relative_to(folder.resolve()):
        raise OSError(0, "it is a link out of the folder")
