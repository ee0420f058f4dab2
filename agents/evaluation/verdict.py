"""Last words of a run: whether its policy is worth deploying, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.evaluation.evaluate import OVERALL, STATIC
from agents.evaluation.rows import ALL, EvaluationRow
from common import command

YARDSTICKS = (STATIC, "random")
"""What a policy that is worth deploying must not cost more than; over several scenarios it is the
one setting for all of them, since no board could deploy one for each."""

LEVEL = 0.01
"""Share of a cost by which held-out episodes of two seeds differ anyway."""


def beaten_by(rows: Sequence[EvaluationRow], policy: str) -> dict[str, float]:
    """Mean costs on held-out episodes of the yardsticks that a policy clearly costs more than.

    Args:
        rows: of an evaluation, over all scenarios if there are several.
        policy: its name there.
    """
    cost, found = costs(rows), costs(rows)[policy] / (1.0 + LEVEL)
    names = [OVERALL if name == STATIC and OVERALL in cost else name for name in YARDSTICKS]
    return {name: cost[name] for name in names if cost[name] < found}


def costs(rows: Sequence[EvaluationRow]) -> dict[str, float]:
    """Mean cost of a control step of each policy, over all scenarios or in the only one."""
    widest = ALL if any(row.scenario == ALL for row in rows) else rows[0].scenario
    return {row.policy: row.cost for row in rows if row.scenario == widest}


def last_words(
    rows: Sequence[EvaluationRow], policy: str, run_dir: Path, *, remedy: str, is_privileged: bool
) -> str:
    """What a command that made a run folder ends with.

    Args:
        rows: of its evaluation.
        policy: its name there.
        run_dir: the folder.
        remedy: what may make a better one.
        is_privileged: whether it decides by what no sensor shows.
    """
    if is_privileged:
        return (
            f"tables and pictures are in {run_dir}\n{policy} looks into the simulation and cannot "
            f"drive a board: it is there to measure others by"
        )
    where = f"policy and pictures are in {run_dir}"
    better = beaten_by(rows, policy)
    if not better:
        return f"{where}\nnext: {command.call('deploy')} --run {run_dir}"
    others = " and ".join(f"{name} ({cost:.3f})" for name, cost in better.items())
    return (
        f"{where}\nwarning: on held-out episodes {policy} costs {costs(rows)[policy]:.3f} a step, "
        f"more than {others}, and is not worth deploying; {remedy}"
    )
