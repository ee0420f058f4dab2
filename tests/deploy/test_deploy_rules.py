"""`deploy.py` with rules instead of learned policies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.advised.policy import PolicyFeatures
from agents.advised.promised import Promised
from agents.advised.rule import advised_rule
from agents.deciders.nominal import NominalModel, every_action
from agents.deciders.rule import Rule
from agents.policy.saved_rule import SavedRule, save_privileged
from agents.registry import UNLEARNED
from agents.rules import KINDS
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer
from tests.deploy.conftest import BLOCKED
from tests.runs import write_run

GOVERNED = {
    "edge-only": Rule(KINDS["fixed-route"], {"route": 4}),
    "neurosurgeon": Rule(KINDS["neurosurgeon"], {"goal": "latency"}),
}


@pytest.fixture
def save(tiny, small_device, small_world, tmp_path):
    """A run folder with a rule."""

    def write(name: str, rule: Rule) -> Path:
        saved = SavedRule(name, rule, small_world.layout)
        return write_run(tmp_path / name, saved, small_device, tiny.path)

    return write


def last_document(text: str) -> dict[str, object]:
    return json.loads(text.splitlines()[-1])


def test_model_search_drives_a_board_without_any_learning_package(
    run_script, save, small_world, tiny, photographs
):
    rule = UNLEARNED.fit("model-search", small_world, 0).rule
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        options = ["--source", photographs, "--cloud", f"127.0.0.1:{server.port}"]
        run = save("model-search", rule)
        options += ["--duration", 1.5, "--json"]
        blocked = (*BLOCKED, "optuna", "scipy")
        result = run_script("deploy.py", "--run", run, *options, block=blocked)
    assert result.returncode == 0, result.stderr
    document = last_document(result.stdout)
    assert (document["policy"], document["board"]) == ("model-search", "tx2")
    assert document["requests"] >= 5
    assert document["deadline_hit_rate"] == 1.0


def test_governors_are_modelled_on_a_modelled_board(save, main, capsys):
    run = save("edge-only", GOVERNED["edge-only"])
    assert main(run, "--duration", 1.5, "--json") == 0
    printed = capsys.readouterr().out
    assert "set cpu" in printed
    document = last_document(printed)
    assert document["requests_per_cut"].keys() == {"output"}
    assert document["policy"] == "edge-only"


@pytest.mark.parametrize("name", GOVERNED)
def test_clocks_of_a_real_board_stay_its_governors_business(machine, save, main, capsys, name):
    run = save(name, GOVERNED[name])
    before = machine.kernel.snapshot()
    assert main(run, "--board", "linux", "--duration", 1.3, "--json", root=machine.root) == 0
    assert machine.kernel.writes == []
    assert machine.kernel.snapshot() == before
    printed = capsys.readouterr().out
    assert "clocks left to the board's governors" in printed
    assert last_document(printed)["board_is_modelled"] is False


def test_rule_that_sets_clocks_is_refused_on_another_board(machine, save, refusal):
    run = save("best-static", Rule(KINDS["static"], {"action": [0, 0, 0, 4]}))
    message = refusal(run, "--board", "linux", root=machine.root)
    assert "this is another device" in message
    assert machine.kernel.writes == []


def test_whoever_looks_into_the_simulation_drives_no_board(save, small_world, refusal):
    run = save("oracle", GOVERNED["edge-only"])
    save_privileged("oracle", small_world.layout, run / "policy")
    assert "oracle looks into the simulation and cannot drive a board" in refusal(run)


def test_rule_whose_parameters_do_not_fit_is_refused(save, refusal):
    assert "is damaged" in refusal(save("bayes", Rule(KINDS["static"], {"actions": []})))


def advised(small_world) -> Rule:
    known, actions = NominalModel.of(small_world), every_action(small_world.layout)
    shapes = [(len(actions), PolicyFeatures(known, actions).n_inputs), (len(actions),)]
    return advised_rule(actions, [tuple(np.zeros(shape, np.float32) for shape in shapes)])


def test_a_share_of_requests_in_time_can_be_promised(save, small_world, main, capsys):
    run = save("advised", advised(small_world))
    assert main(run, "--duration", 1.5, "--promise", 0.9, "--json") == 0
    printed = capsys.readouterr().out
    assert "(90 % promised, at an expected price of" in printed
    assert last_document(printed)["promise"]["share"] == 0.9
    assert main(run, "--duration", 1.0, "--json") == 0
    assert "promise" not in last_document(capsys.readouterr().out)


def test_what_became_of_requests_reaches_the_promise(save, small_world, main, monkeypatch):
    told = []
    monkeypatch.setattr(Promised, "account", lambda _, *counts: told.append(counts))
    assert main(save("advised", advised(small_world)), "--duration", 2.0, "--promise", 0.9) == 0
    asked, late = np.array(told)[..., 0].T
    assert asked.sum() >= 5
    assert (late <= asked).all()


def test_a_promise_of_a_policy_that_weighs_nothing_is_refused(save, refusal):
    run = save("edge-only", GOVERNED["edge-only"])
    assert "edge-only can promise no share" in refusal(run, "--promise", 0.9)


@pytest.mark.parametrize("share", [0, 1, "nan", "most"])
def test_what_is_no_share_is_refused(save, share, capsys, main):
    with pytest.raises(SystemExit) as ended:
        main(save("edge-only", GOVERNED["edge-only"]), "--promise", share)
    assert ended.value.code == 2
    assert "--promise" in capsys.readouterr().err
