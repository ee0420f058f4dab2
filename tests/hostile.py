"""What a damaged file, or one made to do harm, may hold."""

from __future__ import annotations

import json
from pathlib import Path

from partition.model.folder import CUTS_FILE
from partition.model.network_files import fingerprint_of


def sealed(folder: Path, document: dict) -> Path:
    """The folder with this description and a fingerprint that fits, as an attacker makes it."""
    found, _ = fingerprint_of(folder, document)
    (folder / CUTS_FILE).write_text(json.dumps(document | {"fingerprint": found}))
    return folder


def damaged(data: bytes, draw) -> bytes:
    """The same bytes cut short, or with a few bits flipped."""
    if draw.random() < 0.3:
        return data[: draw.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


DEEP = 100_000
JSON = {
    "empty": b"",
    "deep lists": b"[" * DEEP,
    "deep tables": b'{"a":' * DEEP,
    "NaN": b'{"schema_version": NaN}',
    "Infinity": b'{"schema_version": -Infinity}',
    "a number beyond a float": b'{"schema_version": 1e999}',
    "a number beyond 64 bits": b'{"schema_version": ' + b"9" * 30 + b"}",
    "a number of 5000 digits": b'{"schema_version": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"schema_version": 1, "schema_version": 2}',
    "UTF-8 with a byte order mark": b'\xef\xbb\xbf{"schema_version": 1}',
    "UTF-16": '{"schema_version": 1}'.encode("utf-16"),
    "garbage": bytes(range(256)) * 4,
    "zeros": bytes(1000),
    "a list": b"[1]",
    "a text": b'"x"',
    "null": b"null",
}
TOML = {
    "deep lists": b"a = " + b"[" * DEEP,
    "deep tables": b"a = " + b"{a=" * DEEP,
    "deep key": b"a." * 20_000 + b"a = 1",
    "deep value": b"name." + b"a." * 20_000 + b"a = 1",
    "a number of 5000 digits": b"a = " + b"9" * 5000,
    "garbage": bytes(range(256)) * 4,
    "zeros": bytes(1000),
    "UTF-16": "a = 1".encode("utf-16"),
}
