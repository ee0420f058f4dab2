"""Learning from a log that was written on a simulated board."""

from __future__ import annotations

import numpy as np
import pytest

import train
from agents.baselines.rollout import mean_cost
from agents.deciders.nominal import NominalModel, every_action
from agents.deciders.rule import Rule
from agents.deployed.run_folder import RunFolder
from agents.deployed.transition_log import TransitionLog
from agents.errors import AgentError
from agents.policy.saved_rule import SavedRule
from agents.rules import KINDS
from agents.seeds import seeds_for
from agents.testbed import offline
from agents.testbed import tune as tuning
from agents.testbed.offline import learn_from_log
from agents.training.algorithms import ALGORITHMS
from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator
from tests.agents.testbed.test_tune_advised import uncorrected
from tests.runs import write_run

SEEDS = seeds_for(77, 0, 6)


@pytest.fixture
def logged(small_world, tmp_path):
    """Let a decider drive a board, straying from it now and then, and log that."""

    def write(decider, n, stray=0.0):
        env = EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())
        draw = np.random.default_rng(0)
        observation, _ = env.reset(seed=0)
        decider.begin(env.plant, 1)
        with TransitionLog(tmp_path / "log", "advised", small_world.layout) as log:
            for _ in range(n):
                action = decider.decide(observation[None])[0]
                if draw.random() < stray:
                    action = draw.integers(0, env.decoder.sizes)
                before = observation
                observation, *_, cut, info = env.step(action)
                log.add(before, action, info, is_measured=True)
                if cut:
                    observation, _ = env.reset()
                    decider.begin(env.plant, 1)
                    log.begin()
        return tmp_path / "log"

    return write


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(tuning, "N_SIMULATED", 64)
    monkeypatch.setattr(offline, "N_REHEARSALS", 20)
    monkeypatch.setattr(offline, "MIN_STEPS", 40)


@pytest.fixture
def costly(small_world) -> Rule:
    """A policy that takes its models for wrong: high clocks of the GPU are worth a fifth more."""
    known = NominalModel.of(small_world)
    actions = every_action(small_world.layout)
    return uncorrected(known, actions, 20.0 * (actions[:, 1] / actions[:, 1].max() - 0.5))


def test_what_a_log_says_against_a_rule_is_learned(
    small_world, small_device, tiny, tmp_path, logged, costly
):
    known = NominalModel.of(small_world)
    saved = SavedRule("advised", costly, small_world.layout)
    run = write_run(tmp_path / "run", saved, small_device, tiny.path)
    log = logged(costly.build(known), 900, stray=0.5)
    said = learn_from_log(run, tmp_path / "learned", log, "steady-wifi", 0)
    assert "what was learned is kept" in said
    rules = (costly, RunFolder.load(tmp_path / "learned").policy.rule)
    before, after = (mean_cost(small_world, rule.build(known), SEEDS) for rule in rules)
    assert after < 0.99 * before


def test_a_log_without_surprises_leaves_a_rule_about_as_it_is(
    small_world, small_device, tiny, tmp_path, logged
):
    known = NominalModel.of(small_world)
    rule = uncorrected(known, every_action(small_world.layout))
    run = write_run(
        tmp_path / "run", SavedRule("advised", rule, small_world.layout), small_device, tiny.path
    )
    learn_from_log(run, tmp_path / "learned", logged(rule.build(known), 600), "steady-wifi", 0)
    rules = (rule, RunFolder.load(tmp_path / "learned").policy.rule)
    before, after = (mean_cost(small_world, r.build(known), SEEDS) for r in rules)
    assert after < 1.03 * before


@pytest.mark.usefixtures("brief")
def test_a_network_learns_what_its_actions_cost(small_world, small_device, tiny, tmp_path, logged):
    recipe = ALGORITHMS["ppo"]
    agent = recipe.build(recipe.boards(small_world), 0, None)
    policy = recipe.freeze(agent, recipe.describe("ppo", small_world.layout))
    run = write_run(tmp_path / "run", policy, small_device, tiny.path)
    log = logged(policy, 200, stray=0.3)
    said = learn_from_log(run, tmp_path / "learned", log, "steady-wifi", 0)
    assert "200 steps of 200 learned from" in said
    assert RunFolder.load(tmp_path / "learned").policy.algorithm == "ppo"


@pytest.mark.usefixtures("brief")
def test_what_cannot_be_learned_from_is_refused(
    small_world, small_device, tiny, tmp_path, logged, capsys
):
    rule = uncorrected(NominalModel.of(small_world), every_action(small_world.layout))
    saved = SavedRule("advised", rule, small_world.layout)
    run = write_run(tmp_path / "run", saved, small_device, tiny.path)
    log = logged(rule.build(NominalModel.of(small_world)), 8)
    with pytest.raises(AgentError, match=r"holds 8 steps to learn from .* at least 40 are needed"):
        learn_from_log(run, tmp_path / "learned", log, "steady-wifi", 0)
    searched = SavedRule("model-search", Rule(KINDS["model-search"], {}), small_world.layout)
    other = write_run(tmp_path / "other", searched, small_device, tiny.path)
    with pytest.raises(AgentError, match="model-search, which does not learn from logs"):
        learn_from_log(other, tmp_path / "learned", log, "steady-wifi", 0)
    assert not (tmp_path / "learned").exists()
    options = ["--init", str(run), "--log", str(log), "--board", "linux"]
    assert train.main(options) == 2
    assert "--log learns without a board" in capsys.readouterr().err
    assert train.main(["--log", str(log)]) == 2
    assert "--log needs the run" in capsys.readouterr().err
