"""Every file that a command reads is refused in one sentence of its package, whatever it holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agents.advised.rule import advised_rule
from agents.deployed.run_folder import RunFolder, load_policy
from agents.errors import AgentError
from agents.policy import checksum
from agents.policy.folder import METADATA_FILE
from agents.policy.saved_rule import SavedRule
from agents.training.run import resumed
from agents.training.sweep import Sweep
from envs.errors import EnvError
from envs.scenarios.link_trace import read_trace
from envs.sim.build import build_sim_config
from hw.device.model import DeviceModel
from hw.errors import HardwareError
from partition import json_file
from partition.errors import PartitionError
from partition.model.accuracy_table import AccuracyTable
from partition.model.folder import CUTS_FILE, ModelFolder
from partition.model.profile_file import PROFILE_FILE
from partition.placement.cluster import Cluster
from partition.stages.errors import StageError
from partition.stages.session import StageSession
from tests.hostile import JSON, TOML, sealed
from tests.runs import constant_policy, write_run

USER_ERRORS = (AgentError, EnvError, HardwareError, PartitionError)
LONGEST = 1000


@pytest.fixture
def run(small_world, tmp_path):
    return write_run(
        tmp_path / "run", constant_policy(small_world.layout, (0, 0, 0, 0)), "tx2", "tiny-cnn"
    )


@pytest.fixture
def model(tiny, tmp_path):
    return Path(shutil.copytree(tiny.path, tmp_path / "model"))


def refuse(kind, call, *arguments) -> None:
    """The call ends in an error of the package, of a length that people read."""
    with pytest.raises(kind) as refused:
        call(*arguments)
    assert 0 < len(str(refused.value)) < LONGEST


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
class TestJson:
    def test_helper(self, tmp_path, text):
        (tmp_path / "x.json").write_bytes(text)
        if text in (JSON["a list"], JSON["a text"], JSON["null"]):
            assert json_file.read(tmp_path / "x.json") == json.loads(text)
        else:
            refuse(ValueError, json_file.read, tmp_path / "x.json")

    @pytest.mark.parametrize("name", ["config.json", "policy/policy.json"])
    def test_run_folder(self, run, text, name):
        (run / name).write_bytes(text)
        refuse(AgentError, RunFolder.load, run)

    def test_run_to_go_on_with(self, run, text):
        (run / "policy" / "policy.json").unlink()
        (run / "config.json").write_bytes(text)
        refuse(AgentError, resumed, run)

    @pytest.mark.parametrize("name", [CUTS_FILE, PROFILE_FILE, "accuracy.json"])
    def test_model_folder(self, model, text, name):
        (model / name).write_bytes(text)
        refuse(PartitionError, ModelFolder.open, model)

    def test_accuracy_table(self, tmp_path, text):
        (tmp_path / "a.json").write_bytes(text)
        refuse(PartitionError, AccuracyTable.read, tmp_path / "a.json")

    def test_opening_of_a_stage(self, text):
        refuse(StageError, StageSession.unpack, text[:4096])

    def test_profile_of_a_cluster(self, tmp_path, text):
        (tmp_path / "profile.json").write_bytes(text)
        cluster = tmp_path / "cluster.toml"
        cluster.write_text('[[devices]]\nname = "a"\nmemory_bytes = 1e9\nprofile="profile.json"\n')
        refuse(PartitionError, Cluster.load, cluster)


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
class TestToml:
    @pytest.fixture
    def path(self, tmp_path, text):
        path = tmp_path / "x.toml"
        path.write_bytes(text)
        return path

    def test_device(self, path):
        refuse(HardwareError, DeviceModel.load, path)

    def test_scenario(self, path, tiny):
        refuse(EnvError, build_sim_config, "tx2", tiny, [str(path)])

    def test_cluster(self, path):
        refuse(PartitionError, Cluster.load, path)

    def test_sweep(self, path, tmp_path):
        refuse(AgentError, Sweep.load, path, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"second,mbps\n" + b"0," + b"9" * 200_000,
        b"second,mbps\n" + b"".join(b"%d,1e308\n" % second for second in range(20)),
        b"second,mbps\n0,\0\n1,2\n",
        b"\n".join([b"9" * 30] * 20),
        b"\n".join([b"9" * 5000] * 20),
        "second,mbps\n0,1\n".encode("utf-16"),
        bytes(range(256)),
    ],
    ids=["long field", "fast", "zero", "far", "digits", "UTF-16", "garbage"],
)
def test_link_trace(tmp_path, text):
    (tmp_path / "trace").write_bytes(text)
    refuse(EnvError, read_trace, tmp_path / "trace")


LAYER = (np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
VALUES = (None, True, -1, 2**62, 1e300, "x" * 100, [], {}, [[[]]], {"a": {"b": 1}})


def leaves(document, path=()):
    """Paths of all values of a document, tables and lists too."""
    yield path
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            yield from leaves(value, (*path, key))


def replaced(document, path, value):
    """The document with another value at a path."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


def test_a_model_folder_with_any_value_of_another_kind_opens_or_is_refused(model):
    original = json.loads((model / CUTS_FILE).read_text())
    paths = [p for p in leaves(original) if len(p) < 2 or p[1] in (0, -1, "size", 2)]
    assert len(paths) > 50
    for path in paths:
        for value in VALUES:
            changed = replaced(original, path, value)
            if isinstance(changed, dict) and path != ("fingerprint",):
                sealed(model, changed)
            else:
                (model / CUTS_FILE).write_text(json.dumps(changed))
            try:
                folder = ModelFolder.open(model)
                _ = [(cut.wire_bytes, cut.float32_bytes, cut.tail.flops) for cut in folder.cuts]
            except USER_ERRORS as error:
                assert len(str(error)) < LONGEST  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize("kind", ["network", "rule"])
def test_a_policy_with_any_value_of_another_kind_loads_or_is_refused(small_world, tmp_path, kind):
    layout, path = small_world.layout, tmp_path / METADATA_FILE
    rule = advised_rule(np.zeros((1, 4), np.int64), [LAYER]).with_parameters(promise=0.5)
    saved = {"network": constant_policy(layout, (0, 0, 0, 0)), "rule": SavedRule("x", rule, layout)}
    saved[kind].save(tmp_path)
    original = json.loads(path.read_text())
    paths = [p for p in leaves(original) if len(p) < 3]
    assert len(paths) > 15
    for where in paths:
        for value in VALUES:
            changed = replaced(original, where, value)
            path.write_text(json.dumps(checksum.sealed(changed) if where else changed))
            try:
                load_policy(tmp_path)
            except AgentError as error:
                assert len(str(error)) < LONGEST  # noqa: PT017 - both outcomes are right
