"""Models that users trained with Stable-Baselines3 alone, frozen, judged and deployed."""

from __future__ import annotations

import json
import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

import deploy
import envs  # noqa: F401  # registers the environments
from agents.deployed.run_folder import RunFolder, load_policy
from agents.errors import PolicyError
from agents.evaluation.evaluate import evaluate
from agents.freeze import main
from agents.learning.sb3_model import freeze_model
from agents.policy.heads import head_of
from agents.training import judge
from envs.listed_actions import ListedActions

N_SEEN = 200


@pytest.fixture(scope="module")
def make(tiny, small_device):
    """Make an environment as users do."""

    def one(*, continuous: bool = False, listed: bool = False):
        env = gymnasium.make(
            "EdgeSplitSim-v0",
            device=str(small_device),
            model=str(tiny.path),
            scenario="lte-driving",
            continuous=continuous,
        )
        return ListedActions(env) if listed else env

    return one


def ppo(make, **settings):
    few = {"n_steps": 32, "batch_size": 32, "seed": 0} | settings
    return PPO("MlpPolicy", make(), **few).learn(64)


def continuous_ppo(make):
    relu = {"net_arch": [32, 16], "activation_fn": nn.ReLU}
    env = make(continuous=True)
    return PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0, policy_kwargs=relu).learn(64)


def linear_a2c(make):
    env = make(listed=True)
    return A2C("MlpPolicy", env, seed=0, policy_kwargs={"net_arch": []}).learn(20)


def off_policy(kind, make, **options):
    few = {"learning_starts": 10, "batch_size": 8, "buffer_size": 100, "seed": 0}
    return kind("MlpPolicy", make(**options), **few).learn(40)


MODELS = {
    "ppo": ppo,
    "continuous-ppo": continuous_ppo,
    "linear-a2c": linear_a2c,
    "sac": lambda make: off_policy(SAC, make, continuous=True),
    "td3": lambda make: off_policy(TD3, make, continuous=True),
    "dqn": lambda make: off_policy(DQN, make, listed=True),
}


@pytest.fixture(scope="module")
def saved(make, tmp_path_factory):
    """A model of each kind and its .zip, trained when it is first asked for."""
    folder, known = tmp_path_factory.mktemp("models"), {}

    def get(name):
        if name not in known:
            model = MODELS[name](make)
            path = folder / f"{name}.zip"
            model.save(path)
            known[name] = (model, path)
        return known[name]

    return get


def seen(env) -> np.ndarray:
    """Observations of a board that goes through actions at random."""
    env.action_space.seed(0)
    rows = [env.reset(seed=0)[0]]
    while len(rows) < N_SEEN:
        rows.append(env.step(env.action_space.sample())[0])
    return np.stack(rows)


def check(model, policy, observations, normalise=lambda o: o) -> None:
    """One by one and all together it decides exactly as the model, and not always the same."""
    expected = head_of(policy.metadata).from_agent(
        model.predict(normalise(observations), deterministic=True)[0]
    )
    single = np.concatenate([policy.decide(o[None]) for o in observations])
    np.testing.assert_array_equal(single, expected)
    np.testing.assert_array_equal(policy.decide(observations), expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_model_decides_exactly_as_it_predicts(name, saved, make, tmp_path):
    model, path = saved(name)
    board = make().unwrapped
    policy = freeze_model(path, board.plant.layout)
    policy.save(tmp_path)
    observations = seen(make())
    for each in (policy, load_policy(tmp_path)):
        assert each.algorithm == name
        check(model, each, observations)


def test_statistics_of_the_observations_go_with_the_policy(make, tmp_path):
    env = VecNormalize(DummyVecEnv([make]))
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=32, seed=0).learn(128)
    model.save(tmp_path / "mine.zip")
    env.save(str(tmp_path / "statistics.pkl"))
    layout = make().unwrapped.plant.layout
    policy = freeze_model(tmp_path / "mine.zip", layout, normalise=tmp_path / "statistics.pkl")
    policy.save(tmp_path / "policy")
    observations = seen(make())
    for each in (policy, load_policy(tmp_path / "policy")):
        check(model, each, observations, env.normalize_obs)
    without = freeze_model(tmp_path / "mine.zip", layout)
    assert (without.decide(observations) != policy.decide(observations)).any()


@pytest.mark.parametrize("name", ["ppo", "sac", "dqn"])
def test_the_command_leaves_a_run_that_deploys(
    name, saved, tiny, small_device, tmp_path, monkeypatch, capsys, kept_signals
):
    monkeypatch.setattr(judge, "evaluate", partial(evaluate, n_episodes=2))
    monkeypatch.setattr(judge, "N_DRAWN", 2)
    out = tmp_path / "run"
    options = ["--device", small_device, "--model", tiny.path, "--scenario", "steady-wifi"]
    _, path = saved(name)
    assert main([str(word) for word in (path, *options, "--out", out)]) == 0
    printed = capsys.readouterr().out
    assert "warning: " in printed or f"next: python deploy.py --run {out}" in printed
    assert {"evaluation.csv", "evaluation.png", "decisions.png"} <= {p.name for p in out.iterdir()}
    assert RunFolder.load(out).policy.algorithm == name
    assert deploy.main(["--run", str(out), "--duration", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["policy"] == name
    assert document["requests"] > 0


def refusal(path, layout, **options) -> str:
    with pytest.raises(PolicyError) as refused:
        freeze_model(path, layout, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["random", "best-static-overall"])
def test_a_model_named_like_a_baseline_is_not_taken_for_it(name, tmp_path, capsys):
    (tmp_path / f"{name}.zip").touch()
    assert main([str(tmp_path / f"{name}.zip"), "--out", str(tmp_path / "run")]) == 2
    assert "has the name of a baseline" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_no_such_model_is_refused_in_a_sentence(saved, make, tmp_path):
    layout = make().unwrapped.plant.layout
    assert "does not exist" in refusal(tmp_path / "none.zip", layout)
    (tmp_path / "text.zip").write_text("text")
    assert "cannot be read as a model" in refusal(tmp_path / "text.zip", layout)
    _, path = saved("ppo")
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:2000])
    assert "cannot be read as a model" in refusal(tmp_path / "cut.zip", layout)
    (tmp_path / "text.pkl").write_text("text")
    found = refusal(path, layout, normalise=tmp_path / "text.pkl")
    assert "cannot be read as statistics of VecNormalize" in found


def test_a_model_for_something_else_is_refused_with_what_to_give(saved, make, world):
    _, dqn = saved("dqn")
    layout = make().unwrapped.plant.layout
    assert "give --actions" in refusal(dqn, layout, actions=np.zeros((3, 4), np.int64))
    _, ppo_zip = saved("ppo")
    assert "was trained for the actions MultiDiscrete" in refusal(ppo_zip, world.layout)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation_fn": nn.ELU}, "cannot freeze a ELU"),
        ({"activation_fn": nn.Identity}, "cannot freeze a Identity"),
    ],
)
def test_networks_that_cannot_be_frozen_are_named(make, tmp_path, settings, said):
    model = ppo(make, policy_kwargs=settings)
    model.save(tmp_path / "mine.zip")
    assert said in refusal(tmp_path / "mine.zip", make().unwrapped.plant.layout)


def test_a_wrapper_that_changes_observations_is_told(make, tmp_path):
    env = FrameStackObservation(make(), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PPO("MlpPolicy", env, n_steps=8, batch_size=8).save(tmp_path / "stacked.zip")
    found = refusal(tmp_path / "stacked.zip", make().unwrapped.plant.layout)
    assert "no wrapper that changes observations" in found
