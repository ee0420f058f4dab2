"""Learning on a board without a run that was trained before; the board is a simulated one."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import deploy
import train
from agents.deciders.static import Random
from agents.deployed.run_folder import RunFolder
from agents.errors import AgentError, RunFolderError
from agents.testbed import checkpoints, comparison, recipes
from agents.testbed import run as learning
from agents.testbed import tune as tuning
from agents.testbed.place import LivePlace
from agents.testbed.run import (
    LearnConfig,
    learn_on_board,
    resumed_learning,
    simulated_scenarios,
)
from agents.training import callbacks, validation
from agents.training import run as training
from agents.training.run import TrainConfig
from envs.calibration.device_file import Identity, device_model, provenance
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import Measured, Setting
from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator
from hw.boards.emulated import EmulatedBoard
from hw.device.model import DeviceModel
from hw.device.written import device_document
from partition.security.tls import ClientSecurity
from tests.envs.calibration import invented
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def brief(monkeypatch):
    """Less of everything."""
    monkeypatch.setattr(comparison, "BLOCK_STEPS", 4)
    monkeypatch.setattr(comparison, "N_BLOCKS", 1)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_EVERY", 10)
    monkeypatch.setattr(tuning, "N_SIMULATED", 64)
    monkeypatch.setattr(tuning, "N_REHEARSALS", 4)
    monkeypatch.setattr(validation, "N_VALIDATIONS", 1)
    monkeypatch.setattr(validation, "N_EPISODES", 1)
    monkeypatch.setattr(learning, "simulated_scenarios", lambda name: (name,))
    monkeypatch.setattr(callbacks, "Oracle", lambda: Random(0))
    monkeypatch.setitem(recipes._OFF_POLICY, "learning_starts", 10)
    monkeypatch.setitem(recipes._ON_POLICY, "n_steps", 16)
    monkeypatch.setitem(recipes._ON_POLICY, "batch_size", 16)


@pytest.fixture
def opened(small_world, monkeypatch, brief):
    """Boards that were opened, simulated instead of live."""
    found = []

    def board(self, device, model, **keywords):
        env = EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())
        keywords.get("accept", lambda _: None)(env.plant.layout)
        found.append((self, device, env))
        return env

    monkeypatch.setattr(LivePlace, "open", board)
    return found


@pytest.fixture
def config(tiny, small_device) -> LearnConfig:
    simulation = TrainConfig(
        board="sim",
        device=str(small_device),
        model=str(tiny.path),
        scenario=("steady-wifi",),
        algo="sac",
        total_timesteps=32,
        seed=0,
    )
    return LearnConfig(
        board="emulated",
        scenario="steady-wifi",
        cloud=None,
        listen=None,
        n_steps=30,
        from_scratch=True,
        simulation=simulation,
    )


def learn(config, out, *, is_new=True):
    security = ClientSecurity()
    return learn_on_board(config, out, security=security, providers=None, is_new=is_new)


def of(config, algo, **changes):
    return replace(config, simulation=replace(config.simulation, algo=algo), **changes)


@pytest.mark.parametrize("algo", ["sac", "ppo", "dqn", "dvfo"])
def test_every_learner_begins_with_nothing_and_leaves_a_run_that_deploys(
    opened, config, tmp_path, capsys, algo
):
    out = tmp_path / "run"
    said = learn(of(config, algo), out)
    assert "with the highest clocks on the board alone" in said
    assert "30 control steps of 0.25 s and 8 to compare, about 0.0026 h" in capsys.readouterr().out
    found = RunFolder.load(out)
    assert found.policy.algorithm == algo
    assert found.device.startswith(str(out / "device.toml"))
    assert len(opened) == 1
    assert {path.name for path in out.iterdir()} == {
        *("agent.safetensors", "config.json", "device.toml", "learning.json", "machine.json"),
        *("policy", "tensorboard", "comparison.json"),
    }
    with pytest.raises(RunFolderError, match="is finished"):
        resumed_learning(out)


@pytest.mark.parametrize("algo", ["sac", "dqn", "dvfo"])
def test_a_device_file_initialises_value_and_policy(
    opened, config, tmp_path, capsys, algo, monkeypatch
):
    loaded = []
    load = tuning.load_into
    monkeypatch.setattr(
        tuning, "load_into", lambda agent, path: (loaded.append(path), load(agent, path))
    )
    out = tmp_path / "run"
    said = learn(of(config, algo, from_scratch=False), out)
    assert "J before" in said
    assert "first: learning in the simulation of" in capsys.readouterr().out
    assert RunFolder.load(out / "simulation").policy.algorithm == algo
    assert RunFolder.load(out).policy.algorithm == algo
    begun = [out / "simulation" / "agent.safetensors"]
    assert loaded == ([] if algo == "dvfo" else begun)  # which begins with the policy's scores


@pytest.mark.parametrize("algo", ["sac", "ppo"])
def test_learning_that_was_killed_goes_on(opened, config, tmp_path, monkeypatch, algo):
    out, done = tmp_path / "run", []
    step = EdgeSplitEnv.step

    def killed(self, action):
        done.append(action)
        if len(done) == 25:
            raise KeyboardInterrupt
        return step(self, action)

    monkeypatch.setattr(EdgeSplitEnv, "step", killed)
    config = of(config, algo)
    with pytest.raises(KeyboardInterrupt):
        learn(config, out)
    assert not (out / "policy").exists()
    assert resumed_learning(out) == config
    learn(resumed_learning(out), out, is_new=False)
    # Twenty steps were saved. PPO ends with the rollout that the last step falls into.
    left = 10 if algo == "sac" else 16
    assert len(done) == 25 + left + 8
    assert RunFolder.load(out).policy.algorithm == algo


def test_a_run_that_was_cut_in_simulation_goes_on_there(opened, config, tmp_path, monkeypatch):
    out = tmp_path / "run"

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "simulated_decider", interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(of(config, "dqn", from_scratch=False), out)
    assert not opened
    (out / "simulation" / "checkpoint.safetensors").unlink(missing_ok=True)
    (out / "simulation" / "config.json").write_text("")  # as if it was killed at the very beginning
    learn(resumed_learning(out), out, is_new=False)
    assert RunFolder.load(out).policy.algorithm == "dqn"


def test_a_hot_board_raises_no_clock_while_nothing_is_known(opened, config, tmp_path, small_world):
    executed = []
    step = EdgeSplitEnv.step
    names = [
        f.name
        for f in EdgeSplitEnv(
            BatchedSimulator(small_world, 1), small_world.objective()
        ).encoder.fields
    ]
    row = names.index("temperature_margin_c")

    def hot(self, action):
        observation, *rest = step(self, action)
        executed.append(action)
        observation[row] = -1.0
        return observation, *rest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EdgeSplitEnv, "step", hot)
        learn(config, tmp_path / "run")
    clocks = [action[:-1] for action in executed[:30]]
    assert all((later <= sooner).all() for sooner, later in pairwise(clocks))


def test_what_cannot_begin_with_nothing_says_so_and_leaves_no_folder(opened, config, tmp_path):
    for algo, said in (
        ("advised", "learns in simulation only"),
        ("drldo", "learns in simulation only"),
        ("amortised", "begins with lessons"),
        ("best-static", "does not learn"),
        ("nonsense", "nonsense"),
    ):
        with pytest.raises(AgentError, match=said):
            learn(of(config, algo), tmp_path / "run")
        assert not (tmp_path / "run").exists()
    assert not opened


def test_a_board_without_a_device_asks_for_one(opened, config, tmp_path, monkeypatch):
    nameless = replace(config.simulation, device="")
    warm = replace(config, from_scratch=False, simulation=nameless)
    with pytest.raises(AgentError, match=r"name the file of one by --device .*--from-scratch"):
        learn(warm, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    learn(replace(config, simulation=nameless), tmp_path / "run")
    assert opened[0][1] is None
    assert RunFolder.load(tmp_path / "run").device == ""


def test_a_machine_begins_with_the_model_of_the_device_that_it_is_like(
    opened, config, tmp_path, capsys, monkeypatch
):
    kernel = BOARDS["jetson-orin-nano"]("new")
    monkeypatch.setattr(learning, "Sysfs", lambda root: FakeSysfs(kernel, root))
    monkeypatch.setattr(learning, "run", lambda before, folder, **_: simulated.append(before))
    monkeypatch.setattr(learning, "tune_run", lambda *_: "tuned")
    simulated = []
    nameless = replace(config.simulation, device="")
    real = replace(config, board="linux", from_scratch=False, simulation=nameless)
    assert learn(real, tmp_path / "run") == "tuned"
    assert "is most like orin-nano" in capsys.readouterr().out
    device = DeviceModel.load(simulated[0].device)
    assert device.name == "closest"
    assert device.cpu_hz[-1] == DeviceModel.load("orin-nano").cpu_hz[-1]


def test_a_machine_like_no_device_is_told_what_there_is(opened, config, tmp_path, monkeypatch):
    kernel = BOARDS["x86-acpi"]("new")
    monkeypatch.setattr(learning, "Sysfs", lambda root: FakeSysfs(kernel, root))
    nameless = replace(config.simulation, device="")
    real = replace(config, board="linux", from_scratch=False, simulation=nameless)
    with pytest.raises(AgentError, match=r"none that is shipped.*--from-scratch"):
        learn(real, tmp_path / "run")


def test_every_scenario_is_simulated_for_a_link_that_is_what_it_is():
    assert simulated_scenarios("steady-wifi") == ("all",)
    assert simulated_scenarios("mine.toml") == ("all", "mine.toml")


def test_the_command_learns_on_a_board(opened, config, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    options = ["--board", "emulated", "--from-scratch", "--algo", "sac", "--total-timesteps", "20"]
    options += ["--model", config.simulation.model, "--listen", "127.0.0.1:0", "--out", str(out)]
    assert train.main(options) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"next: python deploy.py --run {out} --board emulated\n")
    place, device, _ = opened[0]
    assert (place.board, place.listen, place.n_steps, device) == (
        *("emulated", "127.0.0.1:0"),
        *(20, None),
    )
    assert train.main(["--resume", str(out)]) == 2
    assert "is finished" in capsys.readouterr().err
    assert train.main(["--from-scratch"]) == 2
    assert "--from-scratch is for learning on a board" in capsys.readouterr().err
    assert train.main(["--board", "emulated", "--scenario", "steady-wifi", "lte-driving"]) == 2
    assert "a board has one scenario at a time" in capsys.readouterr().err


def test_what_was_learned_on_the_emulated_board_drives_it(
    config, tmp_path, monkeypatch, capsys, kept_signals
):
    """In real time; no request of an application comes, which is no reason to stop."""
    monkeypatch.setattr(comparison, "BLOCK_STEPS", 3)
    monkeypatch.setattr(comparison, "N_BLOCKS", 1)
    out = tmp_path / "run"
    where = ["--board", "emulated", "--listen", "127.0.0.1:0"]
    what = ["--from-scratch", "--algo", "sac", "--model", config.simulation.model]
    assert train.main([*where, *what, "--total-timesteps", "8", "--out", str(out)]) == 0
    assert json.loads((out / "machine.json").read_text())["runs_on"]
    found = RunFolder.load(out)
    assert (found.policy.layout.board, found.policy.layout.domains) == ("emulated", ("cpu", "gpu"))
    capsys.readouterr()
    model = ["--model", config.simulation.model]
    assert deploy.main(["--run", str(out), *where, *model, "--duration", "1"]) == 0
    assert "no request was served" in capsys.readouterr().out


BRIEFLY = """
import atexit, sys
from agents.testbed import checkpoints, comparison
from envs.edge_env import EdgeSplitEnv
import train
checkpoints.CHECKPOINT_EVERY, comparison.BLOCK_STEPS, comparison.N_BLOCKS = 10, 3, 1
step, done = EdgeSplitEnv.step, []
EdgeSplitEnv.step = lambda self, action: (done.append(1), step(self, action))[1]
atexit.register(lambda: print("steps on the board:", len(done)))
sys.exit(train.main(sys.argv[1:]))
"""


def test_a_process_that_was_killed_has_lost_ten_steps_at_most(config, tmp_path):
    """SIGKILL in the middle of learning on the emulated board, in real time; then `--resume`."""
    out = tmp_path / "run"
    command = [sys.executable, "-c", BRIEFLY]
    what = ["--from-scratch", "--algo", "sac", "--model", config.simulation.model]
    what += ["--board", "emulated", "--total-timesteps", "40", "--out", str(out)]
    what += ["--listen", "127.0.0.1:0"]
    begun = subprocess.Popen([*command, *what], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    end_s = time.monotonic() + 120.0
    while not (out / "checkpoint.safetensors").is_file():
        assert begun.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.02)
    begun.kill()
    begun.wait(10.0)
    assert not (out / "policy").exists()
    resumed = [*command, "--resume", str(out)]
    done = subprocess.run(
        resumed, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    n_steps = int(re.search(r"steps on the board: (\d+)", done.stdout)[1])
    assert n_steps <= 40 - 10 + 2 * 3
    assert RunFolder.load(out).policy.algorithm == "sac"


@pytest.fixture
def measured_file(tmp_path):
    """A device file as `calibrate.py` writes it for the emulated board, from invented samples."""
    tomli_w = pytest.importorskip("tomli_w", reason="needs the extra edge")
    measured = Measured.of(invented.samples(0, 120), invented.OPTIONS)
    confidence = Confidence.of(measured, Setting(("cpu", "gpu"), "gpu"), n_refits=2)
    identity = Identity("mine", "emulated", "board emulated", "6.1", None, "net", "onnxruntime-cpu")
    day = datetime.date(2026, 1, 2)
    with EmulatedBoard() as board:
        device = device_model(identity, confidence, measured, board, {}, day)
        document = device_document(device, provenance(device, board))
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(document))
    return path


def test_learning_on_the_emulated_board_begins_with_its_own_device_file(
    config, tmp_path, monkeypatch, measured_file, brief
):
    simulation = replace(config.simulation, device=str(measured_file), algo="dqn")
    real = replace(config, from_scratch=False, n_steps=6, simulation=simulation)
    said = learn(real, tmp_path / "run")
    assert "energy per request" in said
    found = RunFolder.load(tmp_path / "run")
    assert (found.policy.layout.board, found.policy.layout.domains) == ("mine", ("cpu", "gpu"))
    assert found.device_on("emulated").startswith(str(tmp_path / "run" / "device.toml"))
