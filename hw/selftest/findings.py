"""Findings of a self-test, and the one file that holds them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hw.doctor.privacy import Secrets
from hw.doctor.tree import Tree

FORMAT = 1
"""Of the file; higher when what is in it means something else."""


class Verdict(Enum):
    """What became of a check, the best first."""

    PASSED = "pass"
    UNTOLD = "could not"
    FAILED = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the result.

    Attributes:
        name: what was checked.
        verdict: what became of it.
        text: figures, or the reason.
    """

    name: str
    verdict: Verdict
    text: str


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of some verdicts."""
    order = list(Verdict)
    return max(verdicts, key=order.index)


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A request of a clock, and what was seen of it.

    Attributes:
        domain: name of the clock.
        hold: how it was held.
        end: "lowest" or "highest".
        requested_hz: operating point that was asked for.
        applied_hz: what was read back.
        cause: who won where they differ.
        write_s: time until the request was written and read back.
        seen_s: time from the request until the clock itself was there; None if it never was.
        seen_hz: the clock itself, when it was there or when waiting for it ended.
        read_s: time that reading the clock took.
    """

    domain: str
    hold: str
    end: str
    requested_hz: int
    applied_hz: int
    cause: str | None
    write_s: float
    seen_s: float | None
    seen_hz: int | None
    read_s: float


@dataclass(frozen=True, slots=True)
class RailSeries:
    """Many readings of one rail in a row.

    Attributes:
        rail: its name.
        is_counter: whether it counts energy instead of showing power.
        told_period_s: time between two new readings, as it is taken for.
        seen_period_s: shortest time between two changes; None where it hardly changed.
        n_reads: readings that were tried.
        n_failed: those that failed.
        problem: of the first that failed.
        read_s: time that a reading took, median.
        longest_read_s: the longest.
        lowest_w: of all readings; None for none.
        highest_w: of all readings; None for none.
    """

    rail: str
    is_counter: bool
    told_period_s: float
    seen_period_s: float | None
    n_reads: int
    n_failed: int
    problem: str | None
    read_s: float
    longest_read_s: float
    lowest_w: float | None
    highest_w: float | None


@dataclass(frozen=True, slots=True)
class PowerWindow:
    """Power while one clock was pinned at one end.

    Attributes:
        domain: name of the clock.
        end: "lowest" or "highest".
        is_loaded: whether all processors were busy.
        clock_hz: the clock itself, at the end of the window.
        reading: the energy reading, by the names of its fields.
    """

    domain: str
    end: str
    is_loaded: bool
    clock_hz: int | None
    reading: Mapping[str, Any]

    @property
    def power_w(self) -> float:
        """Mean power of the total, W."""
        return float(self.reading["energy_j"] / self.reading["duration_s"])

    @property
    def error_w(self) -> float:
        """Its largest error, W."""
        return float(self.reading["uncertainty_j"] / self.reading["duration_s"])


@dataclass(frozen=True, slots=True)
class ZoneFacts:
    """A thermal zone.

    Attributes:
        name: of the zone.
        temperature_c: at the start; None where it could not be read.
        limit_c: temperature at which this project takes it to slow down; None for none.
        trips: kind, temperature and what is bound, by the names of `Trip`'s fields.
    """

    name: str
    temperature_c: float | None
    limit_c: float | None
    trips: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Findings:
    """Everything that a self-test has found so far.

    Attributes:
        machine: name that its firmware reports.
        date: UTC, "2026-11-29".
        versions: of what takes part, by name.
        load: what kept the processors busy, in words.
        tree: files of the machine as they were at first.
        checks: results, in the order in which they came.
        steps, series, windows, zones: see these classes.
        total: names of the rails that together are what the board draws.
        throttled: why clocks are or were held down, before and after.
        jtop_w: power of each rail by jetson-stats; None where it was not asked.
        settings: text of everything that may have been changed, before and after.
        warnings: what the board said meanwhile.
        ended_by: why it ended early; None if it did not.
    """

    machine: str
    date: str
    versions: Mapping[str, str]
    load: str
    tree: Tree = field(default_factory=Tree)
    checks: list[Check] = field(default_factory=list)
    steps: list[ClockStep] = field(default_factory=list)
    series: list[RailSeries] = field(default_factory=list)
    windows: list[PowerWindow] = field(default_factory=list)
    zones: list[ZoneFacts] = field(default_factory=list)
    total: tuple[str, ...] = ()
    throttled: dict[str, list[str]] = field(default_factory=dict)
    jtop_w: Mapping[str, float] | None = None
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    ended_by: str | None = None

    @property
    def has_failed(self) -> bool:
        """Whether a check has failed."""
        return any(check.verdict is Verdict.FAILED for check in self.checks)

    def document(self, secrets: Secrets) -> dict[str, Any]:
        """All of it as JSON holds it, without what is private."""
        found = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("machine", "date", "versions", "load")},
            "ended_by": self.ended_by,
            "checks": [{**asdict(c), "verdict": c.verdict.value} for c in self.checks],
            **{
                name: [asdict(item) for item in getattr(self, name)]
                for name in ("steps", "series", "windows", "zones")
            },
            **{name: getattr(self, name) for name in ("total", "throttled", "jtop_w", "settings")},
            "warnings": self.warnings,
            "tree": self.tree.document(),
        }
        cleaned: dict[str, Any] = secrets.removed_from(found)
        return cleaned

    @property
    def file_name(self) -> str:
        """Name of the file if none is given."""
        board = re.sub(r"[^a-z0-9]+", "-", self.machine.lower()).strip("-")
        return f"dvfo-selftest-{board[:60]}-{self.date}.json"


def save(document: Mapping[str, Any], file: Path, own: Callable[[int], object]) -> None:
    """Write a document, as a whole or not at all.

    Args:
        document: as JSON holds it.
        file: where it goes; replaced if it is there.
        own: gives the open file to whom it belongs.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            os.fchmod(stream.fileno(), 0o644)
            own(stream.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
