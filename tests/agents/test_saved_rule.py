from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from agents.advised.rule import advised_rule
from agents.deciders.rule import Rule
from agents.deployed.run_folder import load_policy
from agents.errors import PolicyError
from agents.policy import checksum
from agents.policy.folder import METADATA_FILE, WEIGHTS_FILE
from agents.policy.saved_rule import SavedRule, save_privileged
from agents.rules import KINDS
from envs.plant import Axis
from tests.runs import constant_policy

STATIC = Rule(KINDS["static"], {"action": [0, 1, 2, 3]})
GOVERNED = Rule(KINDS["dynamic-split"], {})


@pytest.fixture
def layout(small_world):
    return small_world.layout


@pytest.fixture
def folder(layout, tmp_path):
    SavedRule("bayes", STATIC, layout).save(tmp_path)
    return tmp_path


def rewrite(folder, **changes) -> None:
    path = folder / "policy.json"
    path.write_text(json.dumps(checksum.sealed(json.loads(path.read_text()) | changes)))


def test_saving_and_loading_keeps_everything(folder, layout):
    assert load_policy(folder) == SavedRule("bayes", STATIC, layout)
    assert sorted(path.name for path in folder.iterdir()) == [METADATA_FILE, WEIGHTS_FILE]


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": 7},
        {"layout": {}},
        {"layout": None},
    ],
)
def test_damage_is_refused(folder, change):
    rewrite(folder, **change)
    with pytest.raises(PolicyError, match="is damaged"):
        load_policy(folder)


@pytest.mark.parametrize("name", ["bandit", ["static"]])
def test_a_rule_that_there_is_no_longer_is_refused_with_what_to_do(folder, name):
    rewrite(folder, name=name)
    with pytest.raises(PolicyError, match=r"a rule .* does not have; train another"):
        load_policy(folder)


@pytest.mark.parametrize("max_power_w", [0.0, -1.0, "x"])
def test_a_largest_power_that_is_no_power_is_refused(folder, max_power_w):
    layout = json.loads((folder / "policy.json").read_text())["layout"]
    rewrite(folder, layout=layout | {"max_power_w": max_power_w})
    with pytest.raises(PolicyError, match="is damaged"):
        load_policy(folder)


def test_what_was_changed_since_it_was_written_is_refused(folder):
    """Plausible as it is."""
    path = folder / "policy.json"
    changed = json.loads(path.read_text()) | {"parameters": {"action": [0, 1, 2, 2]}}
    path.write_text(json.dumps(changed))
    with pytest.raises(PolicyError, match=r"is damaged .*sha256 is that of another content"):
        load_policy(folder)


@pytest.mark.parametrize("value", [3e37, -1e13])
@pytest.mark.parametrize("where", [lambda v: v, lambda v: [[v]], lambda v: {"x": {"y": v}}])
def test_an_absurd_parameter_is_refused(folder, value, where):
    rewrite(folder, parameters={"action": where(value)})
    with pytest.raises(PolicyError, match=r"is damaged .*a parameter is"):
        load_policy(folder)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_an_absurd_number_of_an_array_is_refused(layout, tmp_path, dtype):
    rule = Rule(KINDS["static"], {"action": np.full((2, 2), 10**15, dtype)})
    SavedRule("mine", rule, layout).save(tmp_path)
    with pytest.raises(PolicyError, match=r"is damaged .*a parameter is"):
        load_policy(tmp_path)


def advised(layout, value: float) -> SavedRule:
    layers = [(np.full((2, 3), value, np.float32), np.zeros(2, np.float32))]
    return SavedRule("advised", advised_rule(np.zeros((2, 4), np.int64), layers), layout)


def test_arrays_are_kept_to_the_last_bit(layout, tmp_path):
    saved = advised(layout, 0.1).rule.with_parameters(offsets=np.array([0.1, np.pi]))
    SavedRule("advised", saved, layout).save(tmp_path)
    assert sorted(load_file(tmp_path / WEIGHTS_FILE)) == [
        "0.bias",
        "0.weight",
        "actions",
        "offsets",
    ]
    for name, array in load_policy(tmp_path).rule.parameters.items():
        assert array.dtype == saved.parameters[name].dtype
        np.testing.assert_array_equal(array, saved.parameters[name])


@pytest.mark.parametrize(("value", "told"), [(3e37, "absurd"), (np.nan, "not finite")])
def test_absurd_weights_of_an_advised_policy_are_refused(layout, tmp_path, value, told):
    advised(layout, 1.0).save(tmp_path)
    load_policy(tmp_path)
    advised(layout, value).save(tmp_path)
    with pytest.raises(PolicyError, match=f"is damaged .*{told}"):
        load_policy(tmp_path)


def test_what_learned_on_observations_of_other_bounds_is_refused(layout, tmp_path):
    advised(layout, 0.1).save(tmp_path)
    fields = json.loads((tmp_path / METADATA_FILE).read_text())["fields"]
    rewrite(tmp_path, fields=fields)
    load_policy(tmp_path)
    fields[5]["high"] = 100.0
    rewrite(tmp_path, fields=fields)
    with pytest.raises(PolicyError, match="trained on other observations"):
        load_policy(tmp_path)


def test_weights_of_another_policy_are_refused(layout, tmp_path):
    for number, value in enumerate((1.0, 2.0)):
        advised(layout, value).save(tmp_path / str(number))
    (tmp_path / "0" / WEIGHTS_FILE).write_bytes((tmp_path / "1" / WEIGHTS_FILE).read_bytes())
    with pytest.raises(PolicyError, match=r"is damaged .*weights\.safetensors is not what"):
        load_policy(tmp_path / "0")


def test_the_privileged_are_refused(layout, tmp_path):
    save_privileged("oracle", layout, tmp_path)
    with pytest.raises(PolicyError, match="oracle looks into the simulation"):
        load_policy(tmp_path)


@pytest.mark.parametrize(
    ("change", "what"),
    [({"model": "other"}, "model"), ({"cut_list_fingerprint": "0"}, "routes of the model")],
)
@pytest.mark.parametrize("rule", [STATIC, GOVERNED])
def test_another_network_is_refused(layout, rule, change, what):
    saved = SavedRule("mine", rule, layout)
    saved.check_layout(layout)
    with pytest.raises(PolicyError, match=f"mine was fitted to another {what}.*train"):
        saved.check_layout(replace(layout, **change))


def other_board(layout):
    axes = (Axis("cpu", (1.0, 2.0)), layout.axes[-1])
    return replace(layout, board="other", board_fingerprint="0", axes=axes)


def test_only_rules_that_leave_the_clocks_alone_run_on_other_boards(layout):
    SavedRule("mine", GOVERNED, layout).check_layout(other_board(layout))
    with pytest.raises(PolicyError, match="another board"):
        SavedRule("mine", STATIC, layout).check_layout(other_board(layout))
    with pytest.raises(PolicyError, match="another set of clocks"):
        SavedRule("mine", STATIC, layout).check_layout(replace(layout, axes=layout.axes[1:]))


def test_routes_in_another_order_are_refused(layout):
    fewer = (*layout.axes[:-1], replace(layout.axes[-1], values=(0.0, 1.0)))
    with pytest.raises(PolicyError, match="another routes of the model"):
        SavedRule("mine", GOVERNED, layout).check_layout(replace(layout, axes=fewer))


@pytest.mark.parametrize("kind", ["rule", "network"])
def test_whoever_drives_more_clocks_than_there_are_is_told_what_to_train(layout, kind):
    """As on a Raspberry Pi, which has the processor's alone."""
    policy = (
        SavedRule("mine", STATIC, layout)
        if kind == "rule"
        else constant_policy(layout, (0, 0, 0, 0))
    )
    cpu_only = replace(layout, axes=(layout.axes[0], layout.axes[-1]))
    with pytest.raises(PolicyError) as refused:
        policy.check_layout(cpu_only)
    assert str(refused.value).endswith(
        "another set of clocks (cpu, gpu, emc, here cpu); train one that drives cpu alone: "
        "python train.py --device pi4 --model tiny-cnn"
    )
    gpu_only = replace(layout, axes=layout.axes[1:2] + layout.axes[-1:])
    with pytest.raises(PolicyError, match=r"hw\.doctor names a --device"):
        policy.check_layout(gpu_only)
