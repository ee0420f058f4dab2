"""Policies and run folders without any training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata
from envs.plant import Layout
from envs.spaces import observation_fields


def constant_policy(layout: Layout, action: Sequence[int]) -> FrozenPolicy:
    """A policy that chooses `action` whatever it sees; negative indices count from the end."""
    sizes = [len(axis.values) for axis in layout.axes]
    scores = [np.eye(size, dtype=np.float32)[i] for size, i in zip(sizes, action, strict=True)]
    fields = observation_fields(layout)
    metadata = PolicyMetadata("ppo", layout, fields, activation="relu", head="categorical")
    bias = np.concatenate(scores)
    return FrozenPolicy(metadata, [(np.zeros((len(bias), len(fields)), np.float32), bias)])


def write_run(path: Path, policy: FrozenPolicy, device: object, model: object) -> Path:
    """A run folder as `train.py` leaves it, as far as `deploy.py` reads it."""
    path.mkdir(parents=True)
    document = {"device": str(device), "model": str(model)}
    (path / "config.json").write_text(json.dumps(document))
    policy.save(path / "policy")
    return path
