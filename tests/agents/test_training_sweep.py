from __future__ import annotations

import pytest

from agents.errors import AgentError
from agents.training.sweep import Sweep


@pytest.fixture
def load(tmp_path):
    def read(text: str) -> Sweep:
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return Sweep.load(path, tmp_path / "runs")

    return read


def test_every_list_is_an_axis_of_the_grid(load):
    sweep = load('algo = ["ppo", "dvfo"]\nseed = [0, 1, 2]\ntotal_timesteps = 50')
    assert len(sweep.runs) == 6
    assert len({run.folder for run in sweep.runs}) == 6
    command = sweep.runs[-1].command()
    pairs = dict(zip(command[2::2], command[3::2], strict=True))
    expected = {"--algo": "dvfo", "--seed": "2", "--device": "tx2", "--total-timesteps": "50"}
    assert expected.items() <= pairs.items()


def test_a_run_that_was_cut_is_resumed(load):
    (run,) = load('algo = ["ppo"]').runs
    run.folder.mkdir(parents=True)
    assert "--resume" not in run.command()
    (run.folder / "config.json").write_text("{}")
    assert run.command()[-2:] == ["--resume", str(run.folder)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = [1]", r"sweep\.toml: seeds = a list of 1 is no known key; .* \(algo, device, "),
        ('algo = "ppo"', "algo is 'ppo'; give a list"),
        ("seed = []", "give a list"),
        ("processes = 0", "processes is 0; give a whole number >= 1"),
        ("processes = true", "processes is True; give a whole number"),
        ("seed = [0, -1]", r"seed\[1\] is -1; give a whole number >= 0"),
        ("= 1", "cannot be read"),
    ],
)
def test_what_means_nothing_is_refused(load, text, said):
    with pytest.raises(AgentError, match=said):
        load(text)


def test_only_missing_runs_are_trained(load, monkeypatch, capsys):
    sweep = load('algo = ["ppo"]\nseed = [0, 1]\nprocesses = 1')
    done, missing = sweep.runs
    (done.folder / "policy").mkdir(parents=True)
    (done.folder / "policy" / "policy.json").write_text("{}")
    trained = []
    monkeypatch.setattr("agents.training.sweep._train", lambda run: trained.append(run) or True)
    assert sweep.run()
    assert trained == [missing]
    assert "2 runs, 1 to be done" in capsys.readouterr().out
