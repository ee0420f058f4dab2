"""Measured accuracy of every (split point, xi, bits): `accuracy.json` of a model folder.

Needs no graph library, so that the environment can read it. Schema 1::

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
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, field, to_builtins

from common.schema import Count, Share, Table, convert
from partition import json_file
from partition.codec import quantisers
from partition.errors import PartitionError

SCHEMA_VERSION = 1
ACCURACY_FILE = "accuracy.json"
_SAME_XI = 1e-6


class AccuracyTableError(PartitionError):
    """An accuracy table is missing, corrupt, of another model, or lacks a row."""


class AccuracyRow(Table, frozen=True):
    """One way to serve an image, and what came of it on the test images."""

    split: str
    """Name of the split point in the model folder."""
    xi: Share
    """Share of channels sent."""
    bits: int
    """Of a sent value."""
    accuracy: Share
    """Share of the test images that were classified correctly."""
    low: Share
    """95 % interval of `accuracy` (Wilson)."""
    high: Share
    validation_accuracy: Share
    """To choose by; the test images are for reporting."""
    edge_weight: Share
    """lambda: weight of the edge's logits in the answer."""
    channels: Count
    sent_channels: Count
    wire_bytes: Count
    """Uplink, headers included."""
    float32_bytes: Count
    """Of the whole cut tensor."""
    edge_flops: Count
    """Head, attention and light branch."""
    cloud_flops: Count

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other."""
        if self.bits not in quantisers.all_bits():
            known = " or ".join(map(str, sorted(quantisers.all_bits())))
            raise ValueError(f"bits is {self.bits}; use {known}")
        if not self.low <= self.accuracy <= self.high:
            raise ValueError(f"accuracy is {self.accuracy}, outside {self.low} to {self.high}")
        if self.sent_channels > self.channels:
            raise ValueError(f"sent_channels is {self.sent_channels}, more than {self.channels}")


class AccuracyTable(Table, frozen=True):
    """All rows of one model."""

    model: str
    fingerprint: str
    """Of the model folder."""
    data: str
    command: str
    n_test: Annotated[int, Meta(ge=1)]
    n_validation: Annotated[int, Meta(ge=1)]
    whole_accuracy: Share
    """Of the unsplit float32 network on the same test images."""
    whole_validation_accuracy: Share
    rows: Annotated[tuple[AccuracyRow, ...], Meta(min_length=1)]
    appeals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Early exit per split point: see `partition.attention.appeals`."""

    def __post_init__(self) -> None:
        """Refuse a choice that was measured twice."""
        keys = [(row.split, row.xi, row.bits) for row in self.rows]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"rows has {twice[0]} twice")

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
        text = json.dumps({"schema_version": SCHEMA_VERSION, **to_builtins(self)}, indent=1)
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
    version = data.pop("schema_version", None) if isinstance(data, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise AccuracyTableError(
            f"{path} is of schema {version!r}, this version reads {SCHEMA_VERSION}: "
            "run python -m partition.train_attention again"
        )
    try:
        return convert(data, AccuracyTable)
    except ValueError as error:
        raise _corrupt(path, str(error)) from error
