"""`train.py` as a user runs it; bad input goes through `main`, which saves the start-up."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from agents.deployed.run_folder import RunFolder
from agents.errors import AgentError
from agents.learners import budget
from agents.training import checkpoints, run, validation
from agents.training.algorithms import ALGORITHMS
from agents.training.run import TrainConfig
from envs.governed.table import N_ROWS, GovernedTable, made_of
from envs.scenarios.scenario import SCENARIO_DIR
from hw.base import Hold
from hw.device.file import DEVICES

TAGS = [
    "board/energy_per_inference_j",
    "board/latency_s",
    "board/power_w",
    "board/deadline_hit_rate",
    "clocks/cpu_hz",
    "clocks/gpu_hz",
    "clocks/emc_hz",
    "split/point",
    "split/uplink_bytes",
    "split/fallbacks",
    *(f"reward/{t}" for t in ("energy", "time", "deadline", "accuracy", "switching", "thermal")),
    "validation/cost",
    "validation/oracle_cost",
    "validation/oracle_gap",
    "validation/energy_per_inference_j",
    "validation/latency_s",
    "validation/deadline_hit_rate",
]


@pytest.fixture(scope="module")
def base(tiny, small_device) -> list[str]:
    """Options of a run that is quick because its oracle has little to search."""
    return ["--device", str(small_device), "--model", str(tiny.path), "--scenario", "steady-wifi"]


@pytest.fixture
def quick(monkeypatch) -> None:
    """Four boards, ten steps per rollout and two validations instead of twenty."""
    monkeypatch.setattr(train, "DEFAULT_ALGORITHM", "ppo")
    ppo = ALGORITHMS["ppo"]
    settings = ppo.settings | {"n_steps": 10, "batch_size": 40}
    monkeypatch.setitem(ALGORITHMS, "ppo", replace(ppo, n_envs=4, settings=settings))
    monkeypatch.setattr(validation, "N_VALIDATIONS", 1)
    monkeypatch.setattr(budget, "MIN_ROLLOUTS", 1)


def steps_of(run) -> int:
    """Steps that the agent in a run folder has learned from."""
    with ZipFile(run / "agent.zip") as stored:
        return json.loads(stored.read("data"))["num_timesteps"]


@pytest.fixture
def refusal(base, capsys):
    """Run `train.main` on bad input; returns its one sentence."""

    def run(*options: object) -> str:
        assert train.main([*base, *map(str, options)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


@pytest.mark.usefixtures("quick")
def test_ppo_leaves_all_that_scripts_rely_on(base, tmp_path, capsys):
    out = tmp_path / "runs" / "mine"
    options = ["--total-timesteps", "160", "--seed", "3", "--out", str(out)]
    assert train.main([*base, *options]) == 0
    _check_run(out, base, "ppo", 160, capsys.readouterr().out)


def test_sac_as_a_command_leaves_all_that_scripts_rely_on(run_script, base, tmp_path):
    out = tmp_path / "runs" / "mine"
    options = ["--algo", "sac", "--total-timesteps", 256, "--seed", 3, "--out", out]
    result = run_script("train.py", *base, *options)
    assert result.returncode == 0, result.stderr
    _check_run(out, base, "sac", 256, result.stdout)


def _check_run(out, base, algo, steps, printed) -> None:
    assert "kept the policy of step" in printed
    assert str(out) in printed.splitlines()[-2]
    assert "modelled" in printed
    _check_documents(out, base, algo, steps)
    _check_evaluation(out, algo, printed)
    _check_tensorboard(out)
    metadata = RunFolder.load(out).policy.metadata
    assert (metadata.algorithm, metadata.layout.model) == (algo, "tiny-cnn")


def _check_documents(out, base, algo, steps) -> None:
    assert {path.name for path in out.iterdir()} == {
        *("config.json", "machine.json", "provenance.txt", "policy", "agent.zip", "tensorboard"),
        "agent.safetensors",
        *("evaluation.csv", "evaluation.png", "decisions.png", "device.toml"),
    }
    _, device, _, model, _, scenario = base
    assert json.loads((out / "config.json").read_text()) == {
        "board": "sim",
        "device": device,
        "model": model,
        "scenario": [scenario],
        "algo": algo,
        "total_timesteps": steps,
        "seed": 3,
        "without": [],
        "blocking": False,
        "hold": "pin",
        "target": None,
        "hyperparams": {},
        "runtime": "tensorflow",
    }
    assert "(modelled): validated on" in (out / "provenance.txt").read_text()
    machine = json.loads((out / "machine.json").read_text())
    assert {"processor", "python", "torch", "numpy", "commit"} <= set(machine)
    assert (out / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def _check_evaluation(out, algo, printed) -> None:
    with (out / "evaluation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    cost = {row["policy"]: float(row["cost"]) for row in rows}
    last = printed.splitlines()[-1]
    if cost[algo] <= min(cost["best-static"], cost["random"]):
        assert last == f"next: python deploy.py --run {out}"
    else:
        assert last.startswith("warning: on held-out episodes")
    policies = [algo, "oracle", "best-static", "governor", "max-edge", "max-cloud", "random"]
    assert [row["policy"] for row in rows] == policies
    assert all(float(row["cost"]) > 0.0 for row in rows)
    assert all(name in printed for name in policies)
    assert {row["accuracy"] for row in rows} == {"nan"}
    assert printed.count("unknown") == 1 + len(policies)
    assert "lose in accuracy is unknown and costs nothing here; python -m partition.pro" in printed


def _check_tensorboard(out) -> None:
    (folder,) = (out / "tensorboard").iterdir()
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    assert set(TAGS) <= set(events.Tags()["scalars"])
    assert "board/accuracy" not in events.Tags()["scalars"]  # it is unknown, and text
    assert any(tag.startswith("board/accuracy") for tag in events.Tags()["tensors"])
    assert "policy/over_link_rate" in events.Tags()["images"]
    assert all(events.Scalars(f"reward/{name}")[-1].value < 0.0 for name in ("energy", "time"))


@pytest.mark.usefixtures("quick")
def test_agent_learns_from_the_log_cost_under_a_falling_entropy_bonus(base, tmp_path, monkeypatch):
    seen = {}

    def stop(agent, metadata):
        seen["reward"] = type(agent.get_env()).__name__
        seen["ent_coef"] = agent.ent_coef
        raise AgentError("enough")

    monkeypatch.setitem(ALGORITHMS, "ppo", replace(ALGORITHMS["ppo"], freeze=stop))
    assert train.main([*base, "--total-timesteps", "160", "--out", str(tmp_path / "run")]) == 2
    # The last of four rollouts begins with a quarter of the bonus left.
    expected = ALGORITHMS["ppo"].ent_coef / 4
    assert seen == {"reward": "LogCost", "ent_coef": pytest.approx(expected)}


@pytest.mark.usefixtures("quick")
def test_interrupted_run_leaves_no_policy_behind(base, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "judge", interrupt)
    out = tmp_path / "run"
    assert train.main([*base, "--total-timesteps", "40", "--out", str(out)]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("stopped;")
    assert not (out / "policy").exists()


@pytest.mark.parametrize(
    ("option", "listed"),
    [
        ("--device", sorted(path.stem for path in DEVICES.glob("*.toml"))),
        ("--scenario", sorted(path.stem for path in SCENARIO_DIR.glob("*.toml"))),
        ("--algo", [*ALGORITHMS, "model-search", "oracle"]),
        ("--board", ["sim"]),
        ("--runtime", ["tensorflow"]),
    ],
)
def test_unknown_name_is_refused_with_those_there_are(refusal, tmp_path, option, listed):
    message = refusal(option, "nonsense", "--out", tmp_path / "run")
    assert "nonsense" in message
    assert all(name in message for name in listed)
    assert not (tmp_path / "run").exists()


def test_unknown_model_is_refused_with_how_to_get_one(refusal, tmp_path):
    message = refusal("--model", "nonsense", "--out", tmp_path / "run")
    assert "nonsense" in message
    assert "tiny-cnn" in message
    assert not (tmp_path / "run").exists()


def test_folder_with_something_in_it_is_not_overwritten(refusal, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert f"{tmp_path} is not empty" in refusal("--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_folder_that_cannot_be_written_is_refused(refusal, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert f"{out} cannot be written" in refusal("--out", out)


@pytest.mark.parametrize("value", ["nan", "inf", '"fast"', "-1.0", "[9.0, 1.0]"])
def test_scenario_with_a_bad_value_is_refused_by_file_and_key(refusal, tmp_path, value):
    text = (SCENARIO_DIR / "steady-wifi.toml").read_text()
    path = tmp_path / "bad.toml"
    path.write_text(text.replace("rate_hz = 10.0", f"rate_hz = {value}"))
    message = refusal("--scenario", path, "--out", tmp_path / "run")
    assert "bad.toml" in message
    assert "rate_hz" in message


def test_device_with_a_bad_value_is_refused_by_file_and_key(refusal, tmp_path):
    text = (DEVICES / "tx2.toml").read_text()
    path = tmp_path / "bad.toml"
    key = next(line.split("=")[0].strip() for line in text.splitlines() if line.endswith(".0"))
    lines = [f"{key} = nan" if line.startswith(f"{key} =") else line for line in text.splitlines()]
    path.write_text("\n".join(lines))
    message = refusal("--device", path, "--out", tmp_path / "run")
    assert "bad.toml" in message
    assert key in message


@pytest.mark.parametrize("steps", ["0", "-5", "many", "nan", "inf"])
def test_number_of_steps_that_is_none_is_refused(base, capsys, steps):
    with pytest.raises(SystemExit) as stopped:
        train.main([*base, "--total-timesteps", steps])
    assert stopped.value.code == 2
    assert "--total-timesteps" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "x", "1.5"])
def test_seed_that_is_none_is_refused(base, tmp_path, capsys, seed):
    with pytest.raises(SystemExit) as stopped:
        train.main([*base, "--seed", seed, "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "--seed" in capsys.readouterr().err


def test_bad_input_ends_the_command_without_a_traceback(script_error):
    assert "unknown algorithm 'a2c'" in script_error("train.py", "--algo", "a2c")


@pytest.mark.usefixtures("quick")
def test_a_rule_is_fitted_judged_and_saved_as_one(base, tmp_path):
    out = tmp_path / "run"
    assert train.main([*base, "--algo", "max-edge", "--out", str(out)]) == 0
    assert json.loads((out / "policy" / "policy.json").read_text())["kind"] == "rule"
    assert RunFolder.load(out).policy.algorithm == "max-edge"


@pytest.mark.usefixtures("quick")
def test_a_run_that_was_cut_goes_on_from_its_checkpoint(base, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    out, at = tmp_path / "run", []
    save = checkpoints.save_whole

    def killed(agent, path):
        save(agent, path)
        at.append(agent.num_timesteps)
        if agent.num_timesteps >= 80:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_whole", killed)
        options = ["--total-timesteps", "160", "--seed", "3", "--out", str(out)]
        assert train.main([*base, *options]) == 130
    assert (out / "checkpoint.safetensors").is_file()
    assert train.main(["--resume", str(out)]) == 0
    assert steps_of(out) == 160
    assert not (out / "checkpoint.safetensors").exists()
    assert not [path for path in out.rglob("*") if path.suffix in (".pkl", ".part")]
    assert (out / "policy" / "policy.json").is_file()
    assert train.main(["--resume", str(out)]) == 2  # finished


def test_resuming_what_is_no_run_is_refused(refusal, tmp_path):
    assert "holds no run" in refusal("--resume", tmp_path)
    config = {"board": "sim", "device": "tx2", "model": "x", "scenario": ["all"], "algo": "ppo"}
    told = (
        "seed is missing; add it",
        "seed is True; give a whole number",
        "scenario is 'all'; give a list",
    )
    for changes, said in zip(({}, {"seed": True}, {"scenario": "all"}), told, strict=True):
        document = config | {"total_timesteps": None} | changes
        (tmp_path / "config.json").write_text(json.dumps(document))
        assert f"is damaged ({said}); train again" in refusal("--resume", tmp_path)


@pytest.mark.usefixtures("quick")
def test_training_stops_at_its_target(base, tmp_path):
    out = tmp_path / "run"
    options = ["--total-timesteps", "4000", "--target", "0.000001", "--out", str(out)]
    assert train.main([*base, *options]) == 0
    assert steps_of(out) <= 4000


def test_effects_are_left_out_of_the_world(lite0):
    config = TrainConfig(
        board="sim",
        device="tx2",
        model="efficientnet-lite0",
        scenario=("steady-wifi",),
        algo="ppo",
        total_timesteps=None,
        seed=0,
        without=("thermal", "queueing"),
        blocking=True,
    )
    world = config.world(lite0)
    assert not world.effects.thermal
    assert not world.effects.queueing
    assert world.effects.hidden_load
    assert world.blocking


@pytest.mark.usefixtures("quick")
def test_a_run_that_caps_says_so_and_keeps_what_its_governors_come_to(base, tmp_path, monkeypatch):
    def make(device, head):
        sizes = (len(device.cpu_hz), len(device.gpu_hz), len(device.emc_hz), len(head.cpu_cycles))
        return GovernedTable(np.full((N_ROWS, 3, *sizes), 0.1, np.float32), made_of(device, head))

    monkeypatch.setattr(GovernedTable, "make", make)
    out = tmp_path / "run"
    assert train.main([*base, "--algo", "max-edge", "--hold", "cap", "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["hold"] == "cap"
    monkeypatch.setattr(GovernedTable, "make", None)  # it is there
    found = RunFolder.load(out)
    assert found.hold is Hold.CAP
    kept = found.governed(found.model, "steady-wifi")
    assert kept.rows == pytest.approx(np.full(kept.rows.shape, 0.1))


def test_an_unknown_effect_is_refused(refusal, tmp_path):
    message = refusal("--disable-effect", "gravity", "--out", tmp_path / "run")
    assert "gravity" in message
    assert "thermal" in message


def test_the_way_on_from_a_board_names_only_the_folder():
    """The board and its cloud have to be named again, or the modelled one would be tuned."""
    arguments = train._parser().parse_args(["--init", "RUN", "--board", "emulated"])
    assert train._way_on(arguments, Path("OUT")) == "the same command with --out OUT goes on"
