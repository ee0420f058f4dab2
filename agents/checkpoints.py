"""Agents saved while they train, so that a run which was killed goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

CHECKPOINT = "checkpoint.zip"
EVERY_S = 20.0


class Checkpoints(BaseCallback):
    """Saves the agent now and then; a killed process leaves the last whole file."""

    def __init__(self, folder: Path) -> None:
        """Save to `folder`."""
        super().__init__()
        self._folder = folder
        self._saved_s = time.monotonic()

    def _on_step(self) -> bool:
        if time.monotonic() - self._saved_s >= EVERY_S:
            save_whole(self.model, self._folder / CHECKPOINT)
            self._saved_s = time.monotonic()
        return True


def save_whole(agent: BaseAlgorithm, path: Path) -> None:
    """Save an agent under a name that never belongs to half a file."""
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        agent.save(stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
