from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.errors import AgentError
from agents.training.sweep import Sweep, SweepRun, _Trainer
from tests.conftest import REPOSITORY


@pytest.fixture
def load(tmp_path):
    def read(text: str) -> Sweep:
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return Sweep.load(path, tmp_path / "runs")

    return read


def begin(folder: Path, **settings: object) -> None:
    """What a run that was cut leaves."""
    folder.mkdir(parents=True)
    named = {"board": "sim", "device": "tx2", "model": "m", "scenario": ["all"], "algo": "ppo"}
    config = {**named, "seed": 0, "total_timesteps": None, **settings}
    (folder / "config.json").write_text(json.dumps(config))


def test_every_list_is_an_axis_of_the_grid(load):
    sweep = load('algo = ["ppo", "dvfo"]\nseed = [0, 1, 2]\ntotal_timesteps = 50')
    assert len(sweep.runs) == 6
    assert len({run.folder for run in sweep.runs}) == 6
    command = sweep.runs[-1].command()
    pairs = dict(zip(command[2::2], command[3::2], strict=True))
    expected = {"--algo": "dvfo", "--seed": "2", "--device": "tx2", "--total-timesteps": "50"}
    assert expected.items() <= pairs.items()
    assert sweep.runs[-1].folder.name == "dvfo__tx2__efficientnet-lite0__all__2"  # docs/cluster.md


def test_hyperparameters_are_axes_too(load):
    sweep = load('algo = ["ppo"]\n[hyperparams]\nlearning_rate = [1e-3, 3e-3]\nn_steps = [5, 10]')
    assert len({run.folder for run in sweep.runs}) == 4
    command = sweep.runs[-1].command()
    given = command[command.index("--hyperparams") + 1 : command.index("--out")]
    assert given == ["learning_rate=0.003", "n_steps=10"]


def test_files_of_one_name_are_told_apart_by_what_they_hold(load, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(f'title = "{folder}"\ntrace = "link.csv"')
    names = [str(tmp_path / folder / "mine.toml") for folder in ("a", "b")]
    text = f"scenario = {names}"
    first, second = load(text).runs
    assert first.folder != second.folder
    assert first.folder == load(text).runs[0].folder
    (tmp_path / "a" / "link.csv").write_text("second,mbps")
    changed = load(text).runs
    assert changed[0].folder != first.folder
    assert changed[1].folder == second.folder


def test_a_run_that_is_listed_twice_is_refused(load):
    with pytest.raises(AgentError, match=r"lists the run .* twice"):
        load("seed = [0, 1, 0]")


def test_a_run_that_was_cut_is_resumed(load):
    (run,) = load('algo = ["ppo"]').runs
    assert "--resume" not in run.command()
    begin(run.folder)
    assert load('algo = ["ppo"]').runs[0].command()[-2:] == ["--resume", str(run.folder)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"total_timesteps": 50}, "begun with total_timesteps 50, the sweep file asks for None"),
        ({"hyperparams": {"gamma": 0.5}}, "begun with hyperparams {'gamma': 0.5}"),
    ],
)
def test_a_run_that_was_begun_with_other_settings_is_not_gone_on_with(load, settings, said):
    (run,) = load('algo = ["ppo"]').runs
    begin(run.folder, **settings)
    with pytest.raises(AgentError, match=said):
        load('algo = ["ppo"]')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = [1]", r"sweep\.toml: seeds = a list of 1 is no known key; did you mean seed\?"),
        ("colour = [1]", r"colour = a list of 1 is no known key; .* \(algo, device, "),
        ('algo = "ppo"', "algo is 'ppo'; give a list"),
        ("seed = []", "give a list"),
        ("processes = 0", "processes is 0; give a whole number >= 1"),
        ("processes = true", "processes is True; give a whole number"),
        ("seed = [0, -1]", r"seed\[1\] is -1; give a whole number >= 0"),
        ("[hyperparams]\ngamma = 0.5", r"hyperparams\.gamma is 0\.5; give a list"),
        ("= 1", "cannot be read"),
        ("", "lists nothing to train"),
    ],
)
def test_what_means_nothing_is_refused(load, text, said):
    with pytest.raises(AgentError, match=said):
        load(text)


TRAINER = """import json, pathlib, sys, time
run = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
if "1" in sys.argv:
    sys.exit("error: out of luck")
(run / "policy").mkdir(parents=True)
(run / "policy" / "policy.json").write_text("{}")
row = {"policy": "ppo", "energy_j": 1, "latency_s": 1, "deadline_hit_rate": 1, "cost": 1}
row["gap_closed"] = "nan"
(run / "evaluation.csv").write_text(",".join(row) + "\\n" + ",".join(map(str, row.values())))
"""


@pytest.fixture
def lucky(tmp_path, monkeypatch) -> None:
    """A trainer that takes no time, and fails with seed 1."""
    (tmp_path / "train.py").write_text(TRAINER)
    monkeypatch.setattr("agents.training.sweep._SCRIPT", tmp_path / "train.py")


def finish(run: SweepRun) -> None:
    """What a run that is done leaves."""
    (run.folder / "policy").mkdir(parents=True)
    (run.folder / "policy" / "policy.json").write_text("{}")


@pytest.mark.usefixtures("lucky")
def test_only_missing_runs_are_trained_and_the_reason_of_a_failure_is_told(load, capsys):
    sweep = load('algo = ["ppo"]\nseed = [0, 1, 2]\nprocesses = 2')
    finish(sweep.runs[0])
    assert not sweep.run()
    told = capsys.readouterr().out
    assert "2 of 3 runs to be done" in told
    assert "all__1: failed (error: out of luck), see " in told
    assert "all__2: done" in told
    assert "nan" not in told
    assert "-: the best static setting" in told


@pytest.mark.usefixtures("lucky")
def test_a_run_that_another_sweep_has_finished_meanwhile_is_left_out(load):
    run = load('algo = ["ppo"]\nseed = [2]').runs[0]
    trainer = _Trainer(run)
    finish(run)
    trainer.start()
    assert trainer.has_ended
    assert trainer.is_well
    assert trainer.verdict == "left out, another process has trained it"


def test_a_run_that_another_sweep_still_trains_is_no_success(load, tmp_path, capsys):
    sweep = load('algo = ["ppo"]\nseed = [2]')
    log = sweep.runs[0].folder.parent / f"{sweep.runs[0].folder.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert not sweep.run()
    assert f"left out, another process trains it and holds {log}" in capsys.readouterr().out


SLEEPER = """import os, pathlib, sys, time
sys.path.insert(0, os.getcwd())
from agents.training import workers
workers.end_with_parent()
pathlib.Path(sys.argv[0]).with_name("started").write_text(str(os.getpid()))
time.sleep(60)
"""
SWEEP = """import sys
from pathlib import Path
from common import command
command.begin()
from agents.training import sweep
sweep._SCRIPT = Path(sys.argv[1]) / "train.py"
file = Path(sys.argv[1]) / "sweep.toml"
sys.exit(command.run(lambda: int(not sweep.Sweep.load(file, file.parent / "runs").run())))
"""


def start(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, tmp_path],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_trainer(tmp_path: Path) -> int:
    for _ in range(600):
        if (tmp_path / "started").exists() and (tmp_path / "started").read_text():
            break
        time.sleep(0.1)
    return int((tmp_path / "started").read_text())


def test_trainers_do_not_outlive_a_sweep_that_was_killed(tmp_path):
    (tmp_path / "train.py").write_text(SLEEPER)
    (tmp_path / "sweep.toml").write_text('algo = ["ppo"]\n')
    with start(tmp_path) as process:
        try:
            trainer = wait_for_trainer(tmp_path)
        finally:
            process.kill()
    due_s = time.monotonic() + 20.0
    while Path(f"/proc/{trainer}").exists() and time.monotonic() < due_s:
        time.sleep(0.1)
    assert not Path(f"/proc/{trainer}").exists()


def test_a_signal_leaves_no_trainer_behind_and_none_trains_twice(tmp_path):
    (tmp_path / "train.py").write_text(SLEEPER)
    (tmp_path / "sweep.toml").write_text('algo = ["ppo"]\n')
    with start(tmp_path) as process:
        try:
            trainer = wait_for_trainer(tmp_path)
            with start(tmp_path) as second:
                told, _ = second.communicate(timeout=60)
                assert "left out, another process trains it" in told
                assert second.returncode == 1
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "stopped\n")
    assert not Path(f"/proc/{trainer}").exists()
