"""`python -m partition.placement` as a user runs it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partition.model.folder import ModelFolder
from partition.placement import __main__ as command
from partition.placement import what_if
from partition.placement.cluster import Cluster
from partition.placement.errors import PlacementError
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, solve
from partition.placement.what_if import find_changes

CLUSTERS = Path(__file__).parents[3] / "docs/clusters"


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


def strict(text):
    """One JSON document as others read it, too."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


WISHES = [
    (),
    ("--replicas", "2"),
    ("--max-latency", "1"),
    ("--memory-limit", "26000000"),
    ("--objective", "latency"),
    ("--objective", "latency", "--rate", "5"),
    ("--objective", "latency", "--memory-limit", "26000000"),
]
POWERED = [("--objective", "energy", "--rate", "5")]


@pytest.mark.parametrize(
    ("file", "wish"),
    [("shelf.toml", wish) for wish in WISHES]
    + [("three-tiers.toml", wish) for wish in WISHES + POWERED],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
def test_every_wish_can_be_had_as_json(run, tmp_path, file, wish):
    words = (CLUSTERS / file, *wish, "--picture", tmp_path / "placed.png")
    result = strict(run(*words, "--json"))
    assert result["proved"] is True
    assert result["left_out"] == []
    assert len(result["changes"]) == 3
    assert "proved: no placement has less" in run(*words)


def test_the_plan_is_printed_before_anything_else_is_looked_for(run, monkeypatch, capsys):
    printed = []

    def find_changes(*_):
        printed.append(capsys.readouterr().out)
        yield from ()

    monkeypatch.setattr(command, "find_changes", find_changes)
    run(CLUSTERS / "three-tiers.toml")
    run(CLUSTERS / "three-tiers.toml", "--json")
    assert "proved: no placement has less period" in printed[0]
    assert printed[1] == ""


def test_the_time_limit_is_for_the_plan_and_the_changes_together(run, monkeypatch):
    now_s, asked_s = [0.0], []

    def slow(problem, wish):
        """Takes all the time that it may."""
        asked_s.append(wish.time_limit_s)
        now_s[0] += wish.time_limit_s
        return replace(solve(problem, PlacementObjective()), bound=0.0)

    for module in (command, what_if):
        monkeypatch.setattr(module, "solve", slow)
        monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    text = run(CLUSTERS / "shelf.toml", "--time-limit", "10")
    assert len(asked_s) == 6
    assert sum(asked_s) == pytest.approx(10.0)
    assert asked_s[0] == pytest.approx(8.0)
    assert min(asked_s[1:]) == pytest.approx(0.4)
    assert text.count("nothing better was found in time") == 2
    assert text.count("less or better") == 1
    assert "brings nothing" not in text


def test_a_spare_device_without_links_is_left_out_and_said(run, tmp_path):
    path = tmp_path / "spare.toml"
    spare = '[[devices]]\nname = "spare"\nflops_per_s = 1e9\nmemory_bytes = 1e9\n'
    path.write_text(LINKED + spare)
    text = run(path)
    assert "of 2 devices" in text
    assert "left out: device 'spare' has no link: add a link or a [switch]" in text
    left_out = strict(run(path, "--json"))["left_out"]
    assert left_out == [{"name": "spare", "reason": "has no link"}]


def test_draws(run, tmp_path):
    run(CLUSTERS / "shelf.toml", "--picture", tmp_path / "placed.png")
    assert (tmp_path / "placed.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(PlacementError, match="cannot be written"):
        run(CLUSTERS / "shelf.toml", "--picture", tmp_path / "no" / "placed.png")


def test_lmos_is_latency_under_a_memory_limit(lite0: ModelFolder, tmp_path):
    path = tmp_path / "slow-device.toml"
    text = (CLUSTERS / "three-tiers.toml").read_text()
    path.write_text(text.replace("flops_per_s = 6e9", "flops_per_s = 1e8"))
    cluster = Cluster.load(path)
    free = solve(build_problem(lite0, cluster), PlacementObjective(objective="latency"))
    limit_bytes = max(stage.memory_bytes for stage in free.stages) - 1
    limited = solve(
        build_problem(lite0, cluster, limit_bytes), PlacementObjective(objective="latency")
    )
    assert limited.latency_s > free.latency_s
    assert all(stage.memory_bytes <= limit_bytes for stage in limited.stages)
    assert limited.proved


def test_changes_are_what_a_new_search_finds(lite0):
    cluster = Cluster.load(CLUSTERS / "shelf.toml")
    problem = build_problem(lite0, cluster)
    plan = solve(problem, PlacementObjective())
    changes = list(find_changes(problem, PlacementObjective(), plan, 10.0))
    assert all(0 <= change.saves < 1 and change.value <= plan.value for change in changes)
    faster = next(change for change in changes if "link from camera" in change.what)
    assert plan.binding.startswith("transfer of the input from camera")
    assert faster.saves > 0.1  # the bottleneck is that link


def test_twice_the_memory_is_not_said_to_help_where_the_memory_limit_binds(lite0):
    cluster = Cluster.load(CLUSTERS / "shelf.toml")
    problem = build_problem(lite0, cluster, memory_limit_bytes=15_000_000)
    changes = list(
        find_changes(problem, PlacementObjective(), solve(problem, PlacementObjective()), 10.0)
    )
    assert changes[-1].what == "twice the memory everywhere and twice --memory-limit"
    free = build_problem(lite0, cluster)
    changes = list(
        find_changes(free, PlacementObjective(), solve(free, PlacementObjective()), 10.0)
    )
    assert changes[-1].what == "twice the memory everywhere"


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
        (LINKED + "colour = 1\n", "links[0].colour = 1 is no known key"),
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

    largest = re.search(r"blocks? '.+' .*needs? (\d+) bytes, \d+ more than the largest", refused(9))
    assert "bytes on all devices together" in refused(largest[1])
    line = user_error(
        *("partition.placement", "--model", lite0.path),
        *("--cluster", CLUSTERS / "shelf.toml", "--memory-limit", "9"),
    )
    assert "more than the largest device" in line
    assert line.endswith("raise --memory-limit")


def test_the_shelf_takes_deeper_queues(lite0, tmp_path):
    """A block alone needs more than the largest board has then; no stage of a plan does."""
    path = tmp_path / "shelf.toml"
    path.write_text("queue_depth = 3\n" + (CLUSTERS / "shelf.toml").read_text())
    problem = build_problem(lite0, Cluster.load(path))
    assert np.diagonal(problem.stage_bytes, offset=1).max() > problem.capacity_bytes.max()
    plan = solve(problem, PlacementObjective())
    assert plan.proved
    assert plan.period_s == pytest.approx(0.01205, rel=1e-3)


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
