"""`python -m partition.placement` as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from partition.model_folder import ModelFolder
from partition.placement import __main__ as command
from partition.placement.cluster import Cluster
from partition.placement.errors import PlacementError
from partition.placement.problem import build_problem
from partition.placement.solve import Wish, solve
from partition.placement.what_if import list_changes

CLUSTERS = Path(__file__).parents[3] / "docs/clusters"


@pytest.fixture
def run(monkeypatch, capsys, tiny):
    def run(*arguments):
        words = ["placement", "--model", str(tiny.path), "--cluster", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        command._main()
        return capsys.readouterr().out

    return run


def test_prints_stages_bottleneck_bound_and_changes(run):
    text = run(CLUSTERS / "three-tiers.toml")
    assert "tiny-cnn on three-tiers" in text
    assert "proved: no placement has less period" in text
    assert "bottleneck: " in text
    assert "twice as fast" in text
    assert "twice the memory everywhere" in text


def test_json_holds_the_plan(run, tiny):
    result = json.loads(run(CLUSTERS / "shelf.toml", "--json"))
    assert result["stages"][0]["start"] == 0
    assert result["stages"][-1]["end"] == len(tiny.cuts) - 1
    assert (result["proved"], result["gap"], result["value"]) == (True, 0.0, result["period_s"])
    assert len(result["changes"]) == 3
    assert result["fingerprint"] == tiny.fingerprint


def test_draws(run, tmp_path):
    run(CLUSTERS / "shelf.toml", "--picture", tmp_path / "placed.png")
    assert (tmp_path / "placed.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(PlacementError, match="cannot be written"):
        run(CLUSTERS / "shelf.toml", "--picture", tmp_path / "no" / "placed.png")


def test_cp_sat_checks_the_plan(run):
    pytest.importorskip("ortools")
    assert "CP-SAT: period" in run(CLUSTERS / "three-tiers.toml", "--check")
    with pytest.raises(PlacementError, match="leave other wishes out"):
        run(CLUSTERS / "three-tiers.toml", "--check", "--objective", "latency")


def test_plans_without_or_tools_and_names_the_extra_for_the_check(run, monkeypatch):
    for name in ("ortools", "ortools.sat", "ortools.sat.python"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "proved" in run(CLUSTERS / "three-tiers.toml")
    with pytest.raises(PlacementError, match=r"pip install 'dvfo\[cluster\]'"):
        run(CLUSTERS / "three-tiers.toml", "--check")


def test_lmos_is_latency_under_a_memory_limit(lite0: ModelFolder, tmp_path):
    path = tmp_path / "slow-device.toml"
    text = (CLUSTERS / "three-tiers.toml").read_text()
    path.write_text(text.replace("flops_per_s = 6e9", "flops_per_s = 1e8"))
    cluster = Cluster.load(path)
    free = solve(build_problem(lite0, cluster), Wish(objective="latency"))
    limit_bytes = max(stage.memory_bytes for stage in free.stages) - 1
    limited = solve(build_problem(lite0, cluster, limit_bytes), Wish(objective="latency"))
    assert limited.latency_s > free.latency_s
    assert all(stage.memory_bytes <= limit_bytes for stage in limited.stages)
    assert limited.proved


def test_changes_are_what_a_new_search_finds(lite0):
    cluster = Cluster.load(CLUSTERS / "shelf.toml")
    problem = build_problem(lite0, cluster)
    plan = solve(problem, Wish())
    changes = list_changes(problem, Wish(), plan)
    assert all(0 <= change.saves < 1 and change.value <= plan.value for change in changes)
    faster = next(change for change in changes if "link from camera" in change.what)
    assert plan.binding.startswith("transfer of the input from camera")
    assert faster.saves > 0.1  # the bottleneck is that link


def test_user_errors_are_one_sentence(user_error, tmp_path, tiny):
    cluster = tmp_path / "bad.toml"
    cluster.write_text("schema_version = 1\n")
    line = user_error("partition.placement", "--model", tiny.path, "--cluster", cluster)
    assert "devices is missing" in line
    arguments = ("--cluster", CLUSTERS / "shelf.toml", "--memory-limit", "9")
    line = user_error("partition.placement", "--model", tiny.path, *arguments)
    assert "more than the largest device" in line
