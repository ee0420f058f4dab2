"""Form of a scenario file; bounds are in the file's units, which `docs/scenarios.md` describes."""

from __future__ import annotations

from typing import Annotated, Generic, TypeAlias, TypeVar

from msgspec import Meta

from common.schema import Share, Table, Text, shown
from envs.scenarios.jump_processes import OnOff, Weibull

SCHEMA_VERSION = 2
BACK_TO_BACK = "back-to-back"
"""Kind of requests each of which comes when the one before has its answer."""
ARRIVAL_SCV = {"periodic": 0.0, "poisson": 1.0, "bursty": 1.0, BACK_TO_BACK: 0.0}
"""Squared coefficient of variation of the time between requests, outside of bursts."""

NumberT = TypeVar("NumberT")


class VaryingTable(Table, Generic[NumberT], frozen=True):
    """What changes all the time."""

    quantiles: Annotated[tuple[NumberT, ...], Meta(min_length=1)]
    correlation_time_s: Annotated[float, Meta(ge=0.01, le=1e9)]


Values: TypeAlias = (
    NumberT | Annotated[tuple[NumberT, ...], Meta(min_length=1)] | VaryingTable[NumberT]
)
"""Of a signal."""
Load = Annotated[float, Meta(ge=0.0, le=0.99)]
Duration = Annotated[float, Meta(ge=0.0, le=1e4)]
Target = Annotated[float, Meta(ge=1.0, le=1e5)]


class _Link(Table, frozen=True):
    rtt_ms: Values[Duration]
    radio_w: Annotated[float, Meta(ge=0.0, le=20.0)]
    radio_w_per_mbps: Share
    rate_mbps: Values[Annotated[float, Meta(ge=0.0, le=1e5)]] | None = None
    trace: Text | None = None
    trace_where: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it

    def __post_init__(self) -> None:
        """Refuse two rates, and none, and a choice among the recordings of no file."""
        _check_one("rate_mbps", self.rate_mbps, "trace", self.trace)
        if self.trace_where and self.trace is None:
            raise ValueError("trace_where chooses from a trace, and none is given; remove it")


class _Server(Table, frozen=True):
    gflop_per_s: Annotated[float, Meta(ge=0.1, le=1e6)]
    load: Values[Load]
    hidden_load: Values[Load] = 0.0
    j_per_request: Annotated[float, Meta(ge=0.0, le=1e5)] = 0.0
    j_per_gflop: Annotated[float, Meta(ge=0.0, le=1e5)] = 0.0


class _Arrivals(Table, frozen=True):
    kind: Text
    rate_hz: Values[Annotated[float, Meta(ge=0.1, le=1e3)]] | None = None
    burst_factor: Annotated[float, Meta(ge=1.0, le=100.0)] | None = None
    bursts: OnOff | None = None

    def __post_init__(self) -> None:
        """Refuse unknown kinds, and keys that are missing for a kind or mean nothing for it."""
        if self.kind not in ARRIVAL_SCV:
            raise ValueError(f"kind is {shown(self.kind)}; choose one of {', '.join(ARRIVAL_SCV)}")
        if self.rate_hz is None and self.kind != BACK_TO_BACK:
            raise ValueError("rate_hz is missing; add it")
        if self.rate_hz is not None and self.kind == BACK_TO_BACK:
            raise ValueError(f"rate_hz is not for kind {BACK_TO_BACK!r}: answers set it; remove it")
        for key, value in (("burst_factor", self.burst_factor), ("bursts", self.bursts)):
            if self.kind == "bursty" and value is None:
                raise ValueError(f"{key} is missing; add it")
            if self.kind != "bursty" and value is not None:
                raise ValueError(f"{key} is for kind 'bursty', not {self.kind!r}; remove it")


class _Ambient(Table, frozen=True):
    temperature_c: Values[Annotated[float, Meta(ge=-40.0, le=85.0)]]
    resistance_scale: Values[Annotated[float, Meta(ge=0.1, le=10.0)]] = 1.0


class _Weibull(Table, frozen=True):
    low_ms: Target
    scale_ms: Annotated[float, Meta(ge=0.0, le=1e5)]
    shape: Annotated[float, Meta(ge=0.1, le=100.0)]


class _Requests(Table, frozen=True):
    latency_target_ms: Values[Target] | None = None
    weibull: _Weibull | None = None
    picture_bytes: Annotated[int, Meta(ge=0, le=10**9)] = 0

    def __post_init__(self) -> None:
        """Refuse two kinds of target, and none."""
        _check_one("latency_target_ms", self.latency_target_ms, "weibull", self.weibull)

    @property
    def targets(self) -> Weibull | None:
        """In seconds."""
        given = self.weibull
        if given is None:
            return None
        return Weibull(low=given.low_ms * 1e-3, scale=given.scale_ms * 1e-3, shape=given.shape)


class _Board(Table, frozen=True):
    slowdown: Values[Annotated[float, Meta(ge=1.0, le=100.0)]]
    decision_ms: Values[Duration]
    background_load: Values[Annotated[float, Meta(ge=0.0, le=0.95)]] = 0.0


class _Faults(Table, frozen=True):
    temperature_bias_c: Values[Annotated[float, Meta(ge=-50.0, le=50.0)]] = 0.0
    link_dropout: OnOff | None = None
    power_stuck: OnOff | None = None


class Battery(Table, frozen=True):
    """Energy that runs out. Below `low_level`, energy weighs more and more, at 0 nothing else.

    Attributes:
        capacity_wh: energy of the full battery.
        low_level: charge, 0..1, below which it is spared.
        level: charge at the beginning, a signal.
    """

    capacity_wh: Annotated[float, Meta(ge=1e-3, le=1e5)]
    low_level: Annotated[float, Meta(ge=1e-3, le=1.0)]
    level: Values[Share] = 1.0

    @property
    def capacity_j(self) -> float:
        """Energy of the full battery."""
        return self.capacity_wh * 3600.0


class ScenarioFile(Table, frozen=True):
    """All of it."""

    schema_version: int
    description: Text
    eta: Share
    link: _Link
    server: _Server
    arrivals: _Arrivals
    ambient: _Ambient
    requests: _Requests
    board: _Board
    faults: _Faults = _Faults()
    battery: Battery | None = None


def _check_one(key: str, value: object, other_key: str, other: object) -> None:
    if value is None and other is None:
        raise ValueError(f"{key} is missing; add it")
    if value is not None and other is not None:
        raise ValueError(f"{other_key} and {key} exclude each other; keep one")
