"""Settings that a user gives instead of a recipe's."""

from __future__ import annotations

import pytest

from agents.errors import AgentError
from agents.training.algorithms import ABLATIONS, ALGORITHMS, algorithm
from agents.training.hyperparams import parsed, with_hyperparams
from agents.training.learn import train


def test_values_are_numbers_truths_and_texts():
    given = parsed(["learning_rate=1e-3", "n_steps=5", "use=false", "ent_coef=auto"])
    assert given == {
        **{"learning_rate": 1e-3, "n_steps": 5},
        **{"use": False, "ent_coef": "auto"},
    }
    for pair in ("gamma", "gamma=", "=1"):
        with pytest.raises(AgentError, match="give KEY=VALUE"):
            parsed([pair])


@pytest.mark.parametrize("name", ALGORITHMS | ABLATIONS)
def test_every_learner_takes_its_own_settings(name):
    recipe = with_hyperparams(name, algorithm(name), {"learning_rate": 0.5, "n_envs": 7})
    assert recipe.n_envs == 7
    rate = recipe.settings["learning_rate"]
    assert (rate(1.0), rate(0.5)) == (0.5, 0.25)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"lerning_rate": 1.0},
            "ppo has no hyperparameter 'lerning_rate'; did you mean learning_",
        ),
        (
            {"magic": 1.0},
            "ppo has no hyperparameter 'magic'; remove it or correct its name .batch_size, ",
        ),
        ({"n_steps": 1.5}, "n_steps of ppo is 1.5; give a whole number"),
        ({"n_envs": 0}, "n_envs of ppo is 0; give 1 or more"),
        ({"n_envs": -3}, "n_envs of ppo is -3; give 1 or more"),
        ({"n_epochs": 0}, "n_epochs of ppo is 0; give 1 or more"),
        ({"gamma": float("nan")}, "gamma of ppo is nan; give a finite number"),
        ({"learning_rate": float("inf")}, "learning_rate of ppo is inf; give a finite number"),
        ({"gamma": "high"}, "gamma of ppo is 'high'; give a number"),
        ({"seed": 1}, "no hyperparameter 'seed'"),
    ],
)
def test_what_a_learner_does_not_have_is_refused(given, said):
    with pytest.raises(AgentError, match=said):
        with_hyperparams("ppo", algorithm("ppo"), given)


def test_what_no_agent_can_be_built_with_is_one_sentence(world):
    with pytest.raises(AgentError, match=r"ppo cannot be built with {'n_steps': 1"):
        train("ppo", world, 0, hyperparams={"n_steps": 1, "n_envs": 1})


def test_given_settings_reach_the_agent(world):
    given = {"n_envs": 4, "n_steps": 5, "batch_size": 20, "gamma": 0.25}
    trained = train("ppo", world, 0, total_timesteps=2000, hyperparams=given)
    assert trained.agent.gamma == 0.25
    assert trained.agent.n_envs == 4
