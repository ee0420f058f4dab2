"""What an agent on a live board has learned and remembers, kept while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from tqdm import tqdm

from agents.errors import AgentError
from agents.training.checkpoints import CHECKPOINT, checkpoint_in, go_on, save_whole
from agents.whole_file import written_whole
from partition import array_file

CHECKPOINT_EVERY = 100
"""Control steps, 25 s at the usual quarter of a second: the most that a kill loses."""
MEMORY_FILE = "memory.npz"
_COLUMNS: Sequence[str] = (
    *("observations", "next_observations", "actions", "rewards"),
    *("dones", "timeouts", "intervals"),
)


class LiveCheckpoints(BaseCallback):
    """Saves the agent and what it remembers every so many steps, each file whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Save to `folder`."""
        super().__init__()
        self._folder = folder

    def _on_step(self) -> bool:
        if self.n_calls % CHECKPOINT_EVERY == 0:
            if isinstance(self.model, OffPolicyAlgorithm):
                save_memory(self.model, self._folder / MEMORY_FILE)
            save_whole(self.model, self._folder / CHECKPOINT)
        return True


class LiveProgress(BaseCallback):
    """Shows how far it is, on stderr."""

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.model._total_timesteps,
            initial=self.num_timesteps,
            unit="step",
            desc="learning on the board",
            mininterval=0.5 if sys.stderr.isatty() else 60.0,
            maxinterval=60.0,
        )

    def _on_step(self) -> bool:
        self._bar.update()
        return True

    def close(self) -> None:
        """End its line, so that what is said next begins another one."""
        if hasattr(self, "_bar"):
            self._bar.close()


def taken_up(agent: BaseAlgorithm, run_dir: Path, seed: int) -> bool:
    """Let an agent that was just built go on where a run that was killed had come to, if it did.

    Raises:
        AgentError: what was saved is damaged.
    """
    checkpoint = checkpoint_in(run_dir)
    if checkpoint is None:
        return False
    go_on(agent, checkpoint, seed)
    if isinstance(agent, OffPolicyAlgorithm):
        load_memory(agent, run_dir / MEMORY_FILE)
    return True


def forget(run_dir: Path) -> None:
    """Delete what only a run that is not finished needs."""
    for name in (CHECKPOINT, MEMORY_FILE):
        (run_dir / name).unlink(missing_ok=True)


def save_memory(agent: OffPolicyAlgorithm, path: Path) -> None:
    """Write the replay buffer without pickle."""
    buffer: Any = agent.replay_buffer
    columns = {name: getattr(buffer, name) for name in _COLUMNS}
    with written_whole(path) as stream:
        np.savez(stream, pos=buffer.pos, full=buffer.full, **columns)


def load_memory(agent: OffPolicyAlgorithm, path: Path) -> None:
    """Read the replay buffer.

    Raises:
        AgentError: it is missing or damaged.
    """
    buffer: Any = agent.replay_buffer
    try:
        columns = array_file.read_arrays(path, (*_COLUMNS, "pos", "full"))
        pos, full = int(columns.pop("pos")), bool(columns.pop("full"))
        for name, column in columns.items():
            if column.shape != getattr(buffer, name).shape or not np.isfinite(column).all():
                raise ValueError(f"{name} has shape {column.shape} or holds no numbers")
            getattr(buffer, name)[:] = column
        if not 0 <= pos < buffer.buffer_size:
            raise ValueError(f"pos is {pos}")
        buffer.pos, buffer.full = pos, full
    except (OSError, ValueError, TypeError) as error:
        raise AgentError(f"{path} is damaged ({error}); learn again in another folder") from None
