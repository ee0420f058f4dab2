"""Measured accuracy of every (split point, xi, bits): `accuracy.json` of a model folder.

Needs numpy only, so that the environment can read it. Schema 1::

    {"schema_version": 1, "model": NAME, "fingerprint": HEX, "data": NAME, "command": TEXT,
     "n_test": N, "n_validation": N, "whole_accuracy": 0..1,
     "whole_validation_accuracy": 0..1,
     "rows": [{"split": NAME, "xi": 0..1, "bits": 8 | 4, "accuracy": 0..1, "low": 0..1,
               "high": 0..1, "validation_accuracy": 0..1, "edge_weight": 0..1, "channels": C,
               "sent_channels": n, "wire_bytes": B, "float32_bytes": B, "edge_flops": F,
               "cloud_flops": F}, ...],
     "appeals": {SPLIT: {"threshold": X, ...}}}
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from partition import json_file
from partition.codec import quantisers
from partition.errors import PartitionError

SCHEMA_VERSION = 1
ACCURACY_FILE = "accuracy.json"
_SHARES = ("xi", "accuracy", "low", "high", "validation_accuracy", "edge_weight")
_COUNTS = ("channels", "sent_channels", "wire_bytes", "float32_bytes", "edge_flops", "cloud_flops")
_SAME_XI = 1e-6


class AccuracyTableError(PartitionError):
    """An accuracy table is missing, corrupt, of another model, or lacks a row."""


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """One way to serve an image, and what came of it on the test images."""

    split: str
    """Name of the split point in the model folder."""
    xi: float
    """Share of channels sent."""
    bits: int
    """Of a sent value."""
    accuracy: float
    """Share of the test images that were classified correctly."""
    low: float
    """95 % interval of `accuracy` (Wilson)."""
    high: float
    validation_accuracy: float
    """To choose by; the test images are for reporting."""
    edge_weight: float
    """lambda: weight of the edge's logits in the answer."""
    channels: int
    sent_channels: int
    wire_bytes: int
    """Uplink, headers included."""
    float32_bytes: int
    """Of the whole cut tensor."""
    edge_flops: int
    """Head, attention and light branch."""
    cloud_flops: int


@dataclass(frozen=True, slots=True)
class AccuracyTable:
    """All rows of one model."""

    model: str
    fingerprint: str
    """Of the model folder."""
    data: str
    command: str
    n_test: int
    n_validation: int
    whole_accuracy: float
    """Of the unsplit float32 network on the same test images."""
    whole_validation_accuracy: float
    rows: tuple[AccuracyRow, ...]
    appeals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Early exit per split point: see `partition.attention.appeals`."""

    @classmethod
    def load(cls, folder: Path, fingerprint: str | None = None) -> AccuracyTable:
        """Read and check the table in a model folder.

        Args:
            folder: the model folder, or one that holds only the table.
            fingerprint: of the model it must belong to, if that matters.

        Raises:
            AccuracyTableError: it is missing, corrupt, or of another model.
        """
        table = cls.read(folder / ACCURACY_FILE)
        if fingerprint is not None and table.fingerprint != fingerprint:
            raise AccuracyTableError(
                f"{folder / ACCURACY_FILE} is of model {table.fingerprint}, not {fingerprint}: "
                "run python -m partition.train_attention again"
            )
        return table

    @classmethod
    def read(cls, path: Path) -> AccuracyTable:
        """Read and check a table by its file.

        Raises:
            AccuracyTableError: it is missing or corrupt.
        """
        try:
            data = json_file.read(path)
        except FileNotFoundError as error:
            raise AccuracyTableError(
                f"{path} is missing: run python -m partition.train_attention"
            ) from error
        except (OSError, ValueError) as error:
            raise _corrupt(path, str(error)) from error
        return _parse(path, data)

    def save(self, folder: Path) -> None:
        """Write the table; a reader sees the old or the new one, never half.

        Raises:
            AccuracyTableError: it cannot be written.
        """
        path = folder / ACCURACY_FILE
        scratch = path.with_name(f".{path.name}.new")
        text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            scratch.write_text(text + "\n", encoding="utf-8")
            scratch.replace(path)
        except OSError as error:
            raise AccuracyTableError(
                f"{path} cannot be written ({error.strerror}): choose another --out"
            ) from error

    def lookup(self, split: str, xi: float, bits: int) -> AccuracyRow:
        """The row of exactly this choice.

        Raises:
            AccuracyTableError: it was not measured; the message says what was.
        """
        of_split = [row for row in self.rows if row.split == split]
        if not of_split:
            known = ", ".join(dict.fromkeys(row.split for row in self.rows))
            raise AccuracyTableError(f"no split point {split!r} in the table: choose from {known}")
        for row in of_split:
            if abs(row.xi - xi) < _SAME_XI and row.bits == bits:
                return row
        known = ", ".join(f"{row.xi:g} ({row.bits} bits)" for row in of_split)
        raise AccuracyTableError(
            f"split point {split!r} was not measured at xi {xi:g}, {bits} bits: choose from {known}"
        )


def _corrupt(path: Path, reason: str) -> AccuracyTableError:
    return AccuracyTableError(
        f"{path} is corrupt ({reason}): run python -m partition.train_attention again"
    )


def _parse(path: Path, data: object) -> AccuracyTable:
    if not isinstance(data, dict):
        raise _corrupt(path, f"it holds a {type(data).__name__}, not an object")
    version = data.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise AccuracyTableError(
            f"{path} is of schema {version!r}, this version reads {SCHEMA_VERSION}: "
            "run python -m partition.train_attention again"
        )
    try:
        _check_names(data, AccuracyTable)
        rows = tuple(_parse_row(row) for row in data["rows"])
        for name in ("model", "fingerprint", "data", "command"):
            _check(isinstance(data[name], str), name, data[name])
        for name in ("n_test", "n_validation"):
            _check(_is_count(data[name]) and data[name] > 0, name, data[name])
        for name in ("whole_accuracy", "whole_validation_accuracy"):
            _check(_is_share(data[name]), name, data[name])
        _check(isinstance(data["appeals"], dict), "appeals", data["appeals"])
        _check(bool(rows), "rows", "none")
        keys = [(row.split, row.xi, row.bits) for row in rows]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        _check(twice is None, "rows", f"{twice} twice")
    except (TypeError, ValueError, KeyError) as error:
        raise _corrupt(path, str(error)) from error
    return AccuracyTable(**{**data, "rows": rows})


def _parse_row(data: object) -> AccuracyRow:
    if not isinstance(data, dict):
        raise TypeError(f"a row is a {type(data).__name__}")
    _check_names(data, AccuracyRow)
    _check(isinstance(data["split"], str), "split", data["split"])
    _check(data["bits"] in quantisers.all_bits() and _is_count(data["bits"]), "bits", data["bits"])
    for name in _SHARES:
        _check(_is_share(data[name]), name, data[name])
    for name in _COUNTS:
        _check(_is_count(data[name]), name, data[name])
    _check(data["low"] <= data["accuracy"] <= data["high"], "interval", data["accuracy"])
    _check(data["sent_channels"] <= data["channels"], "sent_channels", data["sent_channels"])
    return AccuracyRow(**data)


def _check_names(data: dict[str, Any], kind: type) -> None:
    names = {f.name for f in fields(kind)}
    wrong = names ^ data.keys()
    if wrong:
        raise ValueError(f"{kind.__name__} lacks or does not know {', '.join(sorted(wrong))}")


def _check(good: bool, name: str, value: object) -> None:
    if not good:
        raise ValueError(f"{name} is {value!r}")


def _is_share(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1  # type: ignore[arg-type, operator]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
