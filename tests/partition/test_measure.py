"""Profile and floors: what they measure and write."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from partition import floors
from partition.model_folder import ModelFolder
from partition.profile import profile


@pytest.fixture
def copy(tiny, tmp_path):
    return ModelFolder.open(shutil.copytree(tiny.path, tmp_path / "tiny-cnn"))


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(7):
        noise = np.random.default_rng(i).integers(0, 256, (90, 90, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    return folder


def test_a_profile_covers_every_split_point_and_block(copy, photographs):
    result = profile(copy, photographs, repeats=3)
    assert result["crops"] >= 100
    assert [p["name"] for p in result["split_points"]] == [p.name for p in copy.split_points]
    assert len(result["blocks"]) == len(copy.cuts) - 1
    assert sum(b["flops"] for b in result["blocks"]) == copy.cuts[-1].head_flops
    assert all(b["latency_s"] > 0 for b in result["blocks"])
    for point in result["split_points"]:
        assert 0 <= point["agreement"] <= 1
        assert point["split_ratio"] > 0
        assert point["encode_s"] > 0
    assert result["split_points"][-1]["agreement"] == 1
    assert 0 < result["split_points"][1]["codec_error"] < 0.05


def test_the_command_writes_the_profile_that_the_folder_then_knows(copy, photographs, run_module):
    command = ("partition.profile", "--model", copy.path, "--repeats", 2, "--source", photographs)
    result = run_module(*command)
    assert result.returncode == 0, result.stderr
    assert "split point" in result.stdout
    data = json.loads((copy.path / "profile.json").read_text())
    assert data["command"].startswith("python -m partition.profile --model")
    assert data["machine"]["onnxruntime"]
    fidelity = ModelFolder.open(copy.path).fidelity
    assert fidelity == tuple(point["agreement"] for point in data["split_points"])


def test_user_errors_end_in_one_sentence(copy, photographs, user_error, tmp_path):
    command = ("partition.profile", "--model", copy.path, "--repeats", 1, "--source")
    assert "not a folder" in user_error(*command, tmp_path / "gone")
    out = ("--out", tmp_path / "gone" / "profile.json")
    assert "cannot be written" in user_error(*command, photographs, *out)
    (photographs / "3.png").write_bytes((photographs / "3.png").read_bytes()[:500])
    assert "3.png" in user_error(*command, photographs)
    (copy.path / "weights.bin").write_bytes(b"")
    assert "corrupt" in user_error(*command, photographs)


def test_a_number_of_repeats_below_one_is_refused(run_module):
    for number in ("0", "many"):
        result = run_module("partition.profile", "--model", "any", "--repeats", number)
        assert result.returncode == 2
        assert f"{number!r} is not a whole number from 1" in result.stderr


def test_the_floors_are_measured(tiny, monkeypatch):
    monkeypatch.setattr(floors, "_ROUNDS", 10)
    result = floors.measure_floors(tiny)
    assert result["client_ratio"] == pytest.approx(result["client_s"] / result["bare_s"])
    assert 0 < result["client_s"] < result["client_decoded_s"]
    assert result["codec_s"] > 0
    assert list(result["split_ratio"]) == [p.name for p in tiny.split_points[1:-1]]
