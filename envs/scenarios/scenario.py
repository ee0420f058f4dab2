"""Scenario of a board: link, server, arrivals, air, requests, faults, battery.

A scenario is a TOML file, shipped in `envs/scenarios/` or brought by the user; `docs/scenarios.md`
describes it. `envs.scenarios.episodes` draws whole episodes from it in advance, so that every
policy can be judged on the same ones.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from common.schema import read_toml
from envs.errors import ScenarioError
from envs.scenarios.jump_processes import OnOff, Weibull
from envs.scenarios.link_trace import read_trace
from envs.scenarios.scenario_file import (
    ARRIVAL_SCV,
    BACK_TO_BACK,
    SCHEMA_VERSION,
    Battery,
    ScenarioFile,
    VaryingTable,
)
from envs.scenarios.signals import Recording, Signal

SCENARIO_DIR = Path(__file__).parent


class Key(NamedTuple):
    """Where a signal stands in a scenario file, and what makes its unit one of SI."""

    table: str
    key: str
    factor: float


SIGNALS = {
    "link_bps": Key("link", "rate_mbps", 1e6),
    "rtt_s": Key("link", "rtt_ms", 1e-3),
    "server_load": Key("server", "load", 1.0),
    "arrival_hz": Key("arrivals", "rate_hz", 1.0),
    "ambient_c": Key("ambient", "temperature_c", 1.0),
    "latency_target_s": Key("requests", "latency_target_ms", 1e-3),
    "slowdown": Key("board", "slowdown", 1.0),
    "decision_s": Key("board", "decision_ms", 1e-3),
    "hidden_load": Key("server", "hidden_load", 1.0),
    "background_load": Key("board", "background_load", 1.0),
    "resistance_scale": Key("ambient", "resistance_scale", 1.0),
    "temperature_bias_c": Key("faults", "temperature_bias_c", 1.0),
    "battery_level": Key("battery", "level", 1.0),
}
"""Signals by the name of their quantity in SI units."""
UNTIL_ANSWERED = Signal(quantiles=(1.0,))
"""Request rate that answers will set, before there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """Times of more requests.

    Attributes:
        factor: on the request rate.
        times: when.
    """

    factor: float
    times: OnOff


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Operating conditions of a board over an episode, as random processes.

    Attributes:
        name: file stem.
        description: one sentence.
        eta: weight of energy against time in the cost, 0..1 (Zeus, NSDI 2023; DVFO).
        radio_w: extra power while the radio sends, W.
        radio_w_per_bps: its growth with the link rate, W per bit/s.
        server_flops_per_s: speed of the idle server.
        server_j_per_request: energy of the server for each request that it answers, where it counts
            as the board's does.
        server_j_per_flop: and for each operation of them.
        picture_bytes: of a request's picture as it comes, a JPEG file, where it is sent like that;
            0 where pictures come as pixels, or none.
        arrivals: "periodic" like a camera, "poisson", "bursty": a Poisson process with bursts, or
            "back-to-back": each request when the one before has its answer.
        signals: the signals of `SIGNALS` in SI units.
        burst: of the requests, if they are bursty.
        targets: latency targets that every control step draws again, in place of the signal's.
        link_dropout: times without an update of the link's estimate.
        power_stuck: times at which the power reading does not change.
        battery: if the board runs on one.
    """

    name: str
    description: str
    eta: float
    radio_w: float
    radio_w_per_bps: float
    server_flops_per_s: float
    server_j_per_request: float
    server_j_per_flop: float
    picture_bytes: int
    arrivals: str
    signals: dict[str, Signal | Recording] = field(repr=False)
    burst: Burst | None = None
    targets: Weibull | None = None
    link_dropout: OnOff | None = None
    power_stuck: OnOff | None = None
    battery: Battery | None = None

    @property
    def arrival_scv(self) -> float:
        """Squared coefficient of variation of the time between requests."""
        return ARRIVAL_SCV[self.arrivals]

    @property
    def is_back_to_back(self) -> bool:
        """Whether requests come as answers do."""
        return self.arrivals == BACK_TO_BACK

    @classmethod
    def load(cls, name_or_path: str) -> Scenario:
        """Read a shipped scenario by name or any TOML file by path.

        Raises:
            ScenarioError: unknown name, or a malformed file.
        """
        path = Path(name_or_path)
        if path.suffix != ".toml":
            path = SCENARIO_DIR / f"{name_or_path}.toml"
            if name_or_path not in scenario_names():
                raise ScenarioError(
                    f"unknown scenario {name_or_path!r}; choose one of "
                    f"{', '.join(scenario_names())} or give a .toml file"
                )
        file = read_toml(path, ScenarioFile, "scenario file", ScenarioError, SCHEMA_VERSION)
        try:
            return cls._of(path, file)
        except ValueError as error:
            raise ScenarioError(f"{path}: {error}") from None

    @classmethod
    def _of(cls, path: Path, file: ScenarioFile) -> Scenario:
        targets, arrivals = file.requests.targets, file.arrivals
        burst = None
        if arrivals.burst_factor is not None and arrivals.bursts is not None:
            burst = Burst(factor=arrivals.burst_factor, times=arrivals.bursts)
        signals: dict[str, Signal | Recording] = {}
        for name, where in SIGNALS.items():
            table = getattr(file, where.table)
            values = 1.0 if table is None else getattr(table, where.key)  # no battery: always full
            if values is not None:
                signals[name] = _signal(values, where)
        signals.setdefault("arrival_hz", UNTIL_ANSWERED)
        if targets is not None:
            signals["latency_target_s"] = Signal(quantiles=(targets.low,))
        if file.link.trace is not None:
            series = read_trace(path.parent / file.link.trace, file.link.trace_where)
            signals["link_bps"] = Recording(series=tuple(series))
        return cls(
            name=os.fsencode(path.stem).decode("utf-8", "replace"),
            description=file.description,
            eta=file.eta,
            radio_w=file.link.radio_w,
            radio_w_per_bps=file.link.radio_w_per_mbps * 1e-6,
            server_flops_per_s=file.server.gflop_per_s * 1e9,
            server_j_per_request=file.server.j_per_request,
            server_j_per_flop=1e-9 * file.server.j_per_gflop,
            picture_bytes=file.requests.picture_bytes,
            arrivals=arrivals.kind,
            signals=signals,
            burst=burst,
            targets=targets,
            link_dropout=file.faults.link_dropout,
            power_stuck=file.faults.power_stuck,
            battery=file.battery,
        )


def scenario_names() -> list[str]:
    """Names of the shipped scenarios."""
    return sorted(path.stem for path in SCENARIO_DIR.glob("*.toml"))


def _signal(values: Any, where: Key) -> Signal:
    """Of a number, a list of quantiles, or a table of them."""
    correlation_time_s = math.inf
    if isinstance(values, VaryingTable):
        values, correlation_time_s = values.quantiles, values.correlation_time_s
    quantiles = values if isinstance(values, tuple) else (values,)
    try:
        return Signal(
            quantiles=tuple(value * where.factor for value in quantiles),
            correlation_time_s=correlation_time_s,
        )
    except ValueError as error:
        raise ValueError(f"{where.table}.{where.key} is no signal: {error}") from None
