"""Training from its options to its run folder."""

from __future__ import annotations

from common import extras

extras.require("training", "stable_baselines3", "matplotlib", "rich", "tensorboard", "tqdm")
