"""Cost of a higher deadline hit rate: `python -m benchmarks.policies.constraint`.

Writes `constraint.md` and `constraint.png`. The latency target as a constraint, as
`deploy.py --min-on-time` sets it: of the actions only those remain that are expected to answer a
given share of the requests in time, next to the same policy without it and the baselines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.deciders.base import Decider
from agents.evaluation.episodes import run_episodes
from agents.evaluation.palette import INK, LEARNED, MUTED
from agents.evaluation.plots import save
from agents.policy.folder import Policy
from agents.registry import UNLEARNED
from agents.seeds import held_out_seeds
from agents.training.learn import simulated_decider, train
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies.plan import NETWORK, OURS, VALIDATED_DEVICE
from common import command
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig

SHARES = (0.8, 0.9, 0.95, 0.99, 1.0)
RIVALS = ("oracle", "model-search", "dynasplit")
"""The last is searched for each scenario by itself, as everywhere."""
N_EPISODES = 24


@dataclass(frozen=True, slots=True)
class Point:
    """What a decider takes and reaches, means over all scenarios and episodes.

    Attributes:
        energy_j: per request.
        latency_s: mean.
        deadline_hit_rate: share of requests in time.
        cost: mean cost of a step.
    """

    energy_j: float
    latency_s: float
    deadline_hit_rate: float
    cost: float


def constrained(world: SimConfig, policy: Policy) -> dict[str, Decider]:
    """The same policy under every constraint, by the name that it gets in the table."""
    found = {OURS: simulated_decider(policy, world)}
    for share in SHARES:
        bound = simulated_decider(policy.constrained(share), world)
        found[f"{OURS}, at least {100 * share:g} %"] = bound
    return found


def follow(world: SimConfig, ours: Mapping[str, Decider], n_episodes: int) -> dict[str, Point]:
    """Run everybody on held-out episodes of each scenario.

    Args:
        world: boards and scenarios.
        ours: deciders that are the same in all scenarios; baselines are fitted to each.
        n_episodes: of each scenario.
    """
    seeds, found = held_out_seeds(0, n_episodes), []
    for scenario in world.scenarios:
        single = replace(world, scenarios=(scenario,))
        deciders = {name: UNLEARNED.fit(name, single, 0).decider for name in RIVALS} | dict(ours)
        runs = {name: run_episodes(single, decider, seeds) for name, decider in deciders.items()}
        found.append(
            [[r.energy_j, r.latency_s, r.deadline_hit_rate, r.cost] for r in runs.values()]
        )
    means = np.mean(found, axis=(0, 3))
    return {name: Point(*row) for name, row in zip(runs, means.tolist(), strict=True)}


def _page(found: Mapping[str, Point], n_episodes: int) -> str:
    lines = [["decider", "in time %", "J per request", "mean ms", "cost"]]
    lines += [
        [
            name,
            f"{100 * point.deadline_hit_rate:.2f}",
            f"{point.energy_j:.3f}",
            f"{1e3 * point.latency_s:.1f}",
            f"{point.cost:.4f}",
        ]
        for name, point in found.items()
    ]
    return f"""# Requests in time as a constraint

    python -m benchmarks.policies.constraint

All boards are modelled: {VALIDATED_DEVICE} with {NETWORK}, all scenarios alike, {n_episodes}
held-out episodes each. "At least": of its actions `{OURS}` takes only those that are expected to
answer that share of the requests within their latency target, which is to say that this quantile
of the latency stays within it; where none does, the one that comes closest
(`deploy.py --min-on-time`). Nothing is retrained. Targets that no decider can meet are among the
scenarios, so that no column reaches 100 %.

![Energy over requests in time](constraint.png)

{markdown(lines)}

Machine:

{machine()}
"""


_BESIDE = {
    "oracle": ((8, -10), "left"),
    "model-search": ((-8, -10), "right"),
    "dynasplit": ((8, 4), "left"),
}
"""Where the names of `RIVALS` stand, points from their marks."""


def _name(
    axes: Axes, text: str, at: tuple[float, float], offset: tuple[int, int], side: str
) -> None:
    place: dict[str, Any] = {"xytext": offset, "textcoords": "offset points", "ha": side}
    axes.annotate(text, at, fontsize=9, color=INK, **place)


def _figure(found: Mapping[str, Point]) -> Figure:
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.subplots()
    ours = [
        (100 * p.deadline_hit_rate, p.energy_j)
        for name, p in found.items()
        if name.startswith(OURS)
    ]
    axes.plot(*zip(*ours, strict=True), "o-", color=LEARNED, label=f"{OURS}, ever tighter")
    labels = ["no constraint", *(f"{100 * share:g} %" for share in SHARES)]
    offsets = [(0, 10), (0, 10), *((6, -11) for _ in SHARES[1:])]
    for label, at, offset in zip(labels, ours, offsets, strict=True):
        right = "right" if label == labels[0] else "left"
        _name(axes, label, at, offset, right)
    for name in RIVALS:
        at, (offset, side) = (
            (100 * found[name].deadline_hit_rate, found[name].energy_j),
            _BESIDE[name],
        )
        axes.plot(*at, "s", color=MUTED)
        _name(axes, name, at, offset, side)
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel("requests in time, %")
    axes.set_ylabel("energy per request, J")
    axes.set_title("What it takes to be in time more often", fontsize=11, loc="left")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Train, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.constraint",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of learning (%(default)s)")
    arguments = parser.parse_args(argv)

    def make() -> str:
        world = build_sim_config(VALIDATED_DEVICE, open_or_prepare(NETWORK), ("all",))
        policy = train(OURS, world, arguments.seed).policy
        found = follow(world, constrained(world, policy), N_EPISODES)
        save(_figure(found), arguments.out / "constraint.png")
        return _page(found, N_EPISODES)

    return write_page(make, arguments.out / "constraint.md")


if __name__ == "__main__":
    sys.exit(command.run(main))
