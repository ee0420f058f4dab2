"""A comparison's rows as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from agents.errors import AgentError
from agents.evaluation.statistics import Interval
from benchmarks.policies.table import SpeedRow, TableRow


def write_rows(path: Path, table: Sequence[TableRow]) -> None:
    """Write the rows, three columns for each interval."""
    _write(path, map(_flat, table))


def write_speeds(path: Path, speed: Sequence[SpeedRow]) -> None:
    """Write how long each decider takes."""
    _write(path, map(asdict, speed))


def read_rows(path: Path) -> list[TableRow]:
    """Read what `write_rows` wrote.

    Raises:
        AgentError: there is no such file, or it is another.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            table = [_row(line) for line in csv.DictReader(stream)]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise AgentError(
            f"{path} is no table of a comparison ({error}): give a benchmark.csv"
        ) from error
    if not table:
        raise AgentError(f"{path} has no rows: give a benchmark.csv")
    return table


def _flat(row: TableRow) -> dict[str, object]:
    found: dict[str, object] = {}
    for field in fields(TableRow):
        value = getattr(row, field.name)
        if isinstance(value, Interval):
            found[field.name] = _short(value.mean)
            found[f"{field.name}_low"] = _short(value.low)
            found[f"{field.name}_high"] = _short(value.high)
        else:
            found[field.name] = _short(value) if isinstance(value, float) else value
    return found


def _row(line: dict[str, str]) -> TableRow:
    values: dict[str, Any] = {}
    for field in fields(TableRow):
        text = line[field.name]
        if f"{field.name}_low" in line:
            ends = (float(line[f"{field.name}_{end}"]) for end in ("low", "high"))
            values[field.name] = Interval(float(text), *ends)
        else:
            values[field.name] = _KINDS_OF_COLUMN.get(field.name, str)(text)
    return TableRow(**values)


_KINDS_OF_COLUMN = {"pooled_p95_latency_s": float, "n_seeds": int}


def _short(value: float) -> str:
    return f"{value:.6g}"


def _write(path: Path, lines: Iterable[dict[str, object]]) -> None:
    lines = list(lines)
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    os.replace(scratch, path)
