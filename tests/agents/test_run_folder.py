from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.deployed.run_folder import RunFolder
from agents.errors import PolicyError, RunFolderError
from hw.base import Hold
from tests.runs import constant_policy, write_run


@pytest.fixture
def run(small_world, tmp_path):
    policy = constant_policy(small_world.layout, (0, 0, 0, 0))
    return write_run(tmp_path / "run", policy, "tx2", "tiny-cnn")


def test_run_folder_tells_device_model_and_policy(run, small_world):
    loaded = RunFolder.load(run)
    assert (loaded.path, loaded.device, loaded.model) == (run, "tx2", "tiny-cnn")
    assert loaded.policy.metadata.layout == small_world.layout


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"nowhere is no folder; give one that train\.py"):
        RunFolder.load(tmp_path / "nowhere")


def test_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"config\.json does not exist"):
        RunFolder.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"device": "tx2"}'])
def test_damaged_config_is_refused(run, text):
    (run / "config.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"config\.json is damaged"):
        RunFolder.load(run)


def test_a_config_that_is_no_text_is_not_printed(run):
    (run / "config.json").write_bytes(b"\xe4\xff" * 2000)
    with pytest.raises(RunFolderError, match="no UTF-8 at byte 0") as refused:
        RunFolder.load(run)
    assert len(str(refused.value)) < 300 + len(str(run))


def test_unfinished_run_is_refused(run):
    (run / "policy" / "policy.json").unlink()
    with pytest.raises(PolicyError, match="finished training run"):
        RunFolder.load(run)


def test_config_keeps_what_train_wrote_beside(run):
    document = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(document | {"seed": 3}))
    assert RunFolder.load(run).device == "tx2"


def test_a_device_of_its_own_comes_with_the_run(run, small_device):
    (run / "device.toml").write_bytes(Path(small_device).read_bytes())
    assert RunFolder.load(run).device == str(run / "device.toml")


def test_a_run_remembers_its_run_time(run, small_device):
    document = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(document | {"runtime": "tensorflow"}))
    assert RunFolder.load(run).device == "tx2@tensorflow"
    (run / "device.toml").write_bytes(Path(small_device).read_bytes())
    assert RunFolder.load(run).device == f"{run / 'device.toml'}@tensorflow"


def test_a_tuned_run_keeps_the_run_time_that_its_device_names(run):
    document = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(document | {"device": "tx2@tensorflow"}))
    assert RunFolder.load(run).device == "tx2@tensorflow"


@pytest.mark.parametrize("hold", ["cap", "pin"])
def test_a_run_tells_how_it_was_trained_to_hold_clocks(run, hold):
    document = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(document | {"hold": hold}))
    assert RunFolder.load(run).hold is Hold(hold)


def test_an_earlier_run_pins(run):
    assert RunFolder.load(run).hold is Hold.PIN
    assert RunFolder.load(run).governed("efficientnet-lite0", "steady-wifi") is None


def test_an_unknown_hold_is_refused(run):
    document = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(document | {"hold": "loosely"}))
    with pytest.raises(RunFolderError, match=r"config\.json is damaged .*loosely"):
        RunFolder.load(run)
