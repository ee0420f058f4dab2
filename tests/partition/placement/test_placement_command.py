"""`python -m partition.placement` as a user runs it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
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
    with pytest.raises(PlacementError, match=r"'\.\[cluster\]'"):
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


DEVICES = """
schema_version = 1
[[devices]]
name = "pi"
flops_per_s = 5e9
memory_bytes = 1e9
[[devices]]
name = "nano"
flops_per_s = 4e10
memory_bytes = 4e9
"""
LINK = '[[links]]\nfrom = "pi"\nto = "nano"\nrate_bps = 1e6\n'
LINKED = DEVICES + LINK


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("schema_version = 1\n", "devices is missing"),
        (LINKED + "colour = 1\n", "links[0].colour = 1 is no known field"),
        (LINKED.replace("rate_bps = 1e6", "rate_bps = 0"), "links[0].rate_bps is 0"),
        (DEVICES, "device 'nano' cannot be reached from 'pi'"),
    ],
    ids=["no devices", "unknown field", "zero rate", "unreachable"],
)
def test_a_bad_cluster_file_is_one_sentence_that_names_it(
    user_error, tmp_path, tiny, text, sentence
):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    line = user_error("partition.placement", "--model", tiny.path, "--cluster", path)
    assert sentence in line


def test_what_does_not_fit_is_one_sentence_with_the_block_and_the_missing_bytes(
    user_error, tmp_path, lite0
):
    path = tmp_path / "small.toml"

    def refused(nano_bytes):
        path.write_text(LINKED.replace("4e9", str(nano_bytes)).replace("1e9", "9"))
        return user_error("partition.placement", "--model", lite0.path, "--cluster", path)

    assert re.search(r"block '.+' needs \d+ bytes, \d+ more than the largest device", refused(9))
    problem = build_problem(lite0, Cluster.load(path))
    enough_for_one = int(np.diagonal(problem.stage_bytes, offset=1).max())
    assert "bytes on all devices together" in refused(enough_for_one)
    line = user_error(
        *("partition.placement", "--model", lite0.path),
        *("--cluster", CLUSTERS / "shelf.toml", "--memory-limit", "9"),
    )
    assert "more than the largest device" in line


def test_the_readme_shows_the_commands_and_its_picture_exists():
    root = CLUSTERS.parents[1]
    text = (root / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("    .venv/bin/python -m")]
    used = [line for line in lines if "partition.placement" in line]
    assert len(used) == 3
    picture = re.search(r"--picture (\S+)", text)[1]
    assert f"]({picture})" in text
    assert (root / picture).read_bytes().startswith(b"\x89PNG")
    cluster, model = (re.search(rf"--{option} ([^\s\"]+)", text) for option in ("cluster", "model"))
    assert (root / cluster[1]).is_file()
    assert model[1]
