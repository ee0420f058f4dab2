"""Two policies on one board, on the same requests, block by block in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from agents.deployed.board_decider import BoardDecider
from agents.training.run import write_json
from envs.edge_env import EdgeSplitEnv
from envs.energy_per_request import EnergyTotal
from envs.live.plant import LivePlant

BLOCK_STEPS = 40
N_BLOCKS = 5
COMPARISON_FILE = "comparison.json"


def n_compared() -> int:
    """Control steps of a comparison."""
    return 2 * N_BLOCKS * BLOCK_STEPS


@dataclass(frozen=True, slots=True)
class TuningBlock:
    """What a policy took over some steps.

    Attributes:
        energy_j: energy per request answered; NaN where none was.
        deadline_hit_rate: share of requests in time.
        latency_s: mean latency.
        cost: mean cost per step.
    """

    energy_j: float
    deadline_hit_rate: float
    latency_s: float
    cost: float


def compare(
    env: EdgeSplitEnv,
    before: Callable[[], BoardDecider],
    after: Callable[[], BoardDecider],
    n_blocks: int | None = None,
) -> dict[str, TuningBlock]:
    """Run both policies on the board.

    Args:
        env: of the board.
        before: makes the policy as it was, with an empty memory.
        after: makes the other one.
        n_blocks: stretches of requests, which both answer; `N_BLOCKS` if not given.
    """
    both = {"before": before, "after": after}
    seen: dict[str, list[list[float]]] = {name: [] for name in both}
    drawn = {name: EnergyTotal() for name in both}
    for block in range(N_BLOCKS if n_blocks is None else n_blocks):
        for name in sorted(both, reverse=block % 2 == 0):
            decider, (observation, _) = both[name](), env.reset(seed=block)
            for step in range(BLOCK_STEPS):
                observation, reward, _, _, info = env.step(decider.decide(observation))
                outcome = info["outcome"]
                asked = outcome["requests"]
                decider.account(asked, asked * (1.0 - outcome["deadline_hit_rate"]))
                # The first step still pays for the clocks before it.
                if step and _is_measured(env):
                    energy_j = outcome["power_w"] * env.plant.step_s
                    energy_j += outcome["server_j"] * outcome["requests"]
                    drawn[name].add(energy_j, outcome["requests"])
                    seen[name].append(
                        [outcome["deadline_hit_rate"], outcome["latency_s"], -float(reward)]
                    )
    return {name: _block(drawn[name], rows) for name, rows in seen.items()}


def _block(drawn: EnergyTotal, rows: list[list[float]]) -> TuningBlock:
    energy_j = drawn.per_request_j
    means = map(float, np.mean(rows, axis=0) if rows else np.full(3, math.nan))
    return TuningBlock(math.nan if energy_j is None else energy_j, *means)


def _is_measured(env: EdgeSplitEnv) -> bool:
    """Whether the energy of the last step is the board's, and not one from before."""
    return not isinstance(env.plant, LivePlant) or env.plant.last_power.is_measured


def report(
    blocks: dict[str, TuningBlock], run_dir: Path, *, names: tuple[str, str] = ("before", "after")
) -> str:
    """Write `comparison.json` and report the difference in one line.

    Args:
        blocks: of `compare`.
        run_dir: for the file.
        names: of the two, for people.
    """
    write_json(run_dir / COMPARISON_FILE, {name: asdict(block) for name, block in blocks.items()})
    before, after = blocks["before"], blocks["after"]
    first, second = names
    return (
        f"energy per request {before.energy_j:.4f} J {first}, {after.energy_j:.4f} J {second} "
        f"({100 * (after.energy_j / before.energy_j - 1):+.1f} %); in time "
        f"{100 * before.deadline_hit_rate:.1f} % and {100 * after.deadline_hit_rate:.1f} %; cost "
        f"{before.cost:.4f} and {after.cost:.4f}"
    )
