"""A decider of a user's own, in one file outside the checkout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import deploy
import train
from agents.deciders.own import OwnDecider, checked_parameters, find, own_entry
from agents.deployed.run_folder import load_policy
from agents.errors import AgentError, NotSimulatedError, OwnCodeError, PolicyError
from agents.evaluation.evaluate import evaluate
from agents.training import judge
from agents.training.all_deciders import DECIDERS
from agents.training.run import TrainConfig

METHODS = '''
import numpy as np

from agents.deciders.base import axis_sizes, simulated, top_clocks
from agents.deciders.own import OwnDecider
from agents.training.algorithms import ALGORITHMS

RECIPE = ALGORITHMS["ppo"]
NUMBER = 3


class Threshold(OwnDecider):
    """Sends where the link is fast."""

    def decide(self, observations):
        actions = top_clocks(self.known.layout, len(observations))
        actions[self.readings(observations).link_bps > 1e7, -1] = 0
        return actions


class Fitted(OwnDecider):
    def __init__(self, known, action, note):
        super().__init__(known)
        self.action, self.note = action, note

    @classmethod
    def fit(cls, world, seed):
        return {"action": np.array([size - 1 for size in axis_sizes(world.layout)]), "note": "x"}

    def decide(self, observations):
        return np.tile(self.action, (len(observations), 1))


class Seer(OwnDecider):
    looks_into_the_simulation = True

    def begin(self, plant, n):
        simulated(plant, self)

    def decide(self, observations):
        return top_clocks(self.known.layout, len(observations))


class Wrong(OwnDecider):
    def decide(self, observations):
        return np.full((len(observations), len(self.known.layout.axes)), 99)


class Short(Threshold):
    def decide(self, observations):
        return super().decide(observations)[:1]


class Unsaved(Threshold):
    @classmethod
    def fit(cls, world, seed):
        return {"what": object()}


class Undecided(OwnDecider):
    pass
'''


@pytest.fixture(autouse=True)
def methods(tmp_path, monkeypatch) -> Path:
    """The file in the working directory; imported anew for each test."""
    (tmp_path / "my_methods.py").write_text(METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("my_methods", None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Threshold", "rule"), ("Fitted", "learned"), ("Seer", "privileged"), ("RECIPE", "learned")],
)
def test_each_has_its_kind(name, kind):
    assert DECIDERS.entry(f"my_methods:{name}").kind == kind


def test_it_trains_is_judged_saved_and_deployed(
    methods, tiny, small_device, monkeypatch, capsys, kept_signals
):
    monkeypatch.setattr(judge, "evaluate", lambda *a, **_: evaluate(*a, n_episodes=2))
    monkeypatch.setattr(judge, "N_DRAWN", 2)
    name, out = "my_methods:Fitted", methods / "run"
    where = ["--device", small_device, "--model", tiny.path, "--scenario", "steady-wifi"]
    assert train.main([str(w) for w in (*where, "--algo", name, "--out", out)]) == 0
    assert name in capsys.readouterr().out
    run = ["--run", str(out), "--duration", "1"]
    assert deploy.main(run) == 2
    error = capsys.readouterr().err
    assert f"deploy.py runs it if you name it: --own {name}" in error
    assert deploy.main([*run, "--own", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["policy"] == name
    assert document["requests"] > 0


def test_saved_parameters_build_the_same_again(small_world, methods):
    from agents.policy.saved_rule import SavedRule

    name = "my_methods:Fitted"
    rule = DECIDERS.fit(name, small_world, 0).rule
    SavedRule(name, rule, small_world.layout).save(methods / "policy")
    found = load_policy(methods / "policy", name).rule.parameters
    assert found["note"] == "x"
    np.testing.assert_array_equal(found["action"], rule.parameters["action"])


def test_code_that_a_folder_names_does_not_run_unless_it_is_named(small_world, methods):
    from agents.policy.saved_rule import SavedRule

    rule = DECIDERS.fit("my_methods:Threshold", small_world, 0).rule
    SavedRule("mine", rule, small_world.layout).save(methods / "policy")
    sys.modules.pop("my_methods")
    (methods / "my_methods.py").write_text("raise SystemExit('ran')")
    for own in (None, "other:Thing"):
        with pytest.raises(PolicyError, match="--own my_methods:Threshold"):
            load_policy(methods / "policy", own)


def test_a_run_of_own_code_resumes_only_where_it_is_named(methods, capsys):
    config = {"board": "sim", "device": "tx2", "model": "x", "scenario": ["all"], "seed": 0}
    document = config | {"algo": "my_methods:RECIPE", "total_timesteps": None}
    (methods / "config.json").write_text(json.dumps(document))
    (methods / "my_methods.py").write_text("raise SystemExit('ran')")
    assert train.main(["--resume", str(methods)]) == 2
    assert "name it if it may run: --algo my_methods:RECIPE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Mine", "cannot be imported"),
        ("my_methods:Missing", "correct the name"),
        (":Missing", "cannot be imported"),
        ("my_methods:NUMBER", "derive it from agents.deciders.own.OwnDecider"),
        ("my_methods:Undecided", "lacks decide"),
    ],
)
def test_what_is_no_decider_is_refused(name, said):
    with pytest.raises(AgentError, match=said):
        DECIDERS.entry(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [("Wrong", "an index is outside"), ("Short", "for 1 boards of 4")],
)
def test_wrong_actions_are_told(name, said, small_world):
    with pytest.raises(OwnCodeError, match=f"my_methods:{name} decided .*{said}"):
        evaluate(
            small_world,
            {"mine": DECIDERS.fit(f"my_methods:{name}", small_world, 0).decider},
            0,
            n_episodes=4,
        )


def test_parameters_that_cannot_be_saved_are_told(small_world):
    with pytest.raises(OwnCodeError, match="parameter what of my_methods:Unsaved cannot be saved"):
        DECIDERS.fit("my_methods:Unsaved", small_world, 0)
    for value in (np.array([np.nan]), np.array(["a"]), float("nan")):
        with pytest.raises(OwnCodeError, match="cannot be saved"):
            checked_parameters("mine", {"x": value})
    for value in ({0: 1}, (1, 2), [{"a": (1,)}]):
        with pytest.raises(OwnCodeError, match=r"cannot be saved \(it would be read back as"):
            checked_parameters("mine", {"x": value})
    with pytest.raises(OwnCodeError, match="return a dict"):
        checked_parameters("mine", [1])


def test_who_looks_into_the_simulation_is_told_on_a_board(small_world):
    fitted = DECIDERS.fit("my_methods:Seer", small_world, 0)
    assert fitted.rule is None
    with pytest.raises(NotSimulatedError, match="Seer looks into the simulation"):
        fitted.decider.begin(object(), 1)


def test_a_recipe_of_ones_own_learns():
    config = TrainConfig(
        board="sim",
        device="tx2",
        model="x",
        scenario=("all",),
        algo="my_methods:RECIPE",
        total_timesteps=None,
        seed=0,
    )
    assert config.learns
    with pytest.raises(OwnCodeError, match="no class that decides"):
        own_entry("my_methods:RECIPE", find("my_methods:RECIPE"))


def test_nothing_has_to_be_written_but_decide():
    assert OwnDecider.__abstractmethods__ == {"decide"}
