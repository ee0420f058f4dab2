"""The list of real networks, the damage done to them, and the rows that are kept."""

from __future__ import annotations

import re
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.models import __main__ as command
from benchmarks.models import catalog, derived, result
from benchmarks.models.damage import files, run
from benchmarks.models.network_row import difference
from benchmarks.models.result import Result, Rows


def test_the_list_is_whole_and_names_no_network_twice():
    packages = catalog.packages()
    names = [network.name for package in packages for network in package.network]
    assert len(names) == len(set(names)) >= 60
    for package in packages:
        assert package.licence
        assert bool(package.archive) == bool(package.version) == bool(package.sha256), package.name
        for network in package.network:
            assert re.fullmatch("[0-9a-f]{64}", network.sha256), network.name
            assert network.kind
    assert {source for source, _, _ in derived.MADE.values()} <= set(names)


@pytest.fixture
def sound(tmp_path):
    """A file of a few hundred bytes with a large weight."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
        "g",
        [value("x", TensorProto.FLOAT, [1, 64])],
        [value("y", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor("w", TensorProto.FLOAT, [8, 64], b"\1" * 2048, raw=True)],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "sound.onnx")
    return tmp_path / "sound.onnx"


def test_damage_is_the_same_for_the_same_number_and_mostly_outside_weights(sound):
    data = sound.read_bytes()
    original = files.original(data)
    assert len(data) - len(original.structure) == 2048
    draws = [files.damaged(original, draw) for draw in range(50)]
    assert draws == [files.damaged(original, draw) for draw in range(50)]
    assert sum(draw != data for draw in draws) > 45
    kept = sum(b"\1" * 2048 in draw for draw in draws)
    assert 25 < kept < 45  # cut short, and a flip in the weights now and then


@pytest.mark.parametrize(
    ("ends_with", "told"),
    [
        ("os.kill(os.getpid(), 11)", "draw 3: crash: SIGSEGV"),
        ("time.sleep(9)", "draw 3: hang: longer than 0.5 s"),
        ("raise KeyError('x')", "draw 3: traceback: "),
    ],
)
def test_a_lost_process_a_hang_and_a_traceback_are_told_apart(sound, monkeypatch, ends_with, told):
    """The child is replaced by one that comes to grief at its fourth draw."""
    child = f"""
import json, os, sys, time
def end():
    try:
        {ends_with}
    except KeyError as error:
        return "traceback", repr(error)
for draw in range(int(sys.argv[2]), int(sys.argv[3])):
    print(json.dumps({{"draw": draw}}), flush=True)
    ended, said = end() if draw == 3 else ("refused", "error: no")
    print(json.dumps({{"end": ended, "told": said}}), flush=True)
"""
    popen = run.subprocess.Popen
    monkeypatch.setattr(
        run.subprocess,
        "Popen",
        lambda line, **options: popen([line[0], "-c", child, *line[3:]], **options),
    )
    monkeypatch.setattr(run, "LONGEST_S", 0.5)
    outcome = run.outcome_of(sound, [], 6, 30.0, [])
    assert outcome.draws == 6
    assert outcome.ends["refused"] == 5
    assert len(outcome.failures) == 1
    assert outcome.failures[0].startswith(told)


def test_rows_of_the_same_code_are_kept_and_others_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(result, "ROWS", tmp_path / "rows.jsonl")
    row = Result("packages", "net", "ok", ["1", "2"])
    Rows().add(row)
    assert Rows().get("packages", "net") == row
    monkeypatch.setattr(result, "_version", lambda: "other")
    assert Rows().get("packages", "net") is None


def test_a_row_whose_process_is_lost_says_so(monkeypatch):
    dying = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    start = command.subprocess.run
    monkeypatch.setattr(command.subprocess, "run", lambda line, **options: start(dying, **options))
    row = command.made_row(("packages", "net"))
    assert (row.ended, row.cells) == ("wrong", ["lost by SIGSEGV: "])


def test_difference_is_relative_for_numbers_and_a_share_for_the_rest():
    import numpy as np

    one = np.array([1.0, 2.0, np.nan], np.float32)
    assert difference(one, one) == 0
    assert difference(one, np.array([1.0, 4.0, np.nan], np.float32)) == 0.5
    assert difference(one, np.array([1.0, np.nan, 2.0], np.float32)) > 0.5
    assert difference(np.array([1, 2]), np.array([1, 3])) == 0.5
    assert difference(one, one[:2]) == float("inf")
