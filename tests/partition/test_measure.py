"""Profile and floors: what they measure and write."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks import split_overhead
from partition.data.real_inputs import real_inputs
from partition.errors import SampleError
from partition.model.folder import ModelFolder
from partition.prepare.build import prepare
from partition.prepare.zoo import Source
from partition.profile import table
from partition.profile.measure import count_blocks, describe_input, fastest_threads, profile
from partition.profile.measures import MeasureError
from tests.partition.architectures import ARCHITECTURES

CODECS = ("int8", "int4")


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
    assert result["samples"] >= 100
    assert result["runs_on"] == "cpu"
    assert [p["name"] for p in result["split_points"]] == [p.name for p in copy.split_points]
    assert len(result["blocks"]) == len(copy.cuts) - 1
    assert sum(b["flops"] for b in result["blocks"]) == copy.cuts[-1].head.flops
    assert all(b["latency_s"] > 0 for b in result["blocks"])
    for point in result["split_points"]:
        assert all(0 <= value["value"] <= 1 for value in point["fidelity"].values())
        assert point["split_ratio"] > 0
        assert point["encode_s"] > 0
    whole = result["split_points"][-1]["fidelity"]
    assert whole["int8"]["value"] == whole["int4"]["value"] == 1
    assert 0 < result["split_points"][1]["codec_error"] < 0.05


def test_the_command_writes_the_profile_that_the_folder_then_knows(copy, photographs, run_module):
    command = ("partition.profile", "--model", copy.path, "--repeats", 2, "--source", photographs)
    result = run_module(*command, "--plot", copy.path / "depth.png")
    assert result.returncode == 0, result.stderr
    assert "split point" in result.stdout
    assert "** compressive" in result.stdout
    with Image.open(copy.path / "depth.png") as picture:
        assert picture.width > 1000
    data = json.loads((copy.path / "profile.json").read_text())
    assert data["command"].startswith("python -m partition.profile --model")
    assert data["machine"]["onnxruntime"]
    fidelity = ModelFolder.open(copy.path).fidelity
    assert fidelity == tuple(p["fidelity"]["int8"]["value"] for p in data["split_points"])


def test_a_profile_of_another_schema_is_replaced(copy, photographs, run_module):
    (copy.path / "profile.json").write_text('{"schema_version": 1}')
    command = ("partition.profile", "--model", copy.path, "--repeats", 1, "--threads", 1)
    result = run_module(*command, "--source", photographs)
    assert result.returncode == 0, result.stderr
    assert ModelFolder.open(copy.path).fidelity


def test_bottlenecks_of_the_real_network_are_those_published(lite0):
    """Blocks 2, 4, 6 and 12 counted from 1, as of EfficientNet-B0 (arXiv 2205.11269)."""
    blocks = count_blocks(lite0)
    compressive = {b["name"]: b["compression"] for b in blocks if b["compressive"]}
    assert {name: round(c, 4) for name, c in compressive.items() if "blocks" in name} == {
        "blocks.1.project_conv": 0.5,
        "blocks.3.project_conv": 0.2083,
        "blocks.5.project_conv": 0.1042,
        "blocks.11.project_conv": 0.0625,
    }
    ends = {}
    for block in blocks:
        if block["name"].startswith("blocks."):
            ends[block["name"].split(".")[1]] = block["natural"]
    assert len(ends) == 16
    assert sum(ends.values()) == 15


def test_the_input_counts_as_it_would_be_sent(copy, photographs):
    sent = describe_input(copy, real_inputs(copy, photographs, None, 7), photographs)
    assert sent["raw_bytes"] == 3 * 64 * 64
    assert 1000 < sent["jpeg_bytes"] < sent["raw_bytes"]
    (block,) = count_blocks(copy)[-1:]
    assert block["cut_bytes"] == 40
    assert block["peak_bytes"] > block["cut_bytes"]


@pytest.fixture(scope="module")
def siamese(tmp_path_factory):
    source = Source("siamese", ARCHITECTURES["siamese"])
    return prepare(source, tmp_path_factory.mktemp("models") / "siamese")


def test_without_real_inputs_the_fidelity_is_unknown(siamese):
    result = profile(siamese, repeats=1, threads=1)
    assert result["measure"] is None
    assert all(p["fidelity"] == {"int8": None, "int4": None} for p in result["split_points"])
    assert result["split_points"][1]["codec_error"] > 0
    assert result["input"] == {"raw_bytes": 2 * 4 * 3 * 64 * 64, "jpeg_bytes": None}
    text = table.text(result)
    assert " x2" in text
    assert "fidelity unknown, no real inputs: give --source" in text
    assert text.count("unknown") == 1 + 2 * len(result["split_points"])
    with pytest.raises(MeasureError, match="'relative' needs real inputs: give --source"):
        profile(siamese, repeats=1, threads=1, measure="relative")


def test_arrays_are_real_inputs(siamese, tmp_path):
    rng = np.random.default_rng(0)
    rows = {spec.name: rng.normal(size=(5, *spec.shape[1:])) for spec in siamese.inputs}
    np.savez(tmp_path / "x.npz", **rows)
    result = profile(siamese, tmp_path / "x.npz", repeats=1, threads=1, measure="relative")
    assert (result["measure"], result["samples"]) == ("relative", 5)
    int8, int4 = ([p["fidelity"][c]["value"] for p in result["split_points"]] for c in CODECS)
    assert int8[-1] == int4[-1] == 1.0
    assert all(0 < coarse < fine < 1 for fine, coarse in zip(int8[:-1], int4[:-1], strict=True))
    assert "5 inputs from" in table.text(result)


def test_pictures_for_a_network_that_takes_none_are_refused(siamese, photographs):
    with pytest.raises(SampleError, match=r"takes no single picture.*\.npz"):
        profile(siamese, photographs, repeats=1, threads=1)


def test_the_number_of_threads_is_measured(copy, monkeypatch):
    class Runtime:
        def __init__(self, folder, threads, execution):
            self.threads = threads

        def whole(self, inputs):
            time_s[0] += {1: 1.0, 2: 0.5, 4: 0.49}[self.threads]

    time_s = [0.0]
    monkeypatch.setattr("partition.profile.measure.os.cpu_count", lambda: 4)
    monkeypatch.setattr("partition.profile.measure.SplitRuntime", Runtime)
    monkeypatch.setattr("partition.profile.measure.time.perf_counter", lambda: time_s[0])
    assert fastest_threads(copy) == 2


def test_user_errors_end_in_one_sentence(copy, photographs, user_error, tmp_path):
    command = ("partition.profile", "--model", copy.path, "--repeats", 1, "--source")
    assert "does not exist" in user_error(*command, tmp_path / "gone")
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
    monkeypatch.setattr(split_overhead, "_ROUNDS", 10)
    result = split_overhead.measure_floors(tiny)
    assert result["client_ratio"] == pytest.approx(result["client_s"] / result["bare_s"])
    assert 0 < result["client_s"] < result["client_decoded_s"]
    assert result["codec_s"] > 0
    assert list(result["split_ratio"]) == [p.name for p in tiny.split_points[1:-1]]
