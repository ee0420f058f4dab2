"""`EdgeSplit-v0` as `gymnasium.make` builds it, in real time for two steps."""

from __future__ import annotations

import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from PIL import Image
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs  # noqa: F401  # registers the environments
from envs.errors import ScenarioError
from envs.live.make import make_live
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from hw.errors import HardwareError, SensorReadError, UnsupportedError
from partition.errors import CloudError, PartitionError
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer

N_STEPS = 2


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    return folder


@pytest.fixture
def arguments(tiny, photographs):
    return {"model": str(tiny.path), "source": photographs, "n_steps": N_STEPS}


@pytest.fixture
def closed(monkeypatch):
    """Counts how often a modelled board was given back."""
    boards = []
    close = SimBoard.close
    monkeypatch.setattr(SimBoard, "close", lambda board: (boards.append(board), close(board)))
    return boards


def test_the_registered_environment_serves_requests_from_the_cloud(tiny, arguments, closed):
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        env = gymnasium.make("EdgeSplit-v0", cloud=f"127.0.0.1:{server.port}", **arguments)
        env.reset(seed=0)
        cloud_only = env.action_space.nvec - 1
        cloud_only[-1] = 0
        for _ in range(N_STEPS):
            observation, reward, _, truncated, info = env.step(cloud_only)
        assert truncated
        assert env.observation_space.contains(observation)
        assert reward < 0.0
        assert info["outcome"]["fell_back"] < 1.0
        assert info["outcome"]["uplink_bytes"] == tiny.split_points[0].wire_bytes
        env.close()
    assert len(closed) == 1


@pytest.mark.parametrize(("board", "continuous"), [("sim", False), ("emulated", True)])
def test_both_checkers_accept_what_gymnasium_makes(arguments, board, continuous):
    env = gymnasium.make("EdgeSplit-v0", board=board, continuous=continuous, **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_close_check=True)
        check_env_sb3(env.unwrapped)
    env.close()


def slower_host(env):
    """How much longer inputs and messages take at the lowest processor clock."""
    env.reset(seed=0)
    host_s = {}
    for cpu in (3, 0):
        _, _, _, _, info = env.step(np.array([cpu, 5, 0]))
        assert info["outcome"]["fell_back"] < 1.0
        host_s[cpu] = np.median([served.result.host_s for served in env.plant.served])
    return host_s[0] / host_s[3]


def test_an_emulated_board_is_measured_and_prepares_its_own_pictures(tiny, arguments):
    """It is no device: its largest power is measured, and nothing is known of it beforehand."""
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        cloud = f"127.0.0.1:{server.port}"
        env = make_live("emulated", cloud=cloud, **arguments)
        assert [axis.name for axis in env.plant.layout.axes] == ["cpu", "gpu", "route"]
        assert env.plant.layout.board == "emulated"
        assert 2.0 < env.plant.layout.max_power_w < 7.0
        assert env.plant.is_modelled
        ratios = [slower_host(env) for _ in range(4)]
        env.close()
    assert max(ratios) > 2.0  # 4.5 times, if nothing else runs here


def test_an_application_prepares_its_inputs_itself(tiny):
    env = make_live("emulated", model=str(tiny.path), listen="127.0.0.1:0", n_steps=N_STEPS)
    env.close()


def test_only_a_classifier_has_labels_to_agree_with(tiny, arguments, monkeypatch):
    for measure, known in (("top-1", True), ("relative", False)):
        judged = replace(tiny, fidelity=(0.5,) * len(tiny.split_points), measure=measure)
        monkeypatch.setattr(ModelFolder, "open", lambda _, folder=judged: folder)
        env = make_live(**arguments)
        env.reset(seed=0)
        *_, info = env.step(env.action_space.nvec - 1)
        assert {s.agrees is not None for s in env.plant.served} == {known}
        assert info["outcome"]["accuracy"] == (1.0 if known else 0.5)
        env.close()


def test_the_references_are_the_models_power_and_full_speed(arguments):
    env = make_live(**arguments)
    device = DeviceModel.load("tx2")
    assert env.objective.max_power_w == env.plant.layout.max_power_w == device.max_power_w
    assert 0.0 < env.objective.reference_latency_s < 0.1
    env.close()


def test_a_given_power_bound_scales_the_observation_only(arguments):
    env = make_live(**arguments, max_power_w=99.0)
    assert env.plant.layout.max_power_w == env.encoder.fields[-4].high == 99.0
    assert env.objective.max_power_w == DeviceModel.load("tx2").max_power_w
    env.close()


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        ({"board": "toaster"}, HardwareError, "toaster"),
        ({"device": "toaster"}, HardwareError, "toaster"),
        ({"model": "no-such-model"}, PartitionError, "no-such-model"),
        ({"scenario": "moon"}, ScenarioError, "moon"),
        ({"cloud": "127.0.0.1"}, CloudError, "127.0.0.1"),
    ],
)
def test_what_cannot_be_opened_is_named(arguments, change, error, problem):
    with pytest.raises(error, match=problem):
        make_live(**{**arguments, **change})


@pytest.mark.parametrize(("share", "is_told"), [(0.2, False), (0.9, True)])
def test_a_machine_too_slow_for_the_board_is_told(arguments, caplog, monkeypatch, share, is_told):
    monkeypatch.setattr(SimBoard, "too_slow_share", share)
    make_live(**arguments).close()
    assert ("too slow to play board tx2" in caplog.text) == is_told


def test_a_board_is_given_back_when_the_rest_fails(arguments, closed, monkeypatch):
    def fail(*_, **__):
        raise PartitionError("broken")

    monkeypatch.setattr("envs.live.make.SplitRuntime", fail)
    with pytest.raises(PartitionError, match="broken"):
        make_live(**arguments)
    assert len(closed) == 1


def test_a_cloud_that_is_not_there_yet_does_not_keep_the_board_from_starting(arguments, caplog):
    env = make_live(**arguments, cloud="127.0.0.1:1")
    env.reset(seed=0)
    top = [len(axis.values) - 1 for axis in env.plant.layout.axes[:-1]]
    env.step(np.array([*top, 0]))
    assert env.plant.served
    assert {served.result.served_by for served in env.plant.served} == {"edge"}
    env.close()
    assert "no cloud server at 127.0.0.1:1" in caplog.text
    assert caplog.text.count("on the board alone") == 1


@pytest.mark.parametrize(
    ("error", "is_refused"), [(UnsupportedError("no zone"), True), (SensorReadError("EIO"), False)]
)
def test_a_board_that_never_tells_how_hot_it_is_is_refused_and_one_that_fails_is_not(
    arguments, closed, monkeypatch, error, is_refused
):
    def fail(_):
        raise error

    monkeypatch.setattr(SimBoard, "margin_c", fail)
    if is_refused:
        with pytest.raises(UnsupportedError, match="no zone"):
            make_live(**arguments)
        assert len(closed) == 1
    else:
        make_live(**arguments).close()
