"""Whole episodes of operating conditions, drawn from scenarios in advance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.scenarios.jump_processes import OnOff
from envs.scenarios.operating_conditions import OperatingConditions
from envs.scenarios.randomisation import Randomisation
from envs.scenarios.scenario import SIGNALS, Scenario
from envs.scenarios.signals import Signal, at_steps, n_knots

MIN_LINK_BPS = 1e4
"""Rate of a link that delivers nothing for now; keeps transfer times finite."""
CALL_S = 0.0015
"""That a call takes besides the link's round trip, in threads of both ends: boards read 1 to 2 ms
more than that of the link (`python -m benchmarks.live estimates`)."""
SLOW_TIMES = OnOff(share=0.02, mean_s=1.0)
"""Times at which many requests are held up; assumed, for deadline misses come in bursts
(arXiv 2606.16106: after one miss in a thousand, the next request misses with up to 74 %)."""
TAIL_SHARE = (0.001, 0.4)
"""Share of the requests that are held up, usually and in slow times; assumed."""
MEAN_TAIL_SHARE = TAIL_SHARE[0] + SLOW_TIMES.share * (TAIL_SHARE[1] - TAIL_SHARE[0])

_NAMES = tuple(SIGNALS)
_JUMPS = ("targets", "burst", "link_dropout", "power_stuck", "tails")


@dataclass(frozen=True, slots=True)
class _Draws:
    """Random numbers of all boards.

    Attributes:
        picks: index of each board's scenario, shape (n,).
        white: standard normal, shape (n_knots, n, n_signals).
        noise: standard normal, shape (n_rows, n).
        uniform: in [0, 1), shape (n_rows, n, n_jumps).
        build: standard normal, shape (n, 7).
        hiccup: in [0, 1), shape (n_rows, n).
    """

    picks: NDArray[np.intp]
    white: Floats
    noise: Floats
    uniform: Floats
    build: Floats
    hiccup: Floats


class EpisodeConditions:
    """Operating conditions of `n` boards for a whole episode.

    Row 0 is the moment before the first step, row t + 1 holds during step t.

    Attributes:
        battery_level: charge at the beginning, shape (n,).
        battery_j: capacity, infinite on mains.
        low_level: charge below which the battery is spared.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        seeds: NDArray[np.uint64],
        n_steps: int,
        step_s: float,
        randomisation: Randomisation | None = None,
    ) -> None:
        """Draw one episode per seed, of a scenario that the seed picks."""
        rows = n_steps + 1
        draws = _draw(seeds, n_knots(step_s, rows), rows, len(scenarios))
        boards = [np.flatnonzero(draws.picks == i) for i in range(len(scenarios))]
        self._groups = [(s, b) for s, b in zip(scenarios, boards, strict=True) if len(b)]
        self._shape = (rows, len(seeds))
        self._step_s = step_s
        self._values = {
            name: self._signal(name, draws.white[..., column]) for column, name in enumerate(_NAMES)
        }
        self._values["link_bps"] = np.maximum(self._values["link_bps"], MIN_LINK_BPS)
        self._values["rtt_s"] = self._values["rtt_s"] + CALL_S
        self._values["estimate_draw"] = draws.noise
        self._values["hiccup_draw"] = draws.hiccup
        self._add_jumps(draws.uniform)
        for name in ("eta", "radio_w", "radio_w_per_bps", "server_flops_per_s", "arrival_scv"):
            self._values[name] = self._constant(attrgetter(name))
        self._values["usual_server_flops_per_s"] = self._values["server_flops_per_s"]
        self.battery_level = self._values.pop("battery_level")
        self.battery_j = self._constant(lambda s: s.battery.capacity_j if s.battery else np.inf)
        self.low_level = self._constant(lambda s: s.battery.low_level if s.battery else 1e-9)
        self._build = None
        if randomisation is not None and randomisation.is_on:
            self._build = randomisation.build(draws.build)
            self._values["link_bps"] = self._values["link_bps"] * randomisation.link(draws.build)
            self._values["server_flops_per_s"] = self._values[
                "server_flops_per_s"
            ] * randomisation.server(draws.build)

    def row(self, index: int) -> OperatingConditions:
        """Operating conditions at one row."""
        values: dict[str, Any] = {name: _at(v, index) for name, v in self._values.items()}
        return OperatingConditions(**values, build=self._build)

    def announced_hz(self, index: int) -> Floats:
        """Request rate that is known before a row: bursts are not announced, they are noticed."""
        return _at(self._rate, index) * _at(self._burst, max(index - 1, 0))

    def _signal(self, name: str, white: Floats) -> Floats:
        """Values of a signal, shape (n_rows, n), or (n,) where they never change."""
        signals = [(s.signals[name], boards) for s, boards in self._groups]
        steady = all(isinstance(s, Signal) and s.is_steady for s, _ in signals)
        white = white[:1] if steady else white
        knots = np.empty_like(white)
        for signal, boards in signals:
            knots[:, boards] = signal.values(white[:, boards])
        return knots[0] if steady else at_steps(knots, self._step_s, self._shape[0])

    def _constant(self, read: Callable[[Scenario], float]) -> Floats:
        values = np.empty(self._shape[1])
        for scenario, boards in self._groups:
            values[boards] = read(scenario)
        return values

    def _add_jumps(self, uniform: Floats) -> None:
        """Add what jumps: targets, bursts, faults and slow times."""
        columns = {name: uniform[..., column] for column, name in enumerate(_JUMPS)}
        slow = SLOW_TIMES.states(columns["tails"], self._step_s)
        usual, more = TAIL_SHARE
        self._values["tail_share"] = usual + (more - usual) * slow
        self._values["link_blind"] = self._states(columns["link_dropout"], lambda s: s.link_dropout)
        self._values["power_stuck"] = self._states(columns["power_stuck"], lambda s: s.power_stuck)
        self._rate = self._values["arrival_hz"]
        self._burst = self._bursts(columns["burst"])
        self._values["arrival_hz"] = self._rate * self._burst
        if any(scenario.targets for scenario, _ in self._groups):
            targets_s = np.broadcast_to(self._values["latency_target_s"], self._shape).copy()
            for scenario, boards in self._groups:
                if scenario.targets:
                    drawn = columns["targets"][:, boards]
                    targets_s[:, boards] = scenario.targets.values(drawn)
            self._values["latency_target_s"] = targets_s

    def _states(self, uniform: Floats, read: Callable[[Scenario], OnOff | None]) -> Floats:
        """On and off times of a fault; (n,) zeros where no scenario has it."""
        if not any(read(scenario) for scenario, _ in self._groups):
            return np.zeros(self._shape[1])
        states = np.zeros(self._shape)
        for scenario, boards in self._groups:
            if (times := read(scenario)) is not None:
                states[:, boards] = times.states(uniform[:, boards], self._step_s)
        return states

    def _bursts(self, uniform: Floats) -> Floats:
        """Factor on the request rate."""
        on = self._states(uniform, lambda s: s.burst.times if s.burst else None)
        return 1.0 + on * (self._constant(lambda s: s.burst.factor if s.burst else 1.0) - 1.0)


def _at(values: Floats, row: int) -> Floats:
    """One row of values, which may be the same for all rows."""
    return values if values.ndim == 1 else values[row]


def picked(seed: int, n_scenarios: int) -> int:
    """Index of the scenario that a seed picks among so many."""
    return _pick(_generator(seed), n_scenarios)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(int(seed)))


def _pick(generator: np.random.Generator, n_scenarios: int) -> int:
    return int(generator.integers(n_scenarios))


def _draw(seeds: NDArray[np.uint64], knots: int, rows: int, n_scenarios: int) -> _Draws:
    """Draw from one generator per board, so that a board's episode depends on its seed alone."""
    n = len(seeds)
    draws = _Draws(
        picks=np.empty(n, dtype=np.intp),
        white=np.empty((knots, n, len(_NAMES))),
        noise=np.empty((rows, n)),
        uniform=np.empty((rows, n, len(_JUMPS))),
        build=np.empty((n, 7)),
        hiccup=np.empty((rows, n)),
    )
    for board, seed in enumerate(seeds):
        generator = _generator(seed)
        draws.picks[board] = _pick(generator, n_scenarios)
        draws.white[:, board] = generator.standard_normal((knots, len(_NAMES)))
        draws.noise[:, board] = generator.standard_normal(rows)
        draws.uniform[:, board] = generator.random((rows, len(_JUMPS)))
        draws.build[board, :6] = generator.standard_normal(6)
        draws.hiccup[:, board] = generator.random(rows)
        draws.build[board, 6] = generator.standard_normal()  # last: all else is as before
    return draws
