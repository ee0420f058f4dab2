"""What came of one network, and the file that keeps it until the page is made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
import onnxruntime

from benchmarks.models.catalog import CACHE

ROWS = CACHE / "rows.jsonl"
CODE = ("partition", "benchmarks/models", "tests/networks", "tests/partition")


@dataclass(frozen=True)
class Result:
    """A row of one of the tables."""

    section: str
    name: str
    ended: str
    """ok, refused, or wrong."""
    cells: list[str]
    """Behind the name; of a network that was refused or is wrong, the sentence alone."""


class Rows:
    """Rows that were made by this very code and these versions; others are forgotten."""

    def __init__(self) -> None:
        self._version = _version()
        self._rows: dict[tuple[str, str], Result] = {}
        lines = ROWS.read_text(encoding="utf-8").splitlines() if ROWS.is_file() else []
        for line in map(json.loads, lines):
            if line.pop("version") == self._version:
                self._keep(Result(**line))

    def get(self, section: str, name: str) -> Result | None:
        """A row that need not be made again."""
        return self._rows.get((section, name))

    def add(self, row: Result) -> None:
        """Write a row down at once."""
        self._keep(row)
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**asdict(row), "version": self._version}) + "\n")

    def of(self, section: str) -> list[Result]:
        """Rows of a table, in the order in which they were made."""
        return [row for row in self._rows.values() if row.section == section]

    def _keep(self, row: Result) -> None:
        self._rows[row.section, row.name] = row


def _version() -> str:
    made = hashlib.sha256(f"{onnx.__version__} {onnxruntime.__version__}".encode())
    for folder in CODE:
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                made.update(path.read_bytes())
    return made.hexdigest()[:16]
