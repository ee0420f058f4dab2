"""Short trainings of three learners: their evaluation, and what the saved policies decide."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.deployed.run_folder import RunFolder
from agents.evaluation.evaluate import evaluate
from agents.training.learn import simulated_decider, train
from benchmarks.pinned.content import scattered
from benchmarks.pinned.differences import Values
from envs.edge_env import EdgeSplitEnv
from envs.sim.build import build_sim_config
from envs.sim.make import make_simulated
from partition.prepare.build import prepare

_TRAININGS = {"advised": 48_000, "ppo": 48_000, "dvfo": 12_800}
"""Control steps of all boards: five rollouts, or two hundred, most of them with updates."""
_DEVICE, _MODEL = "tx2", "tiny-cnn"
_SCENARIOS = ("steady-wifi", "lte-driving", "hot-enclosure", "loaded-server")
_SEED, _N_EPISODES, _EPISODE_STEPS = 0, 6, 40
_N_DRIVEN, _N_SCATTERED = 80, 80


def policies(folder: Path) -> tuple[Values, Values]:
    """Train, evaluate, save, load and decide.

    Args:
        folder: where the network and the run folders are written.

    Returns:
        Rows of the evaluation, baselines included, and decisions on a fixed row of observations.
    """
    prepared = prepare(_MODEL, folder / _MODEL)
    # A profile's digits depend on the run-time; known accuracies make their part of the cost count.
    model = replace(prepared, fidelity=(1.0,) * len(prepared.split_points))
    scenarios = build_sim_config(_DEVICE, model, list(_SCENARIOS))
    world = replace(scenarios, n_steps=_EPISODE_STEPS)
    learned = {}
    for name, n_steps in _TRAININGS.items():
        policy = train(name, world, _SEED, total_timesteps=n_steps).policy
        learned[name] = simulated_decider(policy, world)
        run = folder / name
        policy.save(run / "policy")
        config = {"device": _DEVICE, "model": str(model.path)}
        (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    rows = evaluate(world, learned, _SEED, n_episodes=_N_EPISODES)
    evaluation: Values = {}
    for row in rows:
        values = asdict(row)
        key = f"{values.pop('scenario')}, {values.pop('policy')}"
        evaluation[key] = values
    runs = {name: folder / name for name in _TRAININGS}
    return evaluation, _decisions(runs, str(model.path))


def _decisions(runs: dict[str, Path], model: str) -> Values:
    """What policies decide as they are deployed, whatever comes of it."""
    env = make_simulated(_DEVICE, model, _SCENARIOS[1])
    n_fields = len(env.encoder.fields)
    seen = np.concatenate([_driven(env), 2.0 * scattered((_N_SCATTERED, n_fields))])
    values: Values = {"observations": hashlib.sha256(seen.tobytes()).hexdigest()}
    for name, path in runs.items():
        decide = RunFolder.load(path).decide_for(env, model, _SCENARIOS[1]).decide
        values[name] = [" ".join(map(str, decide(observation))) for observation in seen]
    return values


def _driven(env: EdgeSplitEnv) -> NDArray[np.float32]:
    """Observations of a board that goes through its actions by a fixed pattern."""
    sizes = env.decoder.sizes
    seen = [env.reset(seed=_SEED)[0]]
    for step in range(_N_DRIVEN - 1):
        action = [(step // 5 * (2 * axis + 3)) % size for axis, size in enumerate(sizes)]
        seen.append(env.step(np.array(action))[0])
    return np.stack(seen)
