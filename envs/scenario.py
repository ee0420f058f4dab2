"""What happens around a board: link, arrivals, server load, air temperature, latency target.

A scenario is a TOML file, shipped in `envs/scenarios/` or brought by the user. It draws whole
episodes in advance, so that every policy can be judged on the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.errors import ScenarioError
from envs.link_trace import read_trace
from envs.signals import Floats, Recording, Signal, at_steps, n_knots
from hw.toml_table import TomlTable

SCENARIO_DIR = Path(__file__).parent / "scenarios"
SCHEMA_VERSION = 1
MIN_LINK_BPS = 1e4
"""Rate of a link that delivers nothing for now; keeps transfer times finite."""
LINK_ESTIMATE_SD = 0.05
"""Relative standard deviation of a link rate estimated from one transfer."""

_SIGNALS = {
    # name: (table, key, lowest, highest, factor to SI)
    "link_bps": ("link", "rate_mbps", 0.0, 1e5, 1e6),
    "rtt_s": ("link", "rtt_ms", 0.0, 1e4, 1e-3),
    "server_load": ("server", "load", 0.0, 0.99, 1.0),
    "arrival_hz": ("arrivals", "rate_hz", 0.1, 1e3, 1.0),
    "ambient_c": ("ambient", "temperature_c", -40.0, 85.0, 1.0),
    "latency_target_s": ("requests", "latency_target_ms", 1.0, 1e5, 1e-3),
    "slowdown": ("board", "slowdown", 1.0, 100.0, 1.0),
}


class ScenarioTable(TomlTable):
    """A table of a scenario file."""

    file_kind = "scenario file"
    error_class = ScenarioError


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
        arrival_scv: squared coefficient of variation of the time between requests; 0 is a camera,
            1 a Poisson process.
        signals: the seven signals of `Episodes` in SI units, keyed by their field name.
    """

    name: str
    description: str
    eta: float
    radio_w: float
    radio_w_per_bps: float
    server_flops_per_s: float
    arrival_scv: float
    signals: dict[str, Signal | Recording] = field(repr=False)

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
            raise root.error("schema_version", f"is {version:g}; this version reads 1")
        tables = {key: root.table(key) for key in ("link", "server", "arrivals", "ambient")}
        tables |= {key: root.table(key) for key in ("requests", "board")}
        scenario = cls(
            name=name,
            description=root.text("description"),
            eta=root.number("eta", high=1.0),
            radio_w=tables["link"].number("radio_w", low=0.0, high=20.0),
            radio_w_per_bps=tables["link"].number("radio_w_per_mbps", low=0.0, high=1.0) * 1e-6,
            server_flops_per_s=tables["server"].number("gflop_per_s", low=0.1, high=1e6) * 1e9,
            arrival_scv=tables["arrivals"].number("scv", low=0.0, high=4.0),
            signals={
                signal: _read_signal(tables[table], key, low, high, factor)
                for signal, (table, key, low, high, factor) in _SIGNALS.items()
            },
        )
        for table in (root, *tables.values()):
            table.finish()
        return scenario


def scenario_names() -> list[str]:
    """Names of the shipped scenarios."""
    return sorted(path.stem for path in SCENARIO_DIR.glob("*.toml"))


def _read_signal(
    table: ScenarioTable, key: str, low: float, high: float, factor: float
) -> Signal | Recording:
    if key == "rate_mbps" and "trace" in table.names():
        if key in table.names():
            raise table.error("trace", "and rate_mbps exclude each other; keep one")
        return Recording(series=tuple(read_trace(table.path("trace"))))
    if not table.holds_table(key):
        values = table.numbers(key, low=low, high=high)
        correlation_time_s = float("inf")
        inner = table
    else:
        inner = table.table(key)
        values = inner.numbers("quantiles", low=low, high=high)
        correlation_time_s = inner.number("correlation_time_s", low=0.01, high=1e9)
        inner.finish()
    try:
        return Signal(
            quantiles=tuple(value * factor for value in values),
            correlation_time_s=correlation_time_s,
        )
    except ValueError as error:
        raise table.error(key, f"is no signal: {error}") from None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is true outside `n` boards during one control step; arrays of shape (n,)."""

    link_bps: Floats
    rtt_s: Floats
    server_load: Floats
    arrival_hz: Floats
    ambient_c: Floats
    latency_target_s: Floats
    slowdown: Floats
    estimate_noise: Floats
    eta: Floats
    radio_w: Floats
    radio_w_per_bps: Floats
    server_flops_per_s: Floats
    arrival_scv: Floats

    def for_grid(self, boards: slice) -> Surroundings:
        """Pick some boards and give every array four axes more, to broadcast over all actions."""
        return Surroundings(
            *(getattr(self, f.name)[boards].reshape(-1, 1, 1, 1, 1) for f in fields(self))
        )


class Episodes:
    """Surroundings of `n` boards for a whole episode, drawn in advance.

    Row 0 is the moment before the first step, row t + 1 holds during step t.
    """

    def __init__(
        self, scenarios: Sequence[Scenario], seeds: NDArray[np.uint64], n_steps: int, step_s: float
    ) -> None:
        """Draw one episode per seed, of a scenario that the seed picks."""
        rows = n_steps + 1
        white, noise, picks = _draw_noise(seeds, n_knots(step_s, rows), rows, len(scenarios))
        knots = np.empty_like(white)
        for index, scenario in enumerate(scenarios):
            boards = np.flatnonzero(picks == index)
            for column, name in enumerate(_SIGNALS):
                knots[:, boards, column] = scenario.signals[name].values(white[:, boards, column])
        steps = at_steps(knots, step_s, rows)
        self._signals = np.ascontiguousarray(np.moveaxis(steps, 2, 0))
        np.maximum(self._signals[0], MIN_LINK_BPS, out=self._signals[0])
        self._noise = np.exp(LINK_ESTIMATE_SD * noise)
        self._constants = tuple(
            np.array([getattr(s, name) for s in scenarios])[picks]
            for name in ("eta", "radio_w", "radio_w_per_bps", "server_flops_per_s", "arrival_scv")
        )

    def row(self, index: int) -> Surroundings:
        """Surroundings at one row."""
        values = [*self._signals[:, index], self._noise[index], *self._constants]
        return Surroundings(*values)


def _draw_noise(
    seeds: NDArray[np.uint64], knots: int, rows: int, n_scenarios: int
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Draw from one generator per board, so that a board's episode depends on its seed alone."""
    white = np.empty((knots, len(seeds), len(_SIGNALS)))
    noise = np.empty((rows, len(seeds)))
    picks = np.empty(len(seeds), dtype=np.intp)
    for board, seed in enumerate(seeds):
        generator = np.random.Generator(np.random.PCG64(int(seed)))
        picks[board] = generator.integers(n_scenarios)
        white[:, board] = generator.standard_normal((knots, len(_SIGNALS)))
        noise[:, board] = generator.standard_normal(rows)
    return white, noise, picks
