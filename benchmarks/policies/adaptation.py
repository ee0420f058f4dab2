"""Adaptation speed of deciders on boards unlike the model.

`python -m benchmarks.policies.adaptation` writes `adaptation.md` and `adaptation.png`.

Each board computes, draws power and heats up otherwise than the model that everybody believes in,
by factors drawn three times as wide as those of training. The cost above the oracle's is followed
over the requests since the board was switched on, next to the same on boards that are as believed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from agents.deciders.base import Decider, account
from agents.deciders.oracle import Oracle
from agents.evaluation.palette import LEARNED, MUTED
from agents.evaluation.plots import save
from agents.learners.algorithm import UNLIKE
from agents.seeds import held_out_seeds
from agents.training.all_deciders import DECIDERS
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies.plan import NETWORK, OURS, VALIDATED_DEVICE
from common import command
from envs.arrays import Floats
from envs.scenarios.randomisation import Randomisation
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields

TIMES = 3.0
"""Boards are so many times as unlike the model as in training."""
UNKNOWN = Randomisation(
    latency_sd=TIMES * UNLIKE.latency_sd,
    power_sd=TIMES * UNLIKE.power_sd,
    thermal_sd=TIMES * UNLIKE.thermal_sd,
)
RIVALS = ("model-search", "best-static")
EDGES = (0, 10, 25, 50, 100, 200, 300)
"""Requests since the start; what comes after the last one is the rest of the episode."""
N_EPISODES = 12
AS_BELIEVED = "as believed"
UNLIKE_BELIEVED = "unlike"


def gaps(
    worlds: Mapping[str, SimConfig], deciders: Mapping[str, Decider], n_episodes: int
) -> dict[tuple[str, str], Floats]:
    """Cost above the oracle's by requests since the start.

    Args:
        worlds: by kind of board.
        deciders: by name.
        n_episodes: per scenario.

    Returns:
        For each kind of board and decider, shape (len(EDGES),): the share by which it costs more
        than the oracle from each of `EDGES` to the next one.
    """
    found = {}
    for kind, world in worlds.items():
        least = _costs(world, Oracle(), n_episodes)
        for name, decider in deciders.items():
            found[kind, name] = _costs(world, decider, n_episodes) / least - 1.0
    return found


def _costs(world: SimConfig, decider: Decider, n_episodes: int) -> Floats:
    """Mean cost of a step from each of `EDGES` to the next one, all scenarios alike."""
    seeds = held_out_seeds(0, n_episodes)
    means: Floats = np.mean(
        [_curve(replace(world, scenarios=(one,)), decider, seeds) for one in world.scenarios],
        axis=0,
    )
    return means


def _curve(world: SimConfig, decider: Decider, seeds: NDArray[np.uint64]) -> Floats:
    """The same in one scenario."""
    fleet, objective = BatchedSimulator(world, len(seeds)), world.objective()
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(seeds)
    decider.begin(fleet, fleet.n)
    since, sums, counts = np.zeros(fleet.n), np.zeros(len(EDGES)), np.zeros(len(EDGES))
    for _ in range(world.n_steps):
        eta, arriving = readings.eta, readings.arrival_hz * world.step_s
        outcome = fleet.step(decider.decide(encoder.encode(readings)))
        account(decider, outcome)
        readings = fleet.readings()
        stretch = np.searchsorted(EDGES, since, side="right") - 1
        np.add.at(sums, stretch, objective.cost(outcome, eta))
        np.add.at(counts, stretch, 1.0)
        since += arriving
    found: Floats = sums / counts
    return found


def _page(found: Mapping[tuple[str, str], Floats], n_episodes: int) -> str:
    head = ["decider", "boards", *_stretches()]
    lines = [head]
    lines += [
        [name, kind, *(f"{100 * gap:.1f} %" for gap in curve)]
        for (kind, name), curve in sorted(found.items(), key=lambda item: item[0][1])
    ]
    return f"""# Boards that were never measured

    python -m benchmarks.policies.adaptation

All boards are modelled: {VALIDATED_DEVICE} with {NETWORK}, all scenarios alike, {n_episodes}
held-out episodes each. "{UNLIKE_BELIEVED}": every board computes, draws power and heats up
otherwise than the model that deciders, training and search rest on, by log-normal factors with
standard deviations of {UNKNOWN.latency_sd:g}, {UNKNOWN.power_sd:g} (idle, and once more what load
adds) and {UNKNOWN.thermal_sd:g}, {TIMES:g} times those of training. No decider is told; the oracle
is. Figures are the cost above the oracle's by requests since the board was switched on.

![Cost above the oracle's over requests](adaptation.png)

{markdown(lines)}

Machine:

{machine()}
"""


def _figure(found: Mapping[tuple[str, str], Floats]) -> Figure:
    """Draw all but the fixed setting, which is far off."""
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip((OURS, RIVALS[0]), (LEARNED, MUTED), strict=True))
    for (kind, name), curve in found.items():
        if name in colours:
            style = "o-" if kind == UNLIKE_BELIEVED else "o:"
            axes.plot(100 * curve, style, color=colours[name], label=f"{name}, {kind}")
    axes.set_xticks(range(len(EDGES)), _stretches())
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("requests since the board was switched on")
    axes.set_ylabel("cost above the oracle's, %")
    axes.set_title("Getting used to a board unlike the model", fontsize=11, loc="left")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _stretches() -> list[str]:
    return [*(f"{a}-{b}" for a, b in pairwise(EDGES)), f"{EDGES[-1]}-"]


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, follow and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.adaptation",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of learning (%(default)s)")
    arguments = parser.parse_args(argv)

    def make() -> str:
        world = build_sim_config(VALIDATED_DEVICE, open_or_prepare(NETWORK), ("all",))
        deciders = {
            name: DECIDERS.fit(name, world, arguments.seed).decider for name in (OURS, *RIVALS)
        }
        worlds = {AS_BELIEVED: world, UNLIKE_BELIEVED: replace(world, randomisation=UNKNOWN)}
        found = gaps(worlds, deciders, N_EPISODES)
        save(_figure(found), arguments.out / "adaptation.png")
        return _page(found, N_EPISODES)

    return write_page(make, arguments.out / "adaptation.md")


if __name__ == "__main__":
    sys.exit(command.run(main))
