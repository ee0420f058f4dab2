from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.deciders.rule import Rule
from agents.deployed.board_decider import one_board
from agents.errors import AgentError
from agents.learning.safe_env import SafeEnv
from agents.policy.saved_rule import SavedRule
from agents.rules import KINDS
from agents.testbed import checkpoints, comparison
from agents.testbed import tune as tuning
from agents.testbed.checkpoints import load_memory, save_memory
from agents.testbed.comparison import compare, report
from agents.testbed.place import LivePlace
from agents.testbed.tune import tune, tune_run, warm_start
from agents.training.algorithms import ALGORITHMS
from envs.edge_env import EdgeSplitEnv
from envs.live.make import make_live
from envs.sim.batched_simulator import BatchedSimulator
from partition.providers.registry import parse
from tests.runs import constant_policy, write_run


@pytest.fixture
def env(small_world) -> EdgeSplitEnv:
    return EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())


@pytest.fixture
def learned(small_world):
    """A frozen policy with hidden layers and random weights."""
    recipe = ALGORITHMS["ppo"]
    agent = recipe.build(recipe.boards(small_world), 0, None)
    return recipe.freeze(agent, recipe.describe("ppo", small_world.layout))


@pytest.fixture
def brief(monkeypatch) -> None:
    monkeypatch.setattr(tuning, "N_SIMULATED", 64)
    monkeypatch.setattr(tuning, "N_REHEARSALS", 4)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_EVERY", 10)
    monkeypatch.setattr(comparison, "BLOCK_STEPS", 5)


def test_the_agent_begins_as_the_policy(env, learned):
    agent = warm_start(SafeEnv(env, learned), learned, 0)
    shape = (500, len(learned.metadata.fields))
    observations = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    actions, _ = agent.predict(observations, deterministic=True)
    assert (actions == learned.decide(observations)).all(axis=1).mean() > 0.99


def test_a_policy_without_scores_per_axis_is_refused(env, small_world):
    recipe = ALGORITHMS["dqn"]
    agent = recipe.build(recipe.boards(small_world), 0, None)
    listed = recipe.freeze(agent, recipe.describe("dqn", small_world.layout))
    with pytest.raises(AgentError, match="cannot be tuned"):
        warm_start(SafeEnv(env, constant_policy(small_world.layout, (0, 0, 0, 0))), listed, 0)


def test_a_rule_is_refused_with_what_can_be_tuned(small_world, small_device, tiny, tmp_path):
    saved = SavedRule("model-search", Rule(KINDS["model-search"], {}), small_world.layout)
    run = write_run(tmp_path / "run", saved, small_device, tiny.path)
    place = LivePlace(board="sim", scenario="steady-wifi", cloud=None, n_steps=10, seed=0)
    with pytest.raises(
        AgentError, match=r"model-search, which cannot be tuned; give a run of advised"
    ):
        tune_run(run, tmp_path / "tuned", place)
    assert not (tmp_path / "tuned").exists()


@pytest.mark.usefixtures("brief")
def test_tuning_survives_being_killed(env, learned, small_world, tmp_path):
    tune(env, small_world, learned, tmp_path, 20, 0)
    assert (tmp_path / "checkpoint.safetensors").is_file()
    safe = SafeEnv(env, learned)
    agent = warm_start(safe, learned, 0)
    load_memory(agent, tmp_path / "memory.npz")
    assert agent.replay_buffer.pos == 64 + 19  # the step that saves is not stored yet
    tuned = tune(env, small_world, learned, tmp_path, 30, 0)
    load_memory(agent, tmp_path / "memory.npz")
    assert agent.replay_buffer.pos == 64 + 28
    assert tuned.metadata.layout == small_world.layout


@pytest.mark.usefixtures("brief")
def test_memory_that_is_damaged_is_refused(env, learned, tmp_path):
    agent = warm_start(SafeEnv(env, learned), learned, 0)
    save_memory(agent, tmp_path / "memory.npz")
    (tmp_path / "memory.npz").write_bytes(b"half")
    with pytest.raises(AgentError, match="damaged"):
        load_memory(agent, tmp_path / "memory.npz")


@pytest.mark.usefixtures("brief")
def test_energy_before_and_after_is_told(env, small_world, tmp_path):
    fast = constant_policy(small_world.layout, (2, 2, 2, -1))
    slow = constant_policy(small_world.layout, (1, 1, 1, -1))
    blocks = compare(env, lambda: one_board(fast), lambda: one_board(slow), 2)
    assert blocks["after"].energy_j < blocks["before"].energy_j
    line = report(blocks, tmp_path)
    assert f"{blocks['before'].energy_j:.4f} J before" in line
    assert (tmp_path / "comparison.json").is_file()


@pytest.mark.usefixtures("brief")
def test_the_record_of_the_machine_says_what_the_network_ran_on(tiny, tmp_path):
    env = make_live(model=str(tiny.path), providers=parse("cpu"))
    try:
        tuning.record_machine(env, tmp_path)
    finally:
        env.close()
    machine = json.loads((tmp_path / "machine.json").read_text())
    assert (machine["runs_on"], "onnxruntime" in machine) == ("cpu", True)


def test_energy_is_told_per_request_that_was_answered(build):
    """An overloaded board drops requests; those that were answered took the energy."""
    busy = build("busy", rate_hz="1000.0")
    env = EdgeSplitEnv(BatchedSimulator(busy, 1), busy.objective())
    slow = constant_policy(busy.layout, (0, 0, 0, -1))
    block = compare(env, lambda: one_board(slow), lambda: one_board(slow), 1)["after"]
    env.reset(seed=0)
    outcomes = [env.step(np.array([0, 0, 0, 4]))[-1]["outcome"] for _ in range(5)][1:]
    assert sum(o["requests"] for o in outcomes) < 0.5 * 4 * busy.step_s * 1000.0
    answered = sum(o["requests"] for o in outcomes)
    expected_j = sum(o["power_w"] for o in outcomes) * busy.step_s / answered
    assert block.energy_j == pytest.approx(expected_j)


@pytest.mark.usefixtures("brief")
def test_both_are_compared_on_the_same_requests(small_world):
    """The same policy against itself comes out even, block by block."""
    bursty = replace(small_world, n_steps=5)
    env = EdgeSplitEnv(BatchedSimulator(bursty, 1), bursty.objective())
    policy = constant_policy(small_world.layout, (1, 1, 1, -1))
    asked = []

    def fresh():
        asked.append(True)
        return one_board(policy)

    blocks = compare(env, fresh, fresh, 3)
    assert blocks["before"] == blocks["after"]
    assert len(asked) == 6
