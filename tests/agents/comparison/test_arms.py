from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.comparison.arms import arms, driver
from agents.deciders.governor import FIXED_ROUTE
from agents.deciders.rule import Rule
from agents.deployed.run_folder import RunFolder
from agents.errors import PolicyError, RunFolderError
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata
from agents.policy.saved_rule import SavedRule
from envs.spaces import observation_fields
from hw.base import Hold
from tests.runs import constant_policy, write_run

LOW = (0, 1, 2, 4)
SCENARIO = "steady-wifi"


@pytest.fixture
def run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, LOW)
    return RunFolder.load(write_run(tmp_path / "run", policy, small_device, tiny.path))


def against(run, other):
    return arms(run, str(other), None, run.model, SCENARIO)


def test_the_governors_arm_leaves_the_clocks_and_keeps_everything_on_the_board(run, live):
    policy, governor = against(run, "governor")
    assert (policy.leaves_clocks, governor.leaves_clocks) == (False, True)
    route = governor.ready(live).decide(np.zeros(24, np.float32))[-1]
    assert route == len(live.plant.layout.axes[-1].values) - 1
    assert policy.ready(live).decide(np.zeros(24, np.float32)).tolist() == [*LOW]
    assert driver((policy, governor)) is policy.run


def test_the_best_static_setting_is_searched_on_the_runs_device(run, live, monkeypatch):
    searched = []

    def search(world, seeds):
        searched.append((world.device.name, [s.name for s in world.scenarios], len(seeds)))
        return type("Found", (), {"action": (1, 0, 2, 4)})()

    monkeypatch.setattr("agents.comparison.arms.best_static", search)
    _, static = against(run, "best-static")
    assert searched == [("tx2", [SCENARIO], 32)]
    static.check_layout(live.plant.layout)
    assert static.ready(live).decide(np.zeros(24, np.float32)).tolist() == [1, 0, 2, 4]
    assert not static.leaves_clocks
    with pytest.raises(PolicyError):
        static.check_layout(replace(live.plant.layout, board="another"))


def test_another_run_of_another_scale_sees_its_own(run, live, tiny, small_device, tmp_path):
    """It takes the higher CPU clock where power is above half of the largest it was trained for."""
    layout = replace(live.plant.layout, max_power_w=live.plant.layout.max_power_w / 2.0)
    fields = observation_fields(layout)
    weight = np.zeros((sum(len(axis.values) for axis in layout.axes), len(fields)), np.float32)
    weight[2, [field.name for field in fields].index("power_w")] = 1.0
    metadata = PolicyMetadata("ppo", layout, fields, activation="relu", head="categorical")
    policy = FrozenPolicy(metadata, [(weight, np.zeros(len(weight), np.float32))])
    path = write_run(tmp_path / "other", policy, small_device, tiny.path)
    _, other = against(run, path)
    assert (other.name, other.title) == ("other", str(path))
    readings = live.plant.readings() if live.reset(seed=0) else None
    decide = other.ready(live).decide
    for share, expected in ((0.2, 0), (0.3, 2), (0.6, 2)):
        power_w = np.array([share * live.plant.layout.max_power_w])
        shown = live.encoder.encode(replace(readings, power_w=power_w))[0]
        assert decide(shown)[0] == expected, share


def test_runs_that_hold_clocks_differently_cannot_share_a_board(
    run, tiny, small_device, small_world, tmp_path
):
    policy = constant_policy(small_world.layout, LOW)
    path = write_run(tmp_path / "capped", policy, small_device, tiny.path)
    config = path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hold": Hold.CAP.value}))
    with pytest.raises(RunFolderError, match=r"capped was trained to hold clocks by cap.*--hold"):
        against(run, path)


def test_a_run_that_is_not_there_is_told(run, tmp_path):
    with pytest.raises(RunFolderError, match="is no folder"):
        against(run, tmp_path / "nowhere")


def test_a_rule_that_leaves_the_clocks_sees_the_board_without_them(
    run, live, tiny, small_device, tmp_path
):
    """As on a board of its own: clocks of any names, as of several clusters, are none of its."""
    rule = SavedRule("cloud-only", Rule(FIXED_ROUTE, {"route": 0}), run.policy.layout)
    path = write_run(tmp_path / "rule", rule, small_device, tiny.path)
    layout = live.plant.layout
    axes = (replace(layout.axes[0], name="cpu0"), *layout.axes[1:])
    live.plant.layout = replace(layout, axes=axes)
    both = against(run, path)
    assert [arm.leaves_clocks for arm in both] == [False, True]
    both[1].check_layout(live.plant.layout)
    assert both[1].ready(live).decide(np.zeros(24, np.float32)).tolist() == [2, 2, 2, 0]
    assert driver(both) is both[0].run
    assert driver(both[::-1]) is both[0].run
