"""Learning on a live board: from scratch, from a simulation, from a policy, from a log."""

from __future__ import annotations

from common import extras

extras.require("learning on a board", "stable_baselines3", "tensorboard", "tqdm")
