from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.advised.policy import pack
from agents.deployed.saved_rule import SavedRule, read_document, save_privileged
from agents.errors import PolicyError
from agents.policy import checksum
from agents.rules import make_rule
from envs.plant import Axis
from tests.runs import constant_policy

STATIC = make_rule("static", {"action": [0, 1, 2, 3]})
GOVERNED = make_rule("dynamic-split", {})


@pytest.fixture
def layout(small_world):
    return small_world.layout


@pytest.fixture
def folder(layout, tmp_path):
    SavedRule("bayes", STATIC, layout).save(tmp_path)
    return tmp_path


def load(folder) -> SavedRule:
    return SavedRule.from_document(read_document(folder), folder)


def rewrite(folder, **changes) -> None:
    path = folder / "policy.json"
    path.write_text(json.dumps(checksum.sealed(json.loads(path.read_text()) | changes)))


def test_saving_and_loading_keeps_everything(folder, layout):
    assert load(folder) == SavedRule("bayes", STATIC, layout)
    assert [path.name for path in folder.iterdir()] == ["policy.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "network"}', '{"schema_version": 2}'])
def test_what_is_no_rule_is_left_to_the_frozen_policy(tmp_path, text):
    (tmp_path / "policy.json").write_text(text)
    assert read_document(tmp_path) is None
    assert read_document(tmp_path / "nowhere") is None


@pytest.mark.parametrize("version", [0, 3, None, "1"])
def test_another_schema_is_refused(folder, version):
    rewrite(folder, schema_version=version)
    with pytest.raises(PolicyError, match=r"schema version .* fit it again"):
        load(folder)


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
        load(folder)


@pytest.mark.parametrize("name", ["bandit", ["static"]])
def test_a_rule_that_there_is_no_longer_is_refused_with_what_to_do(folder, name):
    rewrite(folder, name=name)
    with pytest.raises(PolicyError, match=r"a rule .* does not have; train another"):
        load(folder)


@pytest.mark.parametrize("max_power_w", [0.0, -1.0, "x"])
def test_a_largest_power_that_is_no_power_is_refused(folder, max_power_w):
    layout = json.loads((folder / "policy.json").read_text())["layout"]
    rewrite(folder, layout=layout | {"max_power_w": max_power_w})
    with pytest.raises(PolicyError, match="is damaged"):
        load(folder)


def test_what_was_changed_since_it_was_written_is_refused(folder):
    """Plausible as it is."""
    path = folder / "policy.json"
    changed = json.loads(path.read_text()) | {"parameters": {"action": [0, 1, 2, 2]}}
    path.write_text(json.dumps(changed))
    with pytest.raises(PolicyError, match=r"is damaged .*sha256 is that of another content"):
        load(folder)


def test_a_rule_from_before_the_checksum_is_read(folder):
    path = folder / "policy.json"
    document = json.loads(path.read_text()) | {"schema_version": 1}
    del document["sha256"]
    path.write_text(json.dumps(document))
    assert load(folder).rule == STATIC
    path.write_text(json.dumps(document | {"schema_version": 2}))
    with pytest.raises(PolicyError, match="is damaged"):
        load(folder)


@pytest.mark.parametrize("value", [3e37, -1e13])
@pytest.mark.parametrize("where", [lambda v: v, lambda v: [[v]], lambda v: {"x": {"y": v}}])
def test_an_absurd_parameter_is_refused(folder, value, where):
    rewrite(folder, parameters={"action": where(value)})
    with pytest.raises(PolicyError, match=r"is damaged .*a parameter is"):
        load(folder)


def advised(value: float) -> dict[str, object]:
    layers = [(np.full((2, 3), value, np.float32), np.zeros(2, np.float32))]
    return {"name": "advised", "parameters": {"actions": [[0, 0]], "layers": pack(layers)}}


@pytest.mark.parametrize(("value", "told"), [(3e37, "absurd"), (np.nan, "not finite")])
def test_absurd_weights_of_an_advised_policy_are_refused(folder, value, told):
    rewrite(folder, **advised(1.0))
    load(folder)
    rewrite(folder, **advised(value))
    with pytest.raises(PolicyError, match=f"is damaged .*{told}"):
        load(folder)


def test_the_privileged_are_refused(tmp_path):
    save_privileged("oracle", tmp_path)
    with pytest.raises(PolicyError, match="oracle looks into the simulation"):
        load(tmp_path)


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
    """As on an emulated board, which has the processor's alone."""
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
        "python train.py --device pi4"
    )
    gpu_only = replace(layout, axes=layout.axes[1:2] + layout.axes[-1:])
    with pytest.raises(PolicyError, match=r"hw\.doctor names a --device"):
        policy.check_layout(gpu_only)
