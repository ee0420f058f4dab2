"""Rows of a table that grows run by run, so that an interrupted comparison goes on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from envs.errors import EnvError

Row = dict[str, str]


class Rows:
    """A CSV file to which a row is added as soon as it is measured.

    Args:
        path: of the file, which may be there already.
        columns: all of them.
        key: those that name a row.

    Raises:
        EnvError: the file holds another table.
    """

    def __init__(self, path: Path, columns: Sequence[str], key: Sequence[str]) -> None:
        self._path, self._columns, self._key = path, list(columns), list(key)
        self.rows: list[Row] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                reader = csv.DictReader(stream)
                if reader.fieldnames != self._columns:
                    raise EnvError(f"{path} holds another table: give another --out, or delete it")
                self.rows = [row for row in reader if all(row[name] for name in self._columns)]

    def has(self, key: Mapping[str, object]) -> bool:
        """Whether a row of this name is there."""
        wanted = [_text(key[name]) for name in self._key]
        return any([row[name] for name in self._key] == wanted for row in self.rows)

    def add(self, row: Mapping[str, object]) -> None:
        """Write a row behind the others."""
        texts = {name: _text(row[name]) for name in self._columns}
        self.rows.append(texts)
        with self._path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self._columns)
            writer.writeheader()
            writer.writerows(self.rows)


def _text(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
