"""Search for a learner's settings, `train.py --tune N`, up to its table."""

from __future__ import annotations

from common import extras

extras.require("tuning", "stable_baselines3", "optuna", "tqdm")
