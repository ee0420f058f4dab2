"""What fits to measurements find out about one board, as its device file holds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from hw.calibrate.boards import Fitted
from hw.calibrate.measured.shares import ClocksHz
from hw.calibrate.report import BarRow, Point
from hw.device.latency import Demand, NetworkScaling
from hw.device.runtime import Activity
from hw.device.written import rounded, written

FIRST = "tensorrt-fp16"
"""Taken where none is named and a board has it: its answers are nearly those of float32."""


@dataclass(slots=True)
class FoundRuntime:
    """A run-time as it is put together: see `hw.device.runtime.RuntimeTable`."""

    measured: str
    assumed: str
    network: NetworkScaling | None = None
    factor: float | None = None
    of: str | None = None
    activity: Activity | None = None

    def table(self) -> dict[str, Any]:
        """The run-time's part of a device file."""
        found: dict[str, Any] = {"measured": self.measured, "assumed": self.assumed}
        if self.network is not None:
            found["network"] = written(self.network)
        if self.factor is not None:
            found |= {**rounded({"factor": self.factor}), "of": self.of}
        if self.activity is not None:
            found["activity"] = written(self.activity)
        return found


@dataclass(slots=True)
class BoardFit:
    """What was found out about a board.

    Attributes:
        top: its highest clocks.
        runtimes: by name, the one to take first at the beginning.
        workloads: measured networks by name.
        power: keys of the power model that were fitted.
        validated_on: sentences.
        bars: errors beside what they should be.
        points: single values for the picture and the tables.
    """

    top: ClocksHz
    runtimes: dict[str, FoundRuntime] = field(default_factory=dict)
    workloads: dict[str, Demand] = field(default_factory=dict)
    power: dict[str, float] = field(default_factory=dict)
    validated_on: list[str] = field(default_factory=list)
    bars: list[BarRow] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)

    def parts(self) -> Fitted:
        """Parts of the device file; run-times whose precision costs no accuracy come first."""
        names = sorted(self.runtimes, key=lambda name: name != FIRST)
        return Fitted(
            runtimes={name: self.runtimes[name].table() for name in names},
            workloads={name: rounded(asdict(it)) for name, it in sorted(self.workloads.items())},
            power=rounded(self.power),
            validated_on=tuple(self.validated_on),
        )
