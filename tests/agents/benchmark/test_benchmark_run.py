from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.errors import AgentError
from agents.evaluation.rows import ALL
from agents.training import all_deciders
from benchmarks.policies import plan, run
from benchmarks.policies.__main__ import main
from benchmarks.policies.compared import REFITTED
from benchmarks.policies.plan import BenchmarkJob, Case
from benchmarks.policies.report import write
from benchmarks.policies.run import MeasuredDecider
from benchmarks.policies.traces import FITTED_TO, HELD_OUT, LINKS, group, recorded_scenarios
from tests.runs import constant_policy, write_run
from tests.test_readme import README_NAMES

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
    return run.run_jobs(jobs, folder, (), 2, lambda _: None)


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
    again = run.run_jobs(jobs, folder, (), 1, lines.append)
    assert lines[0] == "3 fits to compare, 1 to be done"
    assert [m.episodes for m in again] == [m.episodes for m in results]
    monkeypatch.setattr(run, "version", lambda *_: "another")
    run.run_jobs([random], folder, (), 1, lines.append)
    assert lines[-2] == "1 fits to compare, 1 to be done"


def test_table_is_the_same_bit_for_bit(jobs, results, tmp_path):
    again = [*results[:-1], run.measure(jobs[-1])]
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


def recordings(folder: Path, n_seconds: int = 30) -> dict[str, list[str]]:
    """Files like those that are read in place, of rates that tell one recording from another."""
    files: dict[str, list[str]] = {}
    for number, link in enumerate(LINKS):
        for series in filter(None, (link.rate, link.rtt)):
            names = [name for name, _ in series.where]
            lines = files.setdefault(series.file, [",".join([*names, series.column])])
            values = [value for _, value in series.where]
            lines += [",".join([*values, f"{number}.{t % 3}"]) for t in range(n_seconds)]
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines))
    return files


def test_recorded_links_are_other_scenarios(tmp_path):
    recordings(tmp_path)
    scenarios = recorded_scenarios(tmp_path)
    assert [s.name for s in scenarios] == [f"{link.name}@{link.base}" for link in LINKS]
    for number, (link, scenario) in enumerate(zip(LINKS, scenarios, strict=True)):
        rates = np.array([number, number + 0.1, number + 0.2]) * 1e6
        np.testing.assert_allclose(scenario.signals["link_bps"].series[:3], rates)
        if link.rtt:
            np.testing.assert_allclose(scenario.signals["rtt_s"].series[:3], rates * 1e-9)


def test_no_recording_that_a_scenario_was_fitted_to_is_called_held_out():
    """The uplinks of four cellular drives; see the comments in the scenarios' files."""
    fitted = {"ATT-LTE-driving-2016", "TMobile-LTE-short", "Verizon-LTE-short"}
    fitted |= {"TMobile-UMTS-driving"}
    groups = {f"{link.name}@{link.base}": link for link in LINKS}
    for name, link in groups.items():
        is_fitted = dict(link.rate.where).get("trace") in fitted and (
            dict(link.rate.where)["direction"] == "up"
        )
        assert group(name) == (FITTED_TO if is_fitted else HELD_OUT)
    assert sum(link.name.startswith("starlink") for link in LINKS) == 3
    assert group("steady-wifi") == ALL


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "lacks the recording"),
        (b"trace,direction,mbps\nx,up,1\n", "lacks the recording"),
        (b"a,b\n1,2\n", "is no table of recorded links"),
        (b"\xe4\xff" * 2000, "cannot be read"),
        (b"a" * 200_000, "cannot be read"),
    ],
)
def test_other_files_are_no_recordings(tmp_path, content, said):
    recordings(tmp_path)
    (tmp_path / "mahimahi_cellular_1s.csv").write_bytes(content)
    with pytest.raises(AgentError, match="give another folder") as refused:
        recorded_scenarios(tmp_path)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300 + len(str(tmp_path))  # does not print the file


def test_a_folder_without_recordings_is_one_sentence(tmp_path, capsys):
    assert main(["--quick", "--traces", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "there is no" in error
    assert "leave --traces out" in error
    assert "fits to compare" not in error


@pytest.mark.usefixtures("results")
def test_what_was_judged_without_recordings_is_judged_again_with_them(jobs, folder, tmp_path):
    recordings(tmp_path)
    lines: list[str] = []
    first, *others = recorded_scenarios(tmp_path)  # those of scenarios that are not compared
    recorded = (replace(first, name="starlink-4@steady-wifi"), *others)
    random = jobs[-1]
    fits = shutil.copytree(folder, tmp_path / "fits")
    (found,) = run.run_jobs([random], fits, recorded, 1, lines.append)
    assert lines[0] == "1 fits to compare, 1 to be done"
    names = ["steady-wifi", "starlink-4@steady-wifi"]
    assert list(found.episodes) == list(found.latencies) == names


def test_what_owes_to_chance_is_fitted_again_for_each_seed():
    deciders = ("oracle", "advised", "model-search", "best-static", "bayes", "governor")
    case = Case(device="tx2", model="x", deciders=deciders, n_seeds=3)
    seeds = {name: [] for name in deciders}
    for job in plan.jobs([case]):
        seeds[job.decider].append((job.fit_seed, job.episode_seeds))
    apart = [(0, (0,)), (1, (1,)), (2, (2,))]
    for name in ("advised", "model-search", "best-static", "bayes"):
        assert seeds[name] == apart
    for name in ("oracle", "governor"):
        assert seeds[name] == [(0, (0, 1, 2))]


def test_a_server_that_nobody_is_told_of_is_judged_apart(jobs):
    told, fixed = (
        run.measure(replace(jobs[1], decider=name, server_factors=(1.0, 1e-3), n_episodes=1))
        for name in (REFITTED, "best-static")
    )
    assert list(told.episodes) == ["steady-wifi", "0.001@steady-wifi"]
    slow = [m.episodes["0.001@steady-wifi"]["cost"][0][0] for m in (told, fixed)]
    usual = [m.episodes["steady-wifi"]["cost"] for m in (told, fixed)]
    assert slow[0] < slow[1]
    assert usual[0] == usual[1]


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


def test_short_compares_everywhere_whom_the_readme_names():
    (case,) = plan.short_plan(3, ["mine:Method"])
    assert case.scenarios == ("all",)
    assert case.n_seeds == 3
    assert {*README_NAMES.values(), "mine:Method"} <= set(case.deciders)
    assert set(plan.SHORT) <= set(all_deciders.DECIDERS.names())


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
