"""Speed of the simulation on one core: `python -m benchmarks.simulator_speed [--model NAME]`."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common import command
from envs.errors import EnvError
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts
from envs.vec_env import EdgeSplitVecEnv
from hw.errors import HardwareError
from partition.errors import PartitionError

N_BOARDS = 4096
N_REPEATS = 3
N_GRIDS = 40
GRID_SIZE = 50_000


def steps_per_s(world: SimConfig, n_boards: int = N_BOARDS) -> float:
    """Environment steps per second of the vectorised twin, resets included; median of runs."""
    env = EdgeSplitVecEnv(world, n_boards)
    generator = np.random.default_rng(0)
    shape = (n_boards, len(env.decoder.sizes))
    actions = [generator.integers(0, env.decoder.sizes, shape) for _ in range(8)]
    env.reset()
    rates = []
    for _ in range(N_REPEATS):
        began_s = time.process_time()
        for t in range(env.fleet.n_steps):
            env.step(actions[t % len(actions)])
        rates.append(n_boards * env.fleet.n_steps / (time.process_time() - began_s))
    return statistics.median(rates)


def grid_s(world: SimConfig) -> tuple[int, float]:
    """Size of the grid of all actions, and the time of `every_outcome` for one state."""
    fleet = BatchedSimulator(world, 1)
    fleet.reset(np.zeros(1, dtype=np.uint64))
    times_s = []
    for _ in range(N_GRIDS):
        began_s = time.process_time()
        fleet.every_outcome(slice(0, 1))
        times_s.append(time.process_time() - began_s)
    n_actions = int(np.prod([len(axis.values) for axis in world.layout.axes]))
    return n_actions, statistics.median(times_s)


def with_more_routes(world: SimConfig, n_actions: int = GRID_SIZE) -> SimConfig:
    """A world with routes between its routes, so many that there are at least `n_actions`."""
    sizes = [len(axis.values) for axis in world.layout.axes]
    n_routes = -(-n_actions // int(np.prod(sizes[:-1])))
    rows = world.costs.rows()
    position = np.linspace(0.0, sizes[-1] - 1.0, max(n_routes, sizes[-1]))
    between = [np.interp(position, np.arange(sizes[-1]), row) for row in rows]
    return replace(world, costs=SplitCosts.from_rows(np.array(between)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulator_speed", description=__doc__
    )
    parser.add_argument("--device", default="tx2", help="device model (%(default)s)")
    parser.add_argument("--model", default="efficientnet-lite0", help="network (%(default)s)")
    arguments = parser.parse_args(argv)
    try:
        world = build_sim_config(arguments.device, arguments.model)
    except (EnvError, HardwareError, PartitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{steps_per_s(world):,.0f} environment steps per second, {N_BOARDS} boards, one thread")
    n_actions, seconds = grid_s(with_more_routes(world))
    print(f"{1e3 * seconds:.2f} ms for the outcomes of {n_actions:,} actions in one state")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
