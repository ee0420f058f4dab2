"""Policy folders of schema versions 1 to 5."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import save

from agents.advised.rule import advised_rule
from agents.deployed.run_folder import load_policy
from agents.errors import PolicyError
from agents.policy import checksum
from agents.policy.folder import METADATA_FILE, WEIGHTS_FILE
from agents.policy.saved_rule import SavedRule
from tests.runs import constant_policy

LAYERS = [
    (np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)),
    (np.full((4, 2), 0.1, np.float32), np.zeros(4, np.float32)),
]


def write(folder, document, version, *, sealed) -> None:
    folder.mkdir(exist_ok=True)
    document = document | {"schema_version": version}
    document = checksum.sealed(document) if sealed else document
    (folder / METADATA_FILE).write_text(json.dumps(document))


def rule(layout, name="static", **parameters) -> dict[str, object]:
    parts = {"kind": "rule", "algorithm": "mine", "name": name, "parameters": parameters}
    return parts | {"layout": asdict(layout)}


@pytest.fixture
def layout(small_world):
    return small_world.layout


@pytest.fixture
def network(layout, tmp_path):
    """A folder with a network's weights, and its document without versions and checksum."""
    constant_policy(layout, (2, 0, 1, 3)).save(tmp_path)
    document = json.loads((tmp_path / METADATA_FILE).read_text())
    for key in ("kind", "schema_version", "clip_obs", checksum.KEY):
        del document[key]
    return document


def test_version_4_is_read(layout, network, tmp_path):
    write(tmp_path, network | {"kind": "network"}, 4, sealed=True)
    policy = load_policy(tmp_path)
    decided = policy.decide(np.zeros((1, len(policy.metadata.fields)), np.float32))
    assert decided.tolist() == [[2, 0, 1, 3]]
    blob = (tmp_path / WEIGHTS_FILE).read_bytes()
    empty = hashlib.sha256(save({})).hexdigest()
    (tmp_path / WEIGHTS_FILE).write_bytes(save({}))
    write(tmp_path, rule(layout, action=[0]) | {"weights_sha256": empty}, 4, sealed=True)
    assert load_policy(tmp_path).rule.parameters == {"action": [0]}
    (tmp_path / WEIGHTS_FILE).write_bytes(blob)
    write(tmp_path, network | {"kind": "network"}, 4, sealed=False)
    with pytest.raises(PolicyError, match="sha256 is that of another content"):
        load_policy(tmp_path)


@pytest.mark.parametrize(("version", "sealed"), [(2, False), (3, True)])
def test_networks_are_read(network, tmp_path, version, sealed):
    write(tmp_path, network, version, sealed=sealed)
    policy = load_policy(tmp_path)
    assert policy.kind == "network"
    decided = policy.decide(np.zeros((1, len(policy.metadata.fields)), np.float32))
    assert decided.tolist() == [[2, 0, 1, 3]]


def test_weights_of_old_networks_are_checked(network, tmp_path):
    write(tmp_path, network, 3, sealed=True)
    (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / WEIGHTS_FILE).read_bytes()[:-1])
    with pytest.raises(PolicyError, match=r"weights\.safetensors is not what"):
        load_policy(tmp_path)


@pytest.mark.parametrize(("version", "sealed"), [(1, False), (2, True)])
def test_rules_are_read(layout, tmp_path, version, sealed):
    write(tmp_path, rule(layout, action=[0, 1, 2, 3]), version, sealed=sealed)
    policy = load_policy(tmp_path)
    assert (policy.kind, policy.algorithm, policy.layout) == ("static", "mine", layout)
    assert policy.rule.parameters == {"action": [0, 1, 2, 3]}


@pytest.mark.parametrize(("version", "sealed"), [(2, True), (5, True)])
def test_what_learned_on_other_bounds_is_refused(layout, tmp_path, version, sealed):
    SavedRule("mine", advised_rule(np.zeros((4, 4), np.int64), LAYERS), layout).save(tmp_path)
    document = json.loads((tmp_path / METADATA_FILE).read_text())
    for key in ("fields", checksum.KEY):
        del document[key]
    write(tmp_path, document, version, sealed=sealed)
    with pytest.raises(PolicyError, match="trained on other observations"):
        load_policy(tmp_path)


def test_what_was_changed_since_it_was_written_is_refused(layout, network, tmp_path):
    for number, (document, version) in enumerate([(network, 3), (rule(layout, action=[0]), 2)]):
        write(tmp_path / str(number), document, version, sealed=False)
        with pytest.raises(PolicyError, match="sha256 is that of another content"):
            load_policy(tmp_path / str(number))


def test_a_version_that_no_such_policy_had_is_refused(layout, network, tmp_path):
    for number, (document, version) in enumerate([(network, 1), (rule(layout, action=[0]), 3)]):
        write(tmp_path / str(number), document, version, sealed=True)
        with pytest.raises(PolicyError, match=r"is damaged .*schema version .*train it again"):
            load_policy(tmp_path / str(number))


def test_the_privileged_are_refused(tmp_path):
    document = {"kind": "privileged", "algorithm": "oracle"}
    write(tmp_path, document, 2, sealed=True)
    with pytest.raises(PolicyError, match="oracle looks into the simulation"):
        load_policy(tmp_path)
