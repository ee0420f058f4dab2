"""Ablation of concurrent decisions: `python -m benchmarks.policies.ablation`.

Writes `ablation.md`. DVFO's learner (`dvfo`) is trained again with one of its three parts changed
(arXiv 2306.01811, after Xiao et al. 2020, arXiv 2004.06089), on a board whose decisions take up to
a third of a control step: the board waits for each decision; the agent sees neither the action in
force nor how long a decision takes; it looks ahead, with a discount per control step or one per
time that a decision took.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agents.deciders.oracle import Oracle
from agents.evaluation.episodes import run_episodes
from agents.evaluation.statistics import Bootstrap, Interval
from agents.seeds import held_out_seeds
from agents.training.learn import simulated_decider, train
from agents.training.run import open_or_prepare
from agents.training.workers import fresh_processes, n_cores
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies.plan import NETWORK, VALIDATED_DEVICE
from common import command
from envs.arrays import Floats
from envs.sim.build import build_sim_config
from partition.cli import positive

SCENARIO = "slow-decisions"
WHOLE = "dvfo"
VARIANTS = {
    WHOLE: (WHOLE, False),
    "the board waits for each decision": (WHOLE, True),
    "unaware of its own action and time": ("dvfo-unaware", False),
    "discount 0.5 per control step": ("dvfo-foreseeing", False),
    "discount 0.5 to the power of the time to decide": ("dvfo-selection-discount", False),
}
"""What is trained, and whether the board waits."""
N_SEEDS, N_EPISODES = 6, 24
Result = dict[str, Floats]
"""Energy and latency per request, share in time and cost of each held-out episode, and the
oracle's cost on a board that does not wait."""


def run_one(variant: str, seed: int) -> Result:
    """Train a variant with a seed and run it on that seed's held-out episodes.

    Args:
        variant: one of `VARIANTS`.
        seed: of learning and of the episodes.
    """
    algorithm, waits = VARIANTS[variant]
    moving = build_sim_config(VALIDATED_DEVICE, NETWORK, (SCENARIO,))
    world = replace(moving, blocking=waits)
    policy = train(algorithm, world, seed).policy
    seeds = held_out_seeds(seed, N_EPISODES)
    run = run_episodes(world, simulated_decider(policy, world), seeds)
    least = run_episodes(moving, Oracle(), seeds).cost
    return {
        "energy_j": run.energy_j,
        "latency_s": run.latency_s,
        "deadline_hit_rate": run.deadline_hit_rate,
        "cost": run.cost,
        "least": least,
    }


def page(found: Mapping[str, Result], n_seeds: int) -> str:
    """Write the table; all variants met the same episodes."""
    bootstrap = Bootstrap(n_seeds)
    whole = found[WHOLE]["cost"].reshape(n_seeds, -1).mean(axis=1)
    head = [*("changed", "J per request", "mean ms", "in time %"), "above the oracle %"]
    lines = [[*head, "costs more than the whole %"]]
    for variant, run in found.items():
        by_seed = {key: values.reshape(n_seeds, -1).mean(axis=1) for key, values in run.items()}
        above = bootstrap.mean(100.0 * (by_seed["cost"] / by_seed["least"] - 1.0))
        more = bootstrap.mean(100.0 * (by_seed["cost"] / whole - 1.0))
        lines.append(
            [
                "nothing" if variant == WHOLE else variant,
                f"{run['energy_j'].mean():.3f}",
                f"{1e3 * run['latency_s'].mean():.1f}",
                f"{100 * run['deadline_hit_rate'].mean():.2f}",
                _text(above),
                "-" if variant == WHOLE else _text(more),
            ]
        )
    return f"""# The three parts of thinking while moving

    python -m benchmarks.policies.ablation

DVFO's learner, retrained in the scenario `{SCENARIO}` with {n_seeds} seeds for each line and run
on {N_EPISODES} held-out episodes per seed, the same for all lines; modelled: {VALIDATED_DEVICE}
with {NETWORK}. Per cent are means over seeds with 95 % bootstrap intervals, paired. The oracle is
the one of a board that goes on while it decides. `{WHOLE}` looks at the present step only, which
serves best here; the last two lines look ahead, the last one as the publication is understood, with
the discount to the power of the share of a control step that a decision took.

{markdown(lines)}

Machine:

{machine()}
"""


def _text(interval: Interval) -> str:
    return f"{interval.mean:.1f} ({interval.low:.1f} to {interval.high:.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Train, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.ablation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument(
        "--seeds", type=positive, default=N_SEEDS, help="of each line (%(default)s)"
    )
    arguments = parser.parse_args(argv)

    def make() -> str:
        open_or_prepare(NETWORK)
        with fresh_processes(n_cores()) as pool:
            waiting = {
                variant: [pool.submit(run_one, variant, seed) for seed in range(arguments.seeds)]
                for variant in VARIANTS
            }
            found = {
                variant: _joined([future.result() for future in futures])
                for variant, futures in waiting.items()
            }
        return page(found, arguments.seeds)

    return write_page(make, arguments.out / "ablation.md")


def _joined(runs: Sequence[Result]) -> Result:
    return {key: np.concatenate([run[key] for run in runs]) for key in runs[0]}


if __name__ == "__main__":
    sys.exit(command.run(main))
