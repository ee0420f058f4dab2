"""Plan of a placement: which device runs which stage, and the times and energy it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStage:
    """Blocks between two cuts, and where they run."""

    start: int
    """First cut, an index into `ModelFolder.cuts`."""
    end: int
    """Last cut."""
    first_block: str
    last_block: str
    devices: tuple[str, ...]
    """More than one take frames in turn."""
    compute_s: float
    """Seconds per frame of one device, the slowest, decoding and encoding included."""
    period_s: float
    """The same, shared by the replicas."""
    receive_s: float
    """Seconds of the transfer to it, per frame, shared by the replicas."""
    received_bytes: int
    memory_bytes: int
    """What the stage needs on each device."""
    free_bytes: int
    """What the smallest of its devices has for it."""
    clock_hz: float | None
    """None: clocks are left alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A placement, and what is proved about it."""

    objective: str
    """throughput, latency or energy."""
    stages: tuple[PlannedStage, ...]
    encode_s: float
    """Seconds that the source is busy with the input of a frame before it sends it; 0 where the
    first stage is on it."""
    send_s: float
    """Seconds of the output's way to the sink; 0 without one."""
    period_s: float
    """The bottleneck: longest of all stages and transfers."""
    latency_s: float
    """From input to output of a frame that waits nowhere."""
    energy_j: float | None
    """Per inference at the wished rate; None where that was not asked for."""
    bound: float
    """No placement has less of the objective: seconds of period or latency, or joules."""
    binding: str
    """What the bottleneck is, in words."""

    @property
    def value(self) -> float:
        """What the objective counts: seconds of period or latency, or joules."""
        if self.objective == "energy":
            return float(self.energy_j or 0.0)
        return self.period_s if self.objective == "throughput" else self.latency_s

    @property
    def proved(self) -> bool:
        """Whether no placement is better."""
        return self.value <= self.bound * (1 + 1e-12)

    @property
    def gap(self) -> float:
        """How much more than the bound, relative; inf while nothing is proved."""
        if self.proved:
            return 0.0
        return self.value / self.bound - 1.0 if self.bound > 0 else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`."""
        gap = self.gap if self.gap < float("inf") else None
        return {**asdict(self), "value": self.value, "proved": self.proved, "gap": gap}
