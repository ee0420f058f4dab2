from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agents.errors import AgentError
from benchmarks.policies import plan, run
from benchmarks.policies.__main__ import main
from benchmarks.policies.plan import BenchmarkJob, Case
from benchmarks.policies.report import write
from benchmarks.policies.run import MeasuredDecider
from benchmarks.policies.traces import BASES, recorded_scenarios
from tests.runs import constant_policy, write_run

DECIDERS = ("oracle", "best-static", "random")


@pytest.fixture(scope="module")
def jobs(tiny, small_device) -> list[BenchmarkJob]:
    case = Case(
        device=str(small_device),
        model=str(tiny.path),
        deciders=DECIDERS,
        scenarios=("steady-wifi",),
        n_seeds=1,
        n_episodes=2,
    )
    return plan.jobs([case])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def results(jobs, folder) -> list[MeasuredDecider]:
    return run.run_jobs(jobs, folder, None, 2, lambda _: None)


def test_a_network_whose_accuracy_is_to_be_known_has_to_be_trained_first(tiny, monkeypatch, capsys):
    model = str(tiny.path)
    case = Case(device="tx2", model=model, deciders=DECIDERS)
    monkeypatch.setattr(plan, "full_plan", lambda *_: [case])
    monkeypatch.setattr(plan, "WITH_ACCURACY", (model,))
    assert main([]) == 2
    error = capsys.readouterr().err
    assert f"run python -m partition.train_attention --model {model}" in error
    assert "fits to compare" not in error


def test_what_is_done_stays_done(jobs, folder, results, monkeypatch):
    assert len(results) == len(jobs)
    random = jobs[-1]
    (folder / f"{random.name}.json").write_text("{half")  # as a full disk leaves it
    lines: list[str] = []
    again = run.run_jobs(jobs, folder, None, 1, lines.append)
    assert lines[0] == "3 fits to compare, 1 to be done"
    assert [m.episodes for m in again] == [m.episodes for m in results]
    monkeypatch.setattr(run, "code_fingerprint", lambda: "another")
    run.run_jobs([random], folder, None, 1, lines.append)
    assert lines[-2] == "1 fits to compare, 1 to be done"


def test_table_is_the_same_bit_for_bit(jobs, results, tmp_path):
    again = [*results[:-1], run.measure(jobs[-1], None)]
    for name, measured in (("one", results), ("two", again)):
        write(measured, tmp_path / name, "command", shows_goals=True)
    one, two = (tmp_path / name / "benchmark.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_page_shows_its_pictures(results, tmp_path):
    rows = write(results, tmp_path, "command", shows_goals=True)
    cost = {row.decider: row.cost.mean for row in rows}
    assert cost["oracle"] <= cost["best-static"] < cost["random"]
    page = (tmp_path / "benchmark.md").read_text()
    assert "| oracle |" in page
    assert "| unknown |" in page
    for picture in ("benchmark-gap.png", "benchmark-tradeoff.png", "benchmark-scenarios.png"):
        assert (tmp_path / picture).stat().st_size > 5_000
        assert f"]({picture})" in page


def test_recorded_link_is_another_scenario(tmp_path):
    path = tmp_path / "traces.csv"
    lines = [f"{name},up,{second},{second % 3}.5" for name in BASES for second in range(30)]
    path.write_text("\n".join(["trace,direction,second,mbps", *lines]))
    scenarios = recorded_scenarios(path)
    assert [s.name for s in scenarios] == [f"{name}@{base}" for name, base in BASES.items()]
    for scenario in scenarios:
        assert scenario.signals["link_bps"].series[:3] == (0.5e6, 1.5e6, 2.5e6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"trace,direction,second,mbps\nx,up,0,1\n",
        b"a,b\n1,2\n",
        b"\xe4\xff" * 2000,
        b"a" * 200_000,
    ],
)
def test_other_files_are_no_traces(tmp_path, content):
    path = tmp_path / "traces.csv"
    path.write_bytes(content)
    with pytest.raises(AgentError, match="give another file") as refused:
        recorded_scenarios(path)
    assert len(str(refused.value)) < 300 + len(str(path))  # does not print the file


def test_bad_input_is_one_sentence(tmp_path, capsys):
    assert main(["--quick", "--traces", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 2
    assert "give another file" in capsys.readouterr().err


def test_json_is_one_object(jobs, folder, results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "jobs", lambda _cases: jobs)
    monkeypatch.setattr("benchmarks.policies.__main__.FITS", str(folder))
    assert main(["--quick", "--json", "--out", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["decider"] for row in document["rows"]} == set(DECIDERS)
    assert {row["accuracy"] for row in document["rows"]} == {None}  # it was not profiled
    assert document.keys() == {"rows"}


def test_quick_compares_the_learners_people_ask_for_and_what_is_added():
    (case,) = plan.quick_plan(["mine:Method"])
    assert {"advised", "dvfo", "ppo", "sac", "oracle", "mine:Method"} <= set(case.deciders)
    assert plan.full_plan(1, ["mine:Method"])[0].deciders[-1] == "mine:Method"


@pytest.fixture
def small_quick(tiny, small_device, monkeypatch):
    """The quick comparison of two rules on a small world, and what is added."""

    def quick_plan(added):
        case = Case(
            device=str(small_device),
            model=str(tiny.path),
            deciders=("oracle", "best-static", *added),
            scenarios=("steady-wifi",),
            n_seeds=1,
            n_episodes=2,
        )
        return [case]

    monkeypatch.setattr(plan, "quick_plan", quick_plan)


@pytest.mark.usefixtures("small_quick")
def test_everything_lies_where_out_says_and_goals_are_not_printed(tmp_path, monkeypatch, capsys):
    other = tmp_path / "elsewhere"
    monkeypatch.setattr("benchmarks.policies.__main__.JOBS", other)
    out = tmp_path / "mine"
    assert main(["--quick", "--out", str(out), "--processes", "1"]) == 0
    printed = capsys.readouterr()
    assert "2 to be done" in printed.err
    assert len(list((out / "fits").glob("*.json"))) == 2
    assert not other.exists()
    for word in ("missed", "met ", ">="):
        assert word not in printed.out
    assert "hoped for" not in (out / "benchmark.md").read_text()
    assert main(["--quick", "--out", str(out), "--processes", "1"]) == 0
    assert "0 to be done" in capsys.readouterr().err


METHOD = """
import numpy as np
from agents.deciders.base import top_clocks
from agents.deciders.own import OwnDecider

class Mine(OwnDecider):
    def decide(self, observations):
        return top_clocks(self.known.layout, len(observations))
"""


@pytest.mark.usefixtures("small_quick")
def test_a_file_of_ones_own_and_a_run_folder_stand_beside_the_others(
    tiny, small_device, small_world, tmp_path, monkeypatch, capsys
):
    (tmp_path / "its_method.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    run = write_run(
        tmp_path / "frozen", constant_policy(small_world.layout, (0, 0, 0, 0)), small_device, "x"
    )
    out, names = tmp_path / "mine", ["its_method:Mine", str(run)]
    command = ["--quick", "--out", str(out), "--json", "--processes", "1", "--add"]
    assert main([*command, *names]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["decider"] for row in rows} == {"oracle", "best-static", *names}
    (tmp_path / "its_method.py").write_text(METHOD + "# changed\n")
    assert main([*command, *names]) == 0
    assert "4 fits to compare, 1 to be done" in capsys.readouterr().err


@pytest.mark.usefixtures("small_quick")
def test_what_cannot_be_added_is_told_before_any_work(world, tmp_path, capsys):
    run = write_run(tmp_path / "other", constant_policy(world.layout, (0, 0, 0, 0)), "tx2", "x")
    for name, said in ((str(run), "was trained for"), ("nothing", "unknown algorithm 'nothing'")):
        assert main(["--quick", "--out", str(tmp_path / "out"), "--add", name]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "fits to compare" not in error
