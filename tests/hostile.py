"""Texts that a damaged file, or one made to do harm, may hold in place of JSON or TOML."""

from __future__ import annotations

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
