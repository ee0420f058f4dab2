"""Arms of a comparison: a run's policy, and what it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.baselines.best_static import best_static
from agents.deciders.base import top_clocks
from agents.deciders.rule import Rule
from agents.deciders.static import STATIC
from agents.deployed.board_decider import BoardDecider, Decide
from agents.deployed.run_folder import RunFolder
from agents.errors import RunFolderError
from agents.policy.frozen import NETWORK
from agents.policy.saved_rule import SavedRule
from agents.seeds import search_seeds
from envs.edge_env import EdgeSplitEnv
from envs.plant import Indices, Layout
from envs.spaces import ObservationEncoder, observation_fields
from hw.base import Hold

GOVERNOR, BEST_STATIC = "governor", "best-static"


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the two.

    Attributes:
        name: in tables and files.
        title: in sentences.
        leaves_clocks: whether the board's own governors have the clocks in its blocks.
        check_layout: refuses a board that it was not made for.
        ready: makes what decides on a board.
        run: folder that says how it drives a board; None where it leaves that to the other arm.
    """

    name: str
    title: str
    leaves_clocks: bool
    check_layout: Callable[[Layout], None]
    ready: Callable[[EdgeSplitEnv], BoardDecider]
    run: RunFolder | None


def arms(
    run: RunFolder, against: str, own: str | None, model: str, scenario: str
) -> tuple[Arm, Arm]:
    """The policy of a run and what it is compared with.

    Args:
        run: to be proved.
        against: "governor", "best-static" or the folder of another run.
        own: `MODULE:CLASS` whose code that may run.
        model: folder or name of the network that the board runs.
        scenario: its requests, by name or file.

    Raises:
        AgentError: the other run is missing or damaged, or cannot share a board with this one.
        EnvError: the scenario.
        HardwareError: the device that the best static setting is searched on.
        PartitionError: the model.
    """
    first = _of_run(run, "policy", "the policy", model, scenario)
    if against == GOVERNOR:
        return first, _governor()
    if against == BEST_STATIC:
        return first, _best_static(run, model, scenario)
    other = RunFolder.load(Path(against), own)
    _check_alike(run, other)
    return first, _of_run(other, other.path.name, str(other.path), model, scenario)


def driver(both: tuple[Arm, Arm]) -> RunFolder:
    """The run that says which clocks are driven and how: of an arm that sets them, if any does."""
    runs = [arm.run for arm in sorted(both, key=lambda arm: arm.leaves_clocks) if arm.run]
    return runs[0]


def _governor() -> Arm:
    """The stock governors, with everything on the board."""

    def ready(env: EdgeSplitEnv) -> BoardDecider:
        action = top_clocks(env.plant.layout, 1)[0]
        return BoardDecider(lambda _: action)

    return Arm(GOVERNOR, "the governor", True, lambda _: None, ready, None)


def _best_static(run: RunFolder, model: str, scenario: str) -> Arm:
    """The best fixed setting of the run's device model, searched as the baselines are."""
    world = run.world(model, scenario)
    action = list(best_static(world, search_seeds(0)).action)
    policy = SavedRule(BEST_STATIC, Rule(STATIC, {"action": action}), world.layout)
    title = "the best static setting"
    return _of_run(replace(run, policy=policy), BEST_STATIC, title, model, scenario)


def _of_run(run: RunFolder, name: str, title: str, model: str, scenario: str) -> Arm:
    policy = run.policy

    def check(layout: Layout) -> None:
        policy.check_layout(_own_layout(run, layout))

    def ready(env: EdgeSplitEnv) -> BoardDecider:
        own = _own_layout(run, env.plant.layout)
        decider = run.decide_for(env, model, scenario, own)
        return replace(decider, decide=_translated(decider.decide, env.plant.layout, own))

    return Arm(name, title, policy.leaves_clocks, check, ready, run)


def _own_layout(run: RunFolder, layout: Layout) -> Layout:
    """The board as the run's policy sees it when it is alone there.

    One that leaves the clocks sees none, and a network the scale of power that it was trained with.
    """
    if run.policy.leaves_clocks:
        return replace(layout, axes=layout.axes[-1:])
    if run.policy.kind == NETWORK:
        return replace(layout, max_power_w=run.policy.layout.max_power_w)
    return layout


def _translated(decide: Decide, layout: Layout, own: Layout) -> Decide:
    """What decides by observations of its own layout, for the board's."""
    if own == layout:
        return decide
    shown, seen = (ObservationEncoder(observation_fields(each)) for each in (layout, own))
    n_left = len(layout.axes) - len(own.axes)
    top = top_clocks(layout, 1)[0, :n_left]

    def translated(observation: NDArray[np.float32]) -> Indices:
        readings = shown.decode(observation[None])
        mine = replace(readings, clocks_hz=readings.clocks_hz[:, n_left:])
        return np.concatenate([top, decide(seen.encode(mine)[0])])

    return translated


def _check_alike(run: RunFolder, other: RunFolder) -> None:
    """Refuse two runs that hold the clocks in different ways, for a board holds them in one.

    Raises:
        RunFolderError: they do.
    """
    set_clocks = not (run.policy.leaves_clocks or other.policy.leaves_clocks)
    if set_clocks and (run.hold is Hold.CAP) != (other.hold is Hold.CAP):
        raise RunFolderError(
            f"{other.path} was trained to hold clocks by {other.hold.value}, {run.path} by "
            f"{run.hold.value}, and a board holds them in one way at a time; compare runs that "
            "were trained with the same --hold"
        )
