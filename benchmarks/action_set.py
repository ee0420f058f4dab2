"""Larger sets of actions, below today's optimum: `python -m benchmarks.action_set`.

For each device how far the per-state optimum would fall if clocks could do more within a step:
rest at the lowest clocks and race through each request, have clocks of their own for what has to be
finished for the cloud, or compute two requests at once. The true states of held-out episodes are
those of the oracle of today's actions. All of it is modelled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agents.deciders.oracle import Oracle
from agents.learning.export import set_threads
from agents.seeds import held_out_seeds
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from common import command
from envs.arrays import Floats
from envs.governed.table import GovernedFactors
from envs.plant import Indices, Outcome
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.clocks import Clocks, clock_tables
from envs.sim.finishing import actuation_delay_s
from envs.sim.response import Response
from envs.sim.sim_config import SimConfig
from hw.device.file import device_names
from hw.device.model import DeviceModel
from partition.cli import positive

MODEL = "efficientnet-lite0"
N_EPISODES, N_STEPS = 26, 120
LOOK_EVERY = 6
"""Steps between two states that are weighed; the oracle decides in all."""
WORTH = 0.03
"""Share of the cost from which on such actions would have to be offered."""
LEVELS = (0.0, 0.25, 0.5, 0.75)
"""Of all clocks together, shares of their tables; the highest is today's."""


class Fleet(BatchedSimulator):
    """Boards that may do more with their clocks within a step.

    Attributes:
        rest: clocks between requests, for each of which they are raised; None: as in a request.
        goal: to which clocks are raised for what is finished for the cloud; None: the highest.
    """

    rest: Clocks | None = None
    goal: Clocks | None = None

    def _respond(self, *state: Any, **clocks: Any) -> Response:
        clocks["rest"] = self.rest
        if self.goal is not None:
            clocks["top"] = self.goal
        return super()._respond(*state, **clocks)


class Kind(Protocol):
    """Another kind of actions."""

    def outcomes(self, fleet: Fleet, boards: slice) -> Iterator[Outcome]:
        """Of every action, once or in several ways."""


class RaceAndIdle:
    """Clocks are the lowest between requests, and an action's once they are up for one.

    A request begins at the lowest clocks and goes on at the others after the actuation delay, where
    that saves two delays at least; it takes as long to lower them again.
    """

    def outcomes(self, fleet: Fleet, boards: slice) -> Iterator[Outcome]:
        """With what is finished for the cloud at the highest clocks, as today."""
        fleet.rest = _level(fleet.world.device, 0.0)
        yield fleet.every_outcome(boards)
        fleet.rest = None


class RaceWithoutDelay(RaceAndIdle):
    """The same were clocks changed in no time: a bound."""

    def outcomes(self, fleet: Fleet, boards: slice) -> Iterator[Outcome]:
        """As `RaceAndIdle`."""
        world = fleet.world
        domains = {
            name: replace(domain, actuation_delay_s=0.0)
            for name, domain in world.device.domains.items()
        }
        fleet.world = replace(world, device=replace(world.device, domains=domains))
        yield from super().outcomes(fleet, boards)
        fleet.world = world


class FinishingApart:
    """What is finished for the cloud has clocks of its own, lower than the highest of today."""

    def outcomes(self, fleet: Fleet, boards: slice) -> Iterator[Outcome]:
        """With each of some levels of all clocks."""
        for share in LEVELS:
            fleet.goal = _level(fleet.world.device, share)
            yield fleet.every_outcome(boards)
        fleet.goal = None


def _level(device: DeviceModel, share: float) -> Clocks:
    """All clocks at about the same place of their tables, 0 the lowest."""
    tables = clock_tables(device)
    return Clocks(*(_single(t[[round(share * (len(t) - 1))]]) for t in tables))


class Pairs:
    """Two requests at once on the board: what the processor does for a request it does once.

    The first waits for the second. What the GPU does takes twice as long, as it hardly gains from
    two pictures at once on most boards, and so does a network that the processor itself computes;
    routes that send anything stay as they are.
    """

    def __init__(self, world: SimConfig) -> None:
        """Tabulate every action."""
        power, head = world.device.power, world.costs.head
        hz = [
            table.reshape([-1 if axis == k + 1 else 1 for axis in range(5)])
            for k, table in enumerate(clock_tables(world.device))
        ]
        cpu_s, gpu_s = head.busy_s(*hz)
        is_whole = np.arange(world.costs.wire_bytes.size) == world.costs.wire_bytes.size - 1
        is_whole = is_whole & (np.asarray(head.gpu_cycles) > 0.0)
        once_s = np.where(is_whole, 0.5 * cpu_s, cpu_s)
        self._stretch = _ratio(once_s + gpu_s, cpu_s + gpu_s)

        def work_j(cpu_s: Floats) -> Floats:
            return np.asarray(cpu_s * power.cpu_load_w(hz[0]) + gpu_s * power.gpu_load_w(*hz[1:]))

        self._work = _ratio(work_j(once_s), work_j(cpu_s) * self._stretch)
        single = tuple(1 + k for k, table in enumerate(hz) if table.size == 1)
        self._more_s = (is_whole * (once_s + gpu_s)).squeeze(single)

    def factors(self, places: Indices | None, now: OperatingConditions) -> GovernedFactors:
        """Over boards that compute one request at a time, all of the grid."""
        one = np.ones_like(self._stretch)
        return GovernedFactors(*map(_single, (self._stretch, one[..., -1:], one, self._work)))

    def outcomes(self, fleet: Fleet, boards: slice) -> Iterator[Outcome]:
        """With the wait for the second request, and for the other one's work."""
        outcome, seen = fleet.every_outcome(boards, self), fleet.readings().select(boards)
        wide = (-1, *(1 for _ in fleet.layout.axes))
        rate_hz, target_s = seen.arrival_hz.reshape(wide), seen.latency_target_s.reshape(wide)
        second_s = outcome.latency_s + self._more_s
        first_s = second_s + (self._more_s > 0.0) / rate_hz
        on_time = 0.5 * ((first_s <= target_s) + 1.0 * (second_s <= target_s))
        yield replace(
            outcome,
            latency_s=0.5 * (first_s + second_s),
            deadline_hit_rate=np.minimum(outcome.deadline_hit_rate, on_time),
        )


def _ratio(values: Floats, of: Floats) -> Floats:
    """1 where there is nothing."""
    return np.divide(values, of, out=np.ones_like(values), where=of > 0.0)


def _single(values: Floats) -> Floats:
    return values.astype(np.float32)


BOUND = "race and idle, clocks changed in no time"
"""Nobody can offer it."""
KINDS: dict[str, Callable[[SimConfig], Kind]] = {
    "race and idle": lambda _: RaceAndIdle(),
    BOUND: lambda _: RaceWithoutDelay(),
    "what is finished for the cloud at one of four lower levels": lambda _: FinishingApart(),
    "two requests at once": Pairs,
}
TODAY = "today's actions"


@dataclass(slots=True)
class Sums:
    """Of the best choice of many states.

    Attributes:
        cost, energy_j, deadline_hit_rate: of each.
    """

    cost: list[Floats] = field(default_factory=list)
    energy_j: list[Floats] = field(default_factory=list)
    deadline_hit_rate: list[Floats] = field(default_factory=list)

    def add(self, *values: Floats) -> None:
        """Take some boards' in."""
        for name, value in zip(("cost", "energy_j", "deadline_hit_rate"), values, strict=True):
            getattr(self, name).append(value)

    def mean(self, name: str) -> float:
        """Over all states."""
        return float(np.concatenate(getattr(self, name)).mean())


def weighed(device: str, n_episodes: int, n_steps: int) -> dict[str, Sums]:
    """The best choice of each state: of today's actions, and of these and each larger set."""
    world = replace(build_sim_config(device, MODEL), n_steps=n_steps)
    kinds = {name: make(world) for name, make in KINDS.items()}
    found = {name: Sums() for name in (TODAY, *KINDS)}
    fleet, oracle = Fleet(world, n_episodes), Oracle()
    fleet.reset(held_out_seeds(0, n_episodes))
    oracle.begin(fleet, n_episodes)
    for step in range(n_steps):
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            for first in range(0, n_episodes, Oracle.CHUNK):
                _weigh(fleet, slice(first, first + Oracle.CHUNK), kinds, found)
        fleet.step(oracle.decide(np.empty((n_episodes, 0), dtype=np.float32)))
    return found


def _weigh(
    fleet: Fleet, boards: slice, kinds: Mapping[str, Kind], found: Mapping[str, Sums]
) -> None:
    """Add the best choices of some boards."""
    today = _best(fleet, boards, fleet.every_outcome(boards))
    found[TODAY].add(*today)
    for name, kind in kinds.items():
        best = today
        for outcome in kind.outcomes(fleet, boards):
            new = _best(fleet, boards, outcome)
            is_better = new[0] < best[0]
            best = tuple(np.where(is_better, n, b) for n, b in zip(new, best, strict=True))
        found[name].add(*best)


def _best(fleet: Fleet, boards: slice, outcome: Outcome) -> tuple[Floats, ...]:
    """Cost, energy per request and share in time of the cheapest action of each board."""
    eta = fleet.eta()[boards].reshape((-1, *(1 for _ in fleet.layout.axes)))
    weighed_once = replace(outcome, switched=outcome.switched / Oracle.DWELL_STEPS)
    costs = fleet.world.objective().cost(weighed_once, eta)
    best = costs.reshape(len(costs), -1).argmin(axis=1)[:, None]

    def taken(values: Floats) -> Floats:
        flat = np.broadcast_to(values, costs.shape).reshape(len(costs), -1)
        return np.take_along_axis(flat, best, axis=1)[:, 0]

    return taken(costs), taken(outcome.energy_j), taken(outcome.deadline_hit_rate)


PAGE = """# A larger set of actions

Made by `{call}`. All boards are modelled; {model}, states of {n} held-out episodes of all
scenarios that the oracle of today's actions meets.

By how much the optimum of each state falls when it may also take another kind of action, wherever
that is cheaper; cost, and energy per request and share in time of what is then chosen.

{table}

- **Race and idle**: clocks rest at their lowest and are raised for each request, where that saves
  two actuation delays at least. A request computes at the lowest clocks until they are up.
  Were clocks changed in no time, it would bring what the second line of each board says: a bound.
- **What is finished for the cloud at one of four lower levels**: today clocks are raised to their
  highest for it; tried are all clocks at 0, 25, 50 and 75 % of their tables.
- **Processor and GPU at clocks of their own within a request** are no row: they take turns kernel
  by kernel; one takes {kernel} at the highest clocks, the slowest clock {change} to change.
- **Two requests at once**: on boards with a GPU, what the processor does is done once for both; the
  first request waits for the second.
- **Two operating points mixed within a period** are no row. The cost is linear in energy, latency
  and requests in time, and what a mixture comes to lies between its points: the better of the two
  costs no more. Mixing pays where a goal has to be met exactly, as `two-points` does.

{verdict}

## Made on

{machine}
"""


def make(devices: Sequence[str], n_episodes: int, n_steps: int, call: str) -> str:
    """Weigh everything; returns the page."""
    lines, least = [], dict.fromkeys(KINDS, 1.0)
    kernels_s, changes_s = [], []
    for device in devices:
        found = weighed(device, n_episodes, n_steps)
        today = found[TODAY]
        world = build_sim_config(device, MODEL)
        n_kernels = open_or_prepare(MODEL).routes[-1].edge.kernels
        kernels_s.append(world.objective().reference_latency_s / n_kernels)
        changes_s.append(actuation_delay_s(world.device))
        for name in KINDS:
            change = found[name].mean("cost") / today.mean("cost") - 1.0
            least[name] = min(least[name], 1.0 + change)
            energy = found[name].mean("energy_j") / today.mean("energy_j") - 1.0
            points = 100.0 * (
                found[name].mean("deadline_hit_rate") - today.mean("deadline_hit_rate")
            )
            lines.append(
                [
                    device,
                    name,
                    f"{today.mean('cost'):.3f}",
                    f"{100 * change:+.1f} %",
                    f"{100 * energy:+.1f} %",
                    f"{points:+.1f}",
                ]
            )
            print(lines[-1], flush=True)
    return PAGE.format(
        call=call,
        model=MODEL,
        n=n_episodes,
        table=markdown([HEAD, *lines]),
        kernel=_span(kernels_s),
        change=_span(changes_s),
        verdict=_verdict(least),
        machine=machine(),
    )


HEAD = [
    "device",
    "what is added",
    "cost today",
    "cost",
    "energy of a request",
    "in time, points",
]


def _span(seconds: Sequence[float]) -> str:
    """Of the boards."""
    low, high = 1e3 * min(seconds), 1e3 * max(seconds)
    return f"{low:.2g} ms" if low == high else f"{low:.2g} to {high:.2g} ms"


def _verdict(least: dict[str, float]) -> str:
    """What is worth offering, in a sentence each."""
    sentences = []
    for name, share in least.items():
        if name == BOUND:
            continue
        gain = 1.0 - share
        word = "is worth offering" if gain >= WORTH else "is not offered"
        sentences.append(f"{name[0].upper()}{name[1:]}: {100 * gain:.1f} % at best, and {word}.")
    return " ".join([f"The bar is {100 * WORTH:g} % of the cost on some board.", *sentences])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser("python -m benchmarks.action_set", description=__doc__)
    parser.add_argument("--devices", nargs="+", default=list(device_names()), help="(all)")
    parser.add_argument("--episodes", type=positive, default=N_EPISODES, help="(%(default)s)")
    parser.add_argument("--steps", type=positive, default=N_STEPS, help="of each (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/action-set.md"), help="page")
    arguments = parser.parse_args(argv)
    set_threads()
    call = " ".join(["python -m benchmarks.action_set", *(sys.argv[1:] if argv is None else argv)])
    return write_page(
        lambda: make(arguments.devices, arguments.episodes, arguments.steps, call), arguments.out
    )


if __name__ == "__main__":
    sys.exit(command.run(main))
