"""What happens around a board: link, server, arrivals, air, requests, faults, battery.

A scenario is a TOML file, shipped in `envs/scenarios/` or brought by the user; `docs/scenarios.md`
describes it. `envs.scenarios.episodes` draws whole episodes from it in advance, so that every
policy can be judged on the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from envs.errors import ScenarioError
from envs.scenarios.jump_processes import OnOff, Weibull
from envs.scenarios.link_trace import read_trace
from envs.scenarios.signals import Recording, Signal
from hw.device.toml_table import TomlTable

SCENARIO_DIR = Path(__file__).parent
SCHEMA_VERSION = 2
ARRIVAL_SCV = {"periodic": 0.0, "poisson": 1.0, "bursty": 1.0}
"""Squared coefficient of variation of the time between requests, outside of bursts."""
TABLES = ("link", "server", "arrivals", "ambient", "requests", "board")
OPTIONAL_TABLES = ("faults", "battery")


class Key(NamedTuple):
    """Where a signal stands in a scenario file; bounds are in the file's unit.

    A signal with a default may be left out.
    """

    table: str
    key: str
    low: float
    high: float
    factor: float
    default: float | None = None


SIGNALS = {
    "link_bps": Key("link", "rate_mbps", 0.0, 1e5, 1e6),
    "rtt_s": Key("link", "rtt_ms", 0.0, 1e4, 1e-3),
    "server_load": Key("server", "load", 0.0, 0.99, 1.0),
    "arrival_hz": Key("arrivals", "rate_hz", 0.1, 1e3, 1.0),
    "ambient_c": Key("ambient", "temperature_c", -40.0, 85.0, 1.0),
    "latency_target_s": Key("requests", "latency_target_ms", 1.0, 1e5, 1e-3),
    "slowdown": Key("board", "slowdown", 1.0, 100.0, 1.0),
    "decision_s": Key("board", "decision_ms", 0.0, 1e4, 1e-3),
    "hidden_load": Key("server", "hidden_load", 0.0, 0.99, 1.0, 0.0),
    "background_load": Key("board", "background_load", 0.0, 0.95, 1.0, 0.0),
    "resistance_scale": Key("ambient", "resistance_scale", 0.1, 10.0, 1.0, 1.0),
    "temperature_bias_c": Key("faults", "temperature_bias_c", -50.0, 50.0, 1.0, 0.0),
    "battery_level": Key("battery", "level", 0.0, 1.0, 1.0, 1.0),
}
"""Signals by the name of their quantity in SI units."""


class ScenarioTable(TomlTable):
    """A table of a scenario file."""

    file_kind = "scenario file"
    error_class = ScenarioError


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
class Battery:
    """Energy that runs out. Below `low_level`, energy weighs more and more, at 0 nothing else.

    Attributes:
        capacity_j: energy of the full battery.
        low_level: charge, 0..1, below which it is spared.
    """

    capacity_j: float
    low_level: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Surroundings of a board.

    Attributes:
        name: file stem.
        description: one sentence.
        eta: weight of energy against time in the cost, 0..1 (Zeus, NSDI 2023; DVFO).
        radio_w: extra power while the radio sends, W.
        radio_w_per_bps: its growth with the link rate, W per bit/s.
        server_flops_per_s: speed of the idle server.
        arrivals: "periodic" like a camera, "poisson", or "bursty": a Poisson process with bursts.
        signals: the signals of `SIGNALS` in SI units.
        burst: of the requests, if they are bursty.
        targets: latency targets that every control step draws anew, in place of the signal's.
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
        return cls._parse(path.stem, ScenarioTable.load(path))

    @classmethod
    def _parse(cls, name: str, root: ScenarioTable) -> Scenario:
        version = root.number("schema_version", low=1, high=1e6)
        if version != SCHEMA_VERSION:
            raise root.error(
                "schema_version",
                f"is {version:g}; this version reads {SCHEMA_VERSION}, see docs/scenarios.md",
            )
        tables = {key: root.table(key) for key in TABLES}
        tables |= {key: root.table(key) for key in OPTIONAL_TABLES if root.holds_table(key)}
        targets = _read_targets(tables["requests"])
        signals = {
            signal: _read_signal(tables.get(key.table), key)
            for signal, key in SIGNALS.items()
            if signal != "latency_target_s" or targets is None
        }
        if targets is not None:
            signals["latency_target_s"] = Signal(quantiles=(targets.low,))
        arrivals, burst = _read_arrivals(tables["arrivals"])
        faults = tables.get("faults")
        scenario = cls(
            name=name,
            description=root.text("description"),
            eta=root.number("eta", high=1.0),
            radio_w=tables["link"].number("radio_w", low=0.0, high=20.0),
            radio_w_per_bps=tables["link"].number("radio_w_per_mbps", low=0.0, high=1.0) * 1e-6,
            server_flops_per_s=tables["server"].number("gflop_per_s", low=0.1, high=1e6) * 1e9,
            arrivals=arrivals,
            signals=signals,
            burst=burst,
            targets=targets,
            link_dropout=_read_times(faults, "link_dropout"),
            power_stuck=_read_times(faults, "power_stuck"),
            battery=_read_battery(tables.get("battery")),
        )
        for table in (root, *tables.values()):
            table.finish()
        return scenario


def scenario_names() -> list[str]:
    """Names of the shipped scenarios."""
    return sorted(path.stem for path in SCENARIO_DIR.glob("*.toml"))


def _read_signal(table: ScenarioTable | None, where: Key) -> Signal | Recording:
    key = where.key
    if table is None or (where.default is not None and key not in table.names()):
        return Signal(quantiles=(float(where.default or 0.0),))
    if key == "rate_mbps" and "trace" in table.names():
        if key in table.names():
            raise table.error("trace", "and rate_mbps exclude each other; keep one")
        return Recording(series=tuple(read_trace(table.path("trace"))))
    if not table.holds_table(key):
        values = table.numbers(key, low=where.low, high=where.high)
        correlation_time_s = float("inf")
    else:
        inner = table.table(key)
        values = inner.numbers("quantiles", low=where.low, high=where.high)
        correlation_time_s = inner.number("correlation_time_s", low=0.01, high=1e9)
        inner.finish()
    try:
        return Signal(
            quantiles=tuple(value * where.factor for value in values),
            correlation_time_s=correlation_time_s,
        )
    except ValueError as error:
        raise table.error(key, f"is no signal: {error}") from None


def _read_targets(requests: ScenarioTable) -> Weibull | None:
    if "weibull" not in requests.names():
        return None
    if "latency_target_ms" in requests.names():
        raise requests.error("weibull", "and latency_target_ms exclude each other; keep one")
    table = requests.table("weibull")
    weibull = Weibull(
        low=table.number("low_ms", low=1.0, high=1e5) * 1e-3,
        scale=table.number("scale_ms", low=0.0, high=1e5) * 1e-3,
        shape=table.number("shape", low=0.1, high=100.0),
    )
    table.finish()
    return weibull


def _read_arrivals(table: ScenarioTable) -> tuple[str, Burst | None]:
    kind = table.text("kind")
    if kind not in ARRIVAL_SCV:
        raise table.error("kind", f"is {kind!r}; choose one of {', '.join(ARRIVAL_SCV)}")
    if kind != "bursty":
        return kind, None
    factor = table.number("burst_factor", low=1.0, high=100.0)
    times = _read_times(table, "bursts")
    if times is None:
        raise table.error("bursts", "is missing; add it")
    return kind, Burst(factor=factor, times=times)


def _read_times(table: ScenarioTable | None, key: str) -> OnOff | None:
    if table is None or key not in table.names():
        return None
    inner = table.table(key)
    times = OnOff(
        share=inner.number("share", low=0.0, high=0.99),
        mean_s=inner.number("mean_s", low=0.01, high=1e6),
    )
    inner.finish()
    return times


def _read_battery(table: ScenarioTable | None) -> Battery | None:
    if table is None:
        return None
    return Battery(
        capacity_j=table.number("capacity_wh", low=1e-3, high=1e5) * 3600.0,
        low_level=table.number("low_level", low=1e-3, high=1.0),
    )
