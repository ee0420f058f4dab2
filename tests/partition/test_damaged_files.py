"""Damaged ONNX files: a sentence each, and no process lost."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest

from partition.errors import ModelExportError
from partition.prepare import bounded, trial
from partition.prepare.build import prepare
from tests.partition import onnx_graphs
from tests.partition.onnx_graphs import FLOAT, node, save, tensor, weight


def refusal(path, out):
    with pytest.raises(ModelExportError) as error:
        prepare(str(path), out)
    assert not out.exists()
    return str(error.value)


def test_a_loop_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "LIMIT_S", 0.2)
    path = onnx_graphs.loop(tmp_path / "net.onnx", 2**60)
    assert "does not end within" in refusal(path, tmp_path / "out")


def test_a_damaged_file_ends_in_a_sentence(tmp_path):
    """A few draws of what `make models-test` does to every real file."""
    good = onnx_graphs.quantised(tmp_path / "net.onnx").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "bad.onnx"
    for _ in range(40):
        bad = bytearray(good)
        bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad[: int(rng.integers(len(bad)))] if rng.random() < 0.3 else bad)
        reason = _refused(path, tmp_path / "out")
        assert reason is None or "'bad'" in reason or "bad.onnx" in reason


def _refused(path, out):
    try:
        prepare(str(path), out)
    except ModelExportError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("crash", "how"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise MemoryError", "MemoryError"),
        ("print('loads'); raise RuntimeError('bad_alloc')", "RuntimeError: bad_alloc"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_a_graph_that_ends_the_process_that_loads_it_ends_in_a_sentence(
    tmp_path, monkeypatch, crash, how
):
    monkeypatch.setattr(trial, "_TRIAL", ("-c", crash))
    graph = [node("NoSuchOperator", ["x"], ["y"])]
    path = save(
        tmp_path / "wrong.onnx", graph, [tensor("x", FLOAT, [1, 4])], [tensor("y", FLOAT, [1, 4])]
    )
    assert f"ends the process that loads it ({how})" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize("within", ["weights", "a node"])
def test_a_negative_size_ends_in_a_sentence(tmp_path, within):
    """In a process of its own, since onnx's inference of such a slice aborts it."""
    wrong = weight("w", 8)
    wrong.dims[0] = -(2**63)
    held = [wrong] if within == "weights" else []
    nodes = [] if held else [node("Constant", [], ["w"], value=wrong)]
    bounds = [onnx_graphs.constant(name, [at]) for name, at in (("from", 0), ("to", 4))]
    nodes += [node("Slice", ["w", "from", "to"], ["part"]), node("Add", ["x", "part"], ["y"])]
    values = [tensor(name, FLOAT, [1, 4]) for name in ("x", "y")]
    path = save(tmp_path / "bad.onnx", nodes, values[:1], values[1:], [*held, *bounds])
    assert onnx.load(path).graph.output[0].name == "y"
    command = [sys.executable, "-m", "partition.prepare", "--model", str(path)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "weight 'w' of shape [-9223372036854775808]" in done.stderr
    assert "Traceback" not in done.stderr
