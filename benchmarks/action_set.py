"""Larger sets of actions, below today's optimum: `python -m benchmarks.action_set`.

For each device how far the per-state optimum would fall if clocks could do more within a step:
rest at the lowest clocks and race through each request, have clocks of their own for each part of a
request, or compute two requests at once. The true states of held-out episodes are those of the
oracle of today's actions. All of it is modelled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from agents.deciders.oracle import Oracle
from agents.learning.export import set_threads
from agents.seeds import held_out_seeds
from benchmarks.page import machine, markdown, write_page
from common import command
from envs.arrays import Floats
from envs.governed.table import GovernedFactors
from envs.plant import Indices, Outcome
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.batched_simulator import BatchedSimulator, ClockMoves
from envs.sim.build import build_sim_config
from envs.sim.clocks import clock_tables
from envs.sim.finishing import actuation_delay_s
from envs.sim.sim_config import SimConfig
from hw.device.file import device_names
from partition.cli import positive
from partition.edge.raised_clocks import in_all, share_before

MODEL = "efficientnet-lite0"
N_EPISODES, N_STEPS = 26, 120
LOOK_EVERY = 6
"""Steps between two states that are weighed; the oracle decides in all."""
WORTH = 0.03
"""Share of the cost from which on such actions would have to be offered."""
LEAST_W = 1e-9


class _Grid:
    """Times and powers of a request at every action, arrays that broadcast to (1, *grid).

    Attributes:
        hz: clocks, and the lowest ones.
        cpu_s, gpu_s: busy time of the processor, of the GPU with its memory.
    """

    def __init__(self, world: SimConfig) -> None:
        self.device, head = world.device, world.costs.head
        self.fixed_s = np.asarray(head.fixed_s)
        tables = clock_tables(world.device)
        self.hz = [
            table.reshape([-1 if axis == k + 1 else 1 for axis in range(5)])
            for k, table in enumerate(tables)
        ]
        self.low_hz = [table[0] for table in tables]
        self.cpu_s, self.gpu_s = head.busy_s(*self.hz)
        self.low_s = head.busy_s(*self.low_hz)
        self.idle_w = self.at_rest_w(*self.hz)

    def at_rest_w(self, cpu_hz: Floats, gpu_hz: Floats, emc_hz: Floats) -> Floats:
        """Power of a board that does nothing."""
        return np.maximum(self.device.power.idle_w(cpu_hz, gpu_hz, emc_hz), LEAST_W)

    def work_j(self, cpu_s: Floats, gpu_s: Floats, hz: Sequence[Floats]) -> Floats:
        """Energy of busy units."""
        power = self.device.power
        return np.asarray(cpu_s * power.cpu_load_w(hz[0]) + gpu_s * power.gpu_load_w(*hz[1:]))


def _factors(stretch: Floats, rest: Floats, work: Floats) -> GovernedFactors:
    """In single precision; what is finished on the board takes the whole network's."""
    parts = (stretch, stretch[..., -1:], rest, work)
    return GovernedFactors(*map(_single, parts))


def _single(values: Floats) -> Floats:
    return values.astype(np.float32)


class RaceAndIdle:
    """Clocks are the lowest between requests, and an action's once they are up for one.

    A request begins at the lowest clocks and goes on at the others after the actuation delay, where
    that saves two delays at least; it takes as long to lower them again.
    """

    def __init__(self, world: SimConfig) -> None:
        """Tabulate every action."""
        self._grid = grid = _Grid(world)
        self._delay_s = actuation_delay_s(world.device)
        clocked_s, low_s = grid.cpu_s + grid.gpu_s, sum(grid.low_s)
        self._share = share_before(grid.fixed_s + low_s, grid.fixed_s + clocked_s, self._delay_s)
        raced_s = in_all(self._share, low_s, clocked_s)
        high_j = grid.work_j(grid.cpu_s, grid.gpu_s, grid.hz)
        raced_j = in_all(self._share, grid.work_j(*grid.low_s, grid.low_hz), high_j)
        self._stretch = np.divide(
            raced_s, clocked_s, out=np.ones_like(raced_s), where=clocked_s > 0.0
        )
        own_j = high_j * self._stretch
        self._work = np.divide(raced_j, own_j, out=np.ones_like(raced_j), where=own_j > 0.0)
        self._up_s = (1.0 - self._share) * (grid.fixed_s + clocked_s) + (
            self._share < 1.0
        ) * self._delay_s
        self._low_w = grid.at_rest_w(*grid.low_hz)

    def factors(self, places: Indices | None, now: OperatingConditions) -> GovernedFactors:
        """Over boards pinned to the actions' clocks, all of the grid."""
        up = np.minimum(now.arrival_hz * self._up_s, 1.0)
        rest_w = up * self._grid.idle_w + (1.0 - up) * self._low_w
        return _factors(self._stretch, rest_w / self._grid.idle_w, self._work)


class ClocksApart:
    """Each part of a request at clocks of its own, changed without any delay: a bound.

    While the processor works GPU and memory have their lowest clocks, while these work it has its
    lowest one, and between requests all have.
    """

    def __init__(self, world: SimConfig) -> None:
        """Tabulate every action."""
        self._grid = grid = _Grid(world)
        cpu_hz, gpu_hz, emc_hz = grid.hz
        low_cpu_hz, low_gpu_hz, low_emc_hz = grid.low_hz
        self._host_w = grid.at_rest_w(cpu_hz, low_gpu_hz, low_emc_hz)
        self._gpu_w = grid.at_rest_w(low_cpu_hz, gpu_hz, emc_hz)
        self._low_w = grid.at_rest_w(*grid.low_hz)

    def factors(self, places: Indices | None, now: OperatingConditions) -> GovernedFactors:
        """Over boards pinned to the actions' clocks, all of the grid."""
        grid = self._grid
        busy = now.arrival_hz * (grid.cpu_s + grid.gpu_s)
        fits = np.minimum(1.0 / np.maximum(busy, 1e-9), 1.0)
        host, gpu = (fits * now.arrival_hz * part_s for part_s in (grid.cpu_s, grid.gpu_s))
        rest_w = host * self._host_w + gpu * self._gpu_w + (1.0 - host - gpu) * self._low_w
        ones = np.ones_like(grid.cpu_s + grid.gpu_s)
        return _factors(ones, rest_w / grid.idle_w, ones)


class Pairs:
    """Two requests at once on the board: what the processor does for a request it does once.

    The first waits for the second. What the GPU does takes twice as long, as it hardly gains from
    two pictures at once on most boards, and so does a network that the processor itself computes;
    routes that send anything stay as they are.
    """

    def __init__(self, world: SimConfig) -> None:
        """Tabulate every action."""
        self._grid = grid = _Grid(world)
        is_whole = np.arange(world.costs.wire_bytes.size) == world.costs.wire_bytes.size - 1
        is_whole = is_whole & (np.asarray(world.costs.head.gpu_cycles) > 0.0)
        self._cpu_s = np.where(is_whole, 0.5 * grid.cpu_s, grid.cpu_s)
        clocked_s, alone_s = self._cpu_s + grid.gpu_s, grid.cpu_s + grid.gpu_s
        ones = np.ones_like(alone_s)
        self._stretch = np.divide(clocked_s, alone_s, out=ones.copy(), where=alone_s > 0.0)
        own_j = grid.work_j(grid.cpu_s, grid.gpu_s, grid.hz) * self._stretch
        paired_j = grid.work_j(self._cpu_s, grid.gpu_s, grid.hz)
        self._work = np.divide(paired_j, own_j, out=ones.copy(), where=own_j > 0.0)
        more_s = is_whole * (self._cpu_s + grid.gpu_s)
        single = tuple(1 + k for k, hz in enumerate(clock_tables(world.device)) if len(hz) == 1)
        self._more_s = more_s.squeeze(single)

    def factors(self, places: Indices | None, now: OperatingConditions) -> GovernedFactors:
        """Over boards that compute one request at a time, all of the grid."""
        return _factors(self._stretch, np.ones_like(self._stretch), self._work)

    def waited(self, outcome: Outcome, rate_hz: Floats, target_s: Floats) -> Outcome:
        """With the wait for the second request, and for the other one's work."""
        second_s = outcome.latency_s + self._more_s
        first_s = second_s + (self._more_s > 0.0) / rate_hz
        on_time = 0.5 * ((first_s <= target_s) + 1.0 * (second_s <= target_s))
        return replace(
            outcome,
            latency_s=0.5 * (first_s + second_s),
            deadline_hit_rate=np.minimum(outcome.deadline_hit_rate, on_time),
        )


MOVES: dict[str, Callable[[SimConfig], RaceAndIdle | ClocksApart | Pairs]] = {
    "race and idle": RaceAndIdle,
    "each part at its own clocks, no delay": ClocksApart,
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
    moves = {name: make(world) for name, make in MOVES.items()}
    found = {name: Sums() for name in (TODAY, *MOVES)}
    fleet, oracle = BatchedSimulator(world, n_episodes), Oracle()
    fleet.reset(held_out_seeds(0, n_episodes))
    oracle.begin(fleet, n_episodes)
    for step in range(n_steps):
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            for first in range(0, n_episodes, Oracle.CHUNK):
                _weigh(fleet, slice(first, first + Oracle.CHUNK), moves, found)
        fleet.step(oracle.decide(np.empty((n_episodes, 0), dtype=np.float32)))
    return found


def _weigh(
    fleet: BatchedSimulator,
    boards: slice,
    moves: dict[str, RaceAndIdle | ClocksApart | Pairs],
    found: dict[str, Sums],
) -> None:
    """Add the best choices of some boards."""
    today = _best(fleet, boards, None)
    found[TODAY].add(*today)
    for name, kind in moves.items():
        new = _best(fleet, boards, kind)
        is_better = new[0] < today[0]
        found[name].add(*(np.where(is_better, n, t) for n, t in zip(new, today, strict=True)))


def _best(
    fleet: BatchedSimulator, boards: slice, moves: ClockMoves | None
) -> tuple[Floats, Floats, Floats]:
    """Cost, energy per request and share in time of the cheapest action of each board."""
    outcome = fleet.every_outcome(boards, moves)
    wide = (-1, *(1 for _ in fleet.layout.axes))
    if isinstance(moves, Pairs):
        seen = fleet.readings().select(boards)
        rate_hz, target_s = seen.arrival_hz.reshape(wide), seen.latency_target_s.reshape(wide)
        outcome = moves.waited(outcome, rate_hz, target_s)
    eta = fleet.eta()[boards].reshape(wide)
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
- **Each part at its own clocks**: a bound. While the processor works GPU and memory are at their
  lowest clocks and the other way round, and all are in between; no change takes any time.
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
    lines, least = [], dict.fromkeys(MOVES, 1.0)
    for device in devices:
        found = weighed(device, n_episodes, n_steps)
        today = found[TODAY]
        for name in MOVES:
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


def _verdict(least: dict[str, float]) -> str:
    """What is worth offering, in a sentence each."""
    sentences = []
    for name, share in least.items():
        gain = 1.0 - share
        word = "would be worth offering" if gain >= WORTH else "is not offered"
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
