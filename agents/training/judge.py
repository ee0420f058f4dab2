"""Judgement of a decider on held-out episodes: table, pictures and CSV in its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from agents.deciders.base import Decider
from agents.deciders.oracle import Oracle
from agents.evaluation.evaluate import Runs, evaluate, write_csv
from agents.evaluation.plots import decisions_figure, evaluation_figure, record_decisions, save
from agents.evaluation.report import print_rows
from agents.evaluation.rows import EvaluationRow
from agents.seeds import held_out_seeds
from envs.sim.sim_config import SimConfig

N_DRAWN = 18
"""Episodes whose decisions are drawn."""


def judge(
    world: SimConfig,
    name: str,
    decider: Decider,
    seed: int,
    run_dir: Path,
    *,
    beside: Sequence[Future[Runs]] = (),
) -> list[EvaluationRow]:
    """Evaluate, draw and print.

    Args:
        world: whose scenarios are taken one by one.
        name: of the decider.
        decider: to be judged.
        seed: draws the held-out episodes.
        run_dir: where `evaluation.csv` and the pictures go.
        beside: baselines that have been begun already, as `evaluate` takes them.
    """
    rows = evaluate(world, {name: decider}, seed, beside=beside, report=print)
    write_csv(rows, run_dir / "evaluation.csv")
    subtitle = f"modelled {world.device.title}, {world.model}, seed {seed}"
    save(evaluation_figure(rows, name, subtitle), run_dir / "evaluation.png")
    seeds = held_out_seeds(seed, N_DRAWN)
    named = [
        (each, record_decisions(world, chosen, seeds))
        for each, chosen in ((name, decider), ("oracle", Oracle()))
    ]
    save(
        decisions_figure(named, world.layout.domains, world.route_names), run_dir / "decisions.png"
    )
    print_rows(rows)
    return rows
