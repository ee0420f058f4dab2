"""A promised share of requests in time, kept or not: `python -m benchmarks.policies.promise`.

Writes `promise.md` and `promise.png`. The policy of `advised` as `deploy.py --promise` holds it to
a share of requests in time, next to the same policy free, taking the models at their word, and
always at its safest; on boards as believed and on boards unlike the model, ten minutes each.
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

from agents.advised.promised import Promised
from agents.advised.risk_control import CERTAIN
from agents.advised.rule import own_policy
from agents.deciders.base import Decider
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Parameters
from agents.evaluation.episodes import Episodes, run_episodes
from agents.evaluation.palette import INK, LEARNED, MUTED
from agents.evaluation.plots import save
from agents.policy.saved_rule import SavedRule
from agents.seeds import held_out_seeds
from agents.training.learn import train
from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from benchmarks.policies.adaptation import AS_BELIEVED, UNKNOWN, UNLIKE_BELIEVED
from benchmarks.policies.plan import NETWORK, OURS, VALIDATED_DEVICE
from common import command
from envs.arrays import Floats
from envs.plant import Plant
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig

SHARES = (0.9, 0.95, 0.99)
MINUTES = 10.0
N_EPISODES = 8
FREE, SAFEST = "free", "safest"


class Settled(Promised):
    """The same with a caution that nothing changes."""

    def __init__(
        self, known: NominalModel, parameters: Parameters, promise: float, caution: float
    ) -> None:
        """Settle at a caution."""
        super().__init__(known, own_policy(known, parameters), promise)
        self._settled = caution

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what was seen."""
        super().begin(plant, n)
        self._control.caution = np.full(n, self._settled)

    def account(self, asked: Floats, late: Floats) -> None:
        """Learn nothing."""


def promising(share: float) -> str:
    """Name of the policy that promises a share."""
    return f"promise {100 * share:g} %"


def believing(share: float) -> str:
    """Name of the policy that asks the models for a share."""
    return f"models say {100 * share:g} %"


def deciders(known: NominalModel, parameters: Parameters) -> dict[str, Decider]:
    """The policy in every way, by name."""
    found: dict[str, Decider] = {FREE: own_policy(known, parameters)}
    for share in SHARES:
        found[believing(share)] = Settled(known, parameters, share, 0.0)
        found[promising(share)] = Promised(known, own_policy(known, parameters), share)
    return found | {SAFEST: Settled(known, parameters, SHARES[-1], CERTAIN)}


@dataclass(frozen=True, slots=True)
class Runs:
    """Of one decider on one kind of board, over all scenarios; arrays of shape (n_runs,).

    Attributes:
        deadline_hit_rate: share of requests in time.
        energy_j: per request.
        cost: mean cost of a step.
    """

    deadline_hit_rate: Floats
    energy_j: Floats
    cost: Floats

    @classmethod
    def of(cls, parts: Sequence[Episodes]) -> Runs:
        """Put the runs of all scenarios in one row."""
        names = ("deadline_hit_rate", "energy_j", "cost")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def follow(world: SimConfig, parameters: Parameters, n_episodes: int) -> dict[str, Runs]:
    """Run everybody on held-out episodes of each scenario."""
    parts: dict[str, list[Episodes]] = {}
    for scenario in world.scenarios:
        single = replace(world, scenarios=(scenario,))
        for name, decider in deciders(NominalModel.of(single), parameters).items():
            run = run_episodes(single, decider, held_out_seeds(0, n_episodes))
            parts.setdefault(name, []).append(run)
    return {name: Runs.of(part) for name, part in parts.items()}


def kept(found: Mapping[str, Runs], name: str, share: float) -> tuple[int, int]:
    """In how many runs a share was kept, of those in which the safest action keeps it."""
    possible = found[SAFEST].deadline_hit_rate >= share
    return int((found[name].deadline_hit_rate[possible] >= share).sum()), int(possible.sum())


def _page(found: Mapping[str, Mapping[str, Runs]], minutes: float) -> str:
    tables = []
    for kind, runs in found.items():
        lines = [["decider", "kept in", "in time %", "J per request", "cost"]]
        for name, run in runs.items():
            share = _share_of(name)
            held = "" if share is None else "{} of {}".format(*kept(runs, name, share))
            means = (100 * run.deadline_hit_rate.mean(), run.energy_j.mean(), run.cost.mean())
            lines.append([name, held, *map("{:.3f}".format, means)])
        tables.append(f"## Boards {kind}\n\n{markdown(lines)}")
    both = "\n\n".join(tables)
    n_runs = len(next(iter(next(iter(found.values())).values())).cost)
    return f"""# A promised share of requests in time

    python -m benchmarks.policies.promise

All boards are modelled: {VALIDATED_DEVICE} with {NETWORK}, all scenarios alike, {n_runs} held-out
runs of {minutes:g} minutes each. "Promise" is `deploy.py --promise`: after each late request the
policy asks more of its actions, after each one in time a little less. "Models say" asks for the
same share as the models expect it, and learns nothing from what was late. "Safest" always takes
the action with the largest expected share in time and then the lowest latency, "free" is the policy
as it was trained. "Kept in": the runs in which that share was in time, the learning included, of
those in which "safest" reaches it; where it does not, no promise holds, and the board says so.
Boards "{UNLIKE_BELIEVED}" compute, draw power and heat up otherwise than the models believe, by
factors three times as wide as in training.

![Energy over requests in time](promise.png)

{both}

Machine:

{machine()}
"""


def _share_of(name: str) -> float | None:
    shares = {kind(share): share for share in SHARES for kind in (promising, believing)}
    return shares.get(name)


def _name(axes: Axes, text: str, at: tuple[float, float], offset: tuple[int, int]) -> None:
    place: dict[str, Any] = {"xytext": offset, "textcoords": "offset points"}
    axes.annotate(text, at, fontsize=9, color=INK, **place)


def _figure(found: Mapping[str, Mapping[str, Runs]]) -> Figure:
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    for axes, (kind, runs) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        points = {
            name: (float(100 * run.deadline_hit_rate.mean()), float(run.energy_j.mean()))
            for name, run in runs.items()
        }
        for label, colour, mark, each in (
            ("promised", LEARNED, "o-", promising),
            ("as the models say", MUTED, "s--", believing),
        ):
            line = [points[FREE], *(points[each(share)] for share in SHARES)]
            axes.plot(*zip(*line, strict=True), mark, color=colour, label=label)
        axes.plot(*points[SAFEST], "^", color=INK)
        for share in SHARES:
            _name(axes, f"{100 * share:g} %", points[promising(share)], (-12, 8))
        for name in (FREE, SAFEST):
            _name(axes, name, points[name], (6, -11))
        axes.margins(x=0.15, y=0.1)
        axes.set_xlabel("requests in time, %")
        axes.set_ylabel("energy per request, J")
        axes.set_title(f"Boards {kind}", fontsize=11, loc="left")
        axes.legend(frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Train, run and write; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.promise",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of learning (%(default)s)")
    arguments = parser.parse_args(argv)

    def make() -> str:
        world = build_sim_config(VALIDATED_DEVICE, open_or_prepare(NETWORK), ("all",))
        policy = train(OURS, world, arguments.seed).policy
        assert isinstance(policy, SavedRule)
        lasting = replace(world, n_steps=round(60.0 * MINUTES / world.step_s))
        kinds = {AS_BELIEVED: lasting, UNLIKE_BELIEVED: replace(lasting, randomisation=UNKNOWN)}
        parameters = policy.rule.parameters
        found = {kind: follow(each, parameters, N_EPISODES) for kind, each in kinds.items()}
        save(_figure(found), arguments.out / "promise.png")
        return _page(found, MINUTES)

    return write_page(make, arguments.out / "promise.md")


if __name__ == "__main__":
    sys.exit(command.run(main))
