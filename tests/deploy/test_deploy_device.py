"""A policy that was trained on a device's model, on the machine itself."""

from __future__ import annotations

import json

import pytest

from agents.deciders.rule import Rule
from agents.policy.saved_rule import SavedRule
from agents.registry import UNLEARNED
from agents.rules import KINDS
from envs.sim.build import build_sim_config
from tests.deploy.conftest import watch_limits
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.runs import constant_policy, write_run


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Jetson TX2's kernel instead of this machine's."""
    kernel = BOARDS["jetson-tx2"]("old")
    monkeypatch.setattr("hw.boards.registry.Sysfs", lambda root: FakeSysfs(kernel, root))
    return FakeSysfs(kernel, tmp_path / "machine")


@pytest.fixture(scope="module")
def world(tiny):
    return build_sim_config("tx2", tiny.path)


def run_of(policy, tiny, tmp_path):
    return write_run(tmp_path / "run", policy, "tx2", tiny.path)


def test_policy_of_a_model_drives_the_machine_and_leaves_it_as_it_was(
    machine, world, tiny, tmp_path, main, monkeypatch, capsys
):
    run = run_of(constant_policy(world.layout, (1, 0, 0, -1)), tiny, tmp_path)
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    options = ["--board", "linux", "--hold", "pin", "--duration", 0.8, "--json"]
    assert main(run, *options, root=machine.root) == 0
    assert set(seen) == {(499_200, 499_200)}
    assert machine.kernel.snapshot() == before
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["board"], document["board_is_modelled"]) == ("tx2", False)
    watts = machine.kernel.devices["VDD_IN"].watts
    assert document["energy_j"] == pytest.approx(watts * document["duration_s"], rel=0.1)


def test_whoever_weighs_actions_by_the_model_does_so_on_the_machine(
    machine, world, tiny, tmp_path, main, capsys
):
    rule = UNLEARNED.fit("model-search", world, 0).rule
    run = run_of(SavedRule("model-search", rule, world.layout), tiny, tmp_path)
    before = machine.kernel.snapshot()
    assert main(run, "--board", "linux", "--duration", 1.2, "--json", root=machine.root) == 0
    assert machine.kernel.snapshot() == before
    printed = capsys.readouterr().out
    assert "set cpu" in printed
    assert json.loads(printed.splitlines()[-1])["policy"] == "model-search"


def test_governors_leave_the_machine_alone_whatever_it_is(machine, world, tiny, tmp_path, main):
    rule = Rule(KINDS["fixed-route"], {"route": 0})
    run = run_of(SavedRule("edge-only", rule, world.layout), tiny, tmp_path)
    assert main(run, "--board", "linux", "--duration", 0.6, root=machine.root) == 0
    assert machine.kernel.writes == []
