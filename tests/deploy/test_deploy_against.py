"""`deploy.py --against`, mostly in virtual time."""

from __future__ import annotations

import csv
import json
import signal

import pytest

import deploy
from agents.comparison.schedule import N_BLOCKS, BlockLength
from agents.comparison.step_log import StepLog
from hw.session.journal import Journal
from tests.agents.comparison.conftest import open_live
from tests.hw.fake.clock import FakeClock
from tests.runs import constant_policy, write_run

SHORT = BlockLength(washout=1, counted=3)
MINUTES = 6 * N_BLOCKS * 4 * 0.25 / 60.0
"""Of six rounds of short blocks."""


@pytest.fixture
def low_run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, (0, 0, 0, 4))
    return write_run(tmp_path / "low-run", policy, small_device, tiny.path)


@pytest.fixture
def opened(tiny, small_device, monkeypatch):
    """Options with which boards in virtual time were opened."""
    seen = []

    def open_one(board, device, model, scenario, *, n_steps, accept, **options):
        env = open_live(tiny, small_device, FakeClock(), n_steps)
        accept(env.plant.layout)
        seen.append({"board": board, "device": device, "n_steps": n_steps, "env": env, **options})
        return env

    monkeypatch.setattr(deploy, "make_live", open_one)
    monkeypatch.setattr("agents.comparison.proof.BlockLength", lambda: SHORT)
    return seen


def folder_of(run):
    (found,) = run.glob("against-*")
    return found


def test_the_run_ends_with_the_answer_and_a_folder_of_evidence(low_run, opened, main, capsys):
    options = ["--against", "governor", "--minutes", MINUTES, "--json"]
    assert main(low_run, *options) == 0
    out = capsys.readouterr().out.splitlines()
    document = json.loads(out[-1])
    assert (document["policy"], document["against"]) == ("policy", "governor")
    assert out[-2] == document["answer"]
    assert "modelled power" in document["answer"]
    assert [line for line in out if "round  1 of 6" in line]
    folder = folder_of(low_run)
    assert folder.name.startswith("against-governor-")
    assert str(folder) == document["folder"]
    assert json.loads((folder / "result.json").read_text()) == document
    assert (folder / "result.png").stat().st_size > 10_000
    with (folder / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    blocks = {(row["round"], row["block"]) for row in rows}
    assert len(blocks) == document["rounds"] * N_BLOCKS
    counted = [row for row in rows if row["is_counted"] == "True" and row["arm"] == "policy"]
    energy_j = sum(float(row["energy_j"]) for row in counted)
    assert energy_j == pytest.approx(document["arms"]["policy"]["energy_j"])
    assert opened[0]["n_steps"] == SHORT.n_steps
    assert not opened[0]["env"].plant._board._is_open


def test_a_run_is_no_better_than_itself(low_run, opened, main, capsys):
    assert main(low_run, "--against", low_run, "--minutes", MINUTES, "--json") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["against"] == "low-run"
    assert document["is_shown"] is False
    saving = document["energy_saving"]
    assert saving["low"] <= 0.0 <= saving["high"]


def test_the_best_static_setting_is_an_opponent(low_run, opened, main, capsys, tmp_path):
    options = ["--against", "best-static", "--minutes", MINUTES, "--out", tmp_path / "out"]
    assert main(low_run, *options) == 0
    assert "the best static setting" in capsys.readouterr().out
    assert (folder_of(tmp_path / "out") / "result.json").is_file()


def test_without_matplotlib_there_is_no_picture_and_that_is_said(
    low_run, opened, main, monkeypatch, capsys
):
    monkeypatch.setattr("agents.comparison.proof.find_spec", lambda _: None)
    assert main(low_run, "--against", low_run, "--minutes", MINUTES) == 0
    assert "no picture was drawn: the package matplotlib" in capsys.readouterr().out
    assert not (folder_of(low_run) / "result.png").exists()


def test_a_signal_ends_it_with_what_is_known(low_run, opened, main, monkeypatch, capsys):
    run = deploy.Proof.run

    def interrupted(self, env, is_stopped, show):
        def told(line):
            show(line)
            if "round  2" in line:
                signal.raise_signal(signal.SIGINT)

        return run(self, env, is_stopped, told)

    monkeypatch.setattr(deploy.Proof, "run", interrupted)
    assert main(low_run, "--against", low_run, "--minutes", 2 * MINUTES, "--json") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["ended_by"], document["rounds"]) == ("stopped", 2)
    assert (folder_of(low_run) / "result.json").is_file()
    assert not opened[0]["env"].plant._board._is_open


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--against", "governor", "--dry-run"], "neither --dry-run nor --duration"),
        (["--against", "governor", "--duration", 5], "neither --dry-run nor --duration"),
        (["--against", "governor", "--minutes", 1], "give at least --minutes 2.5"),
        (["--against", "nothing"], "nothing is no folder"),
        (["--minutes", 3], "--minutes and --out are for --against"),
        (["--out", "here"], "--minutes and --out are for --against"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_board_is_opened(
    low_run, refusal, monkeypatch, options, told
):
    monkeypatch.setattr(deploy, "make_live", None)
    assert told in refusal(low_run, *options)
    assert list(low_run.glob("against-*")) == []


def test_a_folder_that_cannot_be_written_is_told(low_run, opened, refusal, tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal(
        low_run, "--against", low_run, "--minutes", MINUTES, "--out", tmp_path / "file"
    )
    assert "cannot be written (Not a directory); give another folder with --out" in message
    assert not opened[0]["env"].plant._board._is_open


def test_a_real_board_has_its_clocks_in_the_governors_blocks_and_is_left_as_it_was(
    machine, machine_run, main, monkeypatch, capsys
):
    """In real time, on a fake kernel: two blocks of each, then a signal."""
    before, limits = machine.kernel.snapshot(), {"policy": set(), "governor": set()}
    monkeypatch.setattr("agents.comparison.proof.BlockLength", lambda: BlockLength(0, 1))
    add = StepLog.add

    def watched(self, step, totals, clocks_hz):
        limits[step.arm].add(machine.kernel.devices["policy0"].limits_khz())
        if step.arm == "governor":
            assert machine.kernel.snapshot() == before
            assert not Journal.of_machine(machine).exists()
        add(self, step, totals, clocks_hz)

    monkeypatch.setattr(StepLog, "add", watched)
    options = ["--board", "linux", "--against", "governor", "--minutes", 0.05, "--json"]
    assert main(machine_run, *options, root=machine.root) == 0
    assert limits == {"policy": {(115_200, 115_200)}, "governor": {(115_200, 1_510_400)}}
    assert machine.kernel.snapshot() == before
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["board_is_modelled"] is False
    assert "modelled" not in document["answer"]
    assert document["rounds"] == 3
