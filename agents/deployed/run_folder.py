"""Run folder: the files of `train.py`, as `deploy.py` needs them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agents.deciders.nominal import NominalModel
from agents.deciders.own import is_own, own_kind
from agents.deployed.board_decider import BoardDecider, one_board
from agents.errors import PolicyError, RunFolderError
from agents.policy.folder import DAMAGE, Policy, Stored, damaged, read
from agents.policy.frozen import NETWORK, FrozenPolicy
from agents.policy.saved_rule import RULE, SavedRule
from agents.rules import KINDS
from common import command
from envs.edge_env import EdgeSplitEnv
from envs.governed.table import GovernedTable
from envs.plant import Layout
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from hw.base import Hold
from hw.boards.registry import is_machine
from hw.device.file import moved, on_runtime, split_mode, split_runtime
from partition import json_file

DEVICE_FILE = "device.toml"
"""Copy of a device's file that does not come with the package."""


GOVERNED_FILE = "governed.npz"
"""What the governors of the device come to, if the policy was trained to cap its clocks."""


def keep_device(device: str, run_dir: Path) -> None:
    """Copy a device's own file to a run folder, so that the folder can be taken to the board."""
    kept, file = run_dir / DEVICE_FILE, split_mode(split_runtime(device)[0])[0]
    if file.endswith(".toml") and not kept.exists():
        shutil.copyfile(file, kept)


def keep_governed(source: Path, run_dir: Path) -> None:
    """Copy what another run keeps of its governors."""
    if (source / GOVERNED_FILE).is_file():
        shutil.copyfile(source / GOVERNED_FILE, run_dir / GOVERNED_FILE)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A finished training run.

    Attributes:
        path: the folder.
        device: modelled device that the policy was trained on, and the run-time (`DEVICE@RUNTIME`).
        model: network that it was trained with.
        policy: what decides.
        hold: how it was trained to hold clocks.
    """

    path: Path
    device: str
    model: str
    policy: Policy
    hold: Hold = Hold.PIN

    def device_on(self, board: str) -> str | None:
        """What a board is taken for; None if for itself."""
        is_itself = is_machine(board) and (
            self.policy.leaves_clocks or self.policy.layout.board == board
        )
        return None if is_itself else self.device

    def domains(self, board: str) -> tuple[str, ...] | None:
        """Clocks of a real board to drive; None for all that are found."""
        if self.policy.leaves_clocks:
            return ()
        layout = self.policy.layout
        return layout.domains if layout.board == board else None

    def decide_for(
        self, env: EdgeSplitEnv, model: str, scenario: str, layout: Layout | None = None
    ) -> BoardDecider:
        """Get ready for a board.

        Args:
            env: of the board.
            model: folder or name of the network that it runs.
            scenario: its requests, by name or file.
            layout: of the observations and the actions; the board's if not given.

        Raises:
            PolicyError: what the folder held does not fit.
        """
        try:
            decider = self.policy.decider(partial(self.known, env, model, scenario, layout))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise damaged(self.path, error) from None
        decider.begin(env.plant, 1)
        return one_board(decider)

    def known(
        self, env: EdgeSplitEnv, model: str, scenario: str, layout: Layout | None = None
    ) -> NominalModel:
        """What a policy may know about a board; arguments as of `decide_for`."""
        nominal = NominalModel.of(self.world(model, scenario))
        return replace(nominal, layout=layout or env.plant.layout, objective=env.objective)

    def governed(self, model: str, scenario: str) -> GovernedTable | None:
        """What governors below its clocks come to; None where they are pinned."""
        return self.world(model, scenario).governed if self.hold is Hold.CAP else None

    def world(self, model: str, scenario: str) -> SimConfig:
        """The simulated world that it was trained in, with one scenario."""
        kept = self.path / GOVERNED_FILE
        return build_sim_config(self.device, model, [scenario], hold=self.hold, governed=kept)

    @classmethod
    def load(cls, path: Path, own: str | None = None) -> RunFolder:
        """Read a run folder.

        Args:
            path: the folder.
            own: `MODULE:CLASS` whose code it may run, if that is what decides.

        Raises:
            RunFolderError: missing, or its `config.json` is damaged.
            PolicyError: it holds no policy, a damaged one, or one that cannot drive a board.
        """
        if not path.is_dir():
            raise RunFolderError(
                f"{path} is no folder; give one that {command.program('train')} wrote"
            )
        config = path / "config.json"
        try:
            document = json_file.read(config)
            device, model = str(document["device"]), document["model"]
            device = on_runtime(device, document.get("runtime", split_runtime(device)[1]))
            hold = Hold(document.get("hold", Hold.PIN.value))  # earlier runs only pinned
        except FileNotFoundError:
            raise RunFolderError(
                f"{config} does not exist; give a run of {command.program('train')}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{config} is damaged ({type(error).__name__}: {error}); train again"
            ) from None
        if (path / DEVICE_FILE).is_file():
            device = moved(device, path / DEVICE_FILE)
        return cls(path, device, str(model), load_policy(path / "policy", own), hold)


def _rule(stored: Stored, own: str | None) -> SavedRule:
    name = str(stored.content["name"])
    if is_own(name) and name != own:
        raise PolicyError(
            f"{name} decides in this run, code that does not come with dvfo and may do anything; "
            f"{command.program('deploy')} runs it if you name it: --own {name}"
        )
    return SavedRule.restored(stored, {name: own_kind(name)} if is_own(name) else KINDS)


_KINDS: dict[str, Callable[[Stored, str | None], Policy]] = {
    NETWORK: lambda stored, _own: FrozenPolicy.restored(stored),
    RULE: _rule,
}


def load_policy(folder: Path, own: str | None = None) -> Policy:
    """Read the folder of a policy of any kind.

    Args:
        folder: of the policy.
        own: `MODULE:CLASS` whose code it may run, if that is what decides.

    Raises:
        PolicyError: missing, half-written, damaged, of another schema version, of a kind that
            drives no board, or decided by code that was not named.
        OwnCodeError: that code cannot be imported.
    """
    stored = read(folder)
    try:
        return _KINDS[stored.kind](stored, own)
    except DAMAGE as error:
        raise damaged(folder, error) from None
