"""Samples on disk, line by line, so that a measurement that was cut goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from common.schema import Text
from envs.calibration.samples import Piece, Sample
from envs.errors import CalibrationError

PLAN = b'{"plan":'
"""Beginning of the line of a plan."""
PlannedPoint = tuple[Piece, dict[str, int]]
"""A piece and the clocks to measure it at, Hz."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the samples belong to.

    Attributes:
        board: name and fingerprint of its clocks.
        model: name of the network and fingerprint of its cuts.
        runtime: what runs it.
        seed: of the plan.
    """

    board: Text
    model: Text
    runtime: Text
    seed: int


class _Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plan: list[PlannedPoint]
    minutes: float


class Record:
    """A file of one measurement: its header, a line for each sample, and plans of more of them.

    Args:
        path: of the file; what it holds already is read.
        header: of this measurement.

    Attributes:
        plan: what is to be measured in this order.
        minutes: that it is for.
        samples: that were taken, in the order of the plan.

    Raises:
        CalibrationError: the file holds another measurement, or is none.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        self.plan: list[PlannedPoint] = []
        self.minutes = 0.0
        self.samples: list[Sample] = []
        lines = self._lines()
        if not lines:
            self._write(msgspec.json.encode(header), "wb")
            return
        if lines[0] != msgspec.json.encode(header):
            raise CalibrationError(
                f"{path} holds another measurement (its first line says of what); give another "
                "--out, or remove it"
            )
        try:
            for line in lines[1:]:
                if line.startswith(PLAN):
                    self._take(msgspec.json.decode(line, type=_Plan))
                else:
                    self.samples.append(msgspec.json.decode(line, type=Sample))
        except msgspec.DecodeError as error:
            raise CalibrationError(f"{path} is damaged ({error}); remove it") from None

    def extend(self, plan: Sequence[PlannedPoint], minutes: float) -> None:
        """Keep what is to be measured after all that is planned already.

        Args:
            plan: in this order.
            minutes: that it is for.
        """
        more = _Plan(list(plan), minutes)
        self._take(more)
        self._write(msgspec.json.encode(more), "ab")

    def add(self, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.append(sample)
        self._write(msgspec.json.encode(sample), "ab")

    def _take(self, more: _Plan) -> None:
        self.plan += more.plan
        self.minutes += more.minutes

    def _lines(self) -> list[bytes]:
        """Whole lines; one that was cut short is cut off, for others will follow it."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            self.path.write_bytes(whole)
        return whole.splitlines()

    def _write(self, line: bytes, mode: str) -> None:
        with self.path.open(mode) as file:
            file.write(line + b"\n")
