"""What `train.py` leaves behind, as `deploy.py` needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.deciders.nominal import Known
from agents.deciders.rule import Rule
from agents.deployed.saved_rule import SavedRule, read_document
from agents.errors import PolicyError, RunFolderError
from agents.policy.frozen import FrozenPolicy
from envs.edge_env import EdgeSplitEnv
from envs.plant import Indices, Layout
from envs.sim.build import build_world
from hw.boards.registry import is_machine
from partition import json_file

Decide = Callable[[NDArray[np.float32]], Indices]
"""Chooses an action, shape (n_axes,), by an observation, shape (n_fields,)."""


DEVICE_FILE = "device.toml"
"""Copy of a device's file that does not come with the package."""


def keep_device(device: str, run_dir: Path) -> None:
    """Copy a device's own file to a run folder, so that the folder can be taken to the board."""
    kept = run_dir / DEVICE_FILE
    if device.endswith(".toml") and not kept.exists():
        shutil.copyfile(device, kept)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A finished training run.

    Attributes:
        path: the folder.
        device: modelled device that the policy was trained on.
        model: network that it was trained with.
        policy: frozen, or a rule.
    """

    path: Path
    device: str
    model: str
    policy: FrozenPolicy | SavedRule

    @property
    def algorithm(self) -> str:
        """What decides, as `train.py --algo` calls it."""
        if isinstance(self.policy, SavedRule):
            return self.policy.algorithm
        return self.policy.metadata.algorithm

    @property
    def layout(self) -> Layout:
        """Of the plant that the policy was trained for."""
        if isinstance(self.policy, SavedRule):
            return self.policy.layout
        return self.policy.metadata.layout

    @property
    def leaves_clocks(self) -> bool:
        """Whether the clocks are the stock governors' business."""
        return isinstance(self.policy, SavedRule) and self.policy.rule.leaves_clocks

    def device_on(self, board: str) -> str | None:
        """What a board is taken for; None if for itself."""
        is_itself = is_machine(board) and (self.leaves_clocks or self.layout.board == board)
        return None if is_itself else self.device

    def domains(self, board: str) -> tuple[str, ...] | None:
        """Clocks of a real board to drive; None for all that are found."""
        if self.leaves_clocks:
            return ()
        return self.layout.domains if self.layout.board == board else None

    def constrained(self, least_in_time: float) -> RunFolder:
        """The same, where this quantile of the latency is expected to stay within the target.

        Raises:
            PolicyError: the policy weighs no actions by what they are expected to do.
        """
        if not (isinstance(self.policy, SavedRule) and self.policy.rule.name == "advised"):
            raise PolicyError(
                f"a policy of {self.algorithm} takes no constraint on requests in time; give a run "
                f"of advised"
            )
        parameters = self.policy.rule.parameters | {"least_in_time": least_in_time}
        return replace(
            self, policy=replace(self.policy, rule=Rule(self.policy.rule.kind, parameters))
        )

    def decide_for(self, env: EdgeSplitEnv, model: str, scenario: str) -> Decide:
        """Get ready for a board.

        Args:
            env: of the board.
            model: folder or name of the network that it runs.
            scenario: its requests, by name or file.

        Raises:
            PolicyError: the parameters of a rule do not fit.
        """
        if isinstance(self.policy, FrozenPolicy):
            return self.policy.decide
        try:
            decider = self.policy.rule.build(self.known(env, model, scenario))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PolicyError(
                f"{self.path} is damaged ({type(error).__name__}: {error}); fit it again"
            ) from None
        decider.begin(env.plant, 1)
        return lambda observation: decider.decide(observation[None])[0]

    def known(self, env: EdgeSplitEnv, model: str, scenario: str) -> Known:
        """What a rule may know about a board; arguments as of `decide_for`."""
        world = build_world(self.device, model, [scenario])
        return replace(Known.of(world), layout=env.plant.layout, objective=env.objective)

    @classmethod
    def load(cls, path: Path) -> RunFolder:
        """Read a run folder.

        Raises:
            RunFolderError: missing, or its `config.json` is damaged.
            PolicyError: it holds no policy, a damaged one, or one that cannot drive a board.
        """
        if not path.is_dir():
            raise RunFolderError(f"{path} is no folder; give one that train.py wrote")
        config = path / "config.json"
        try:
            document = json_file.read(config)
            device, model = document["device"], document["model"]
        except FileNotFoundError:
            raise RunFolderError(f"{config} does not exist; give a run of train.py") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{config} is damaged ({type(error).__name__}: {error}); train again"
            ) from None
        if (path / DEVICE_FILE).is_file():
            device = path / DEVICE_FILE
        folder = path / "policy"
        rule = read_document(folder)
        policy = SavedRule.from_document(rule, folder) if rule else FrozenPolicy.load(folder)
        return cls(path, str(device), str(model), policy)
