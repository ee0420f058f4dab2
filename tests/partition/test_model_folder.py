"""Model folders: what they hold and how broken ones are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from partition.errors import ModelFolderError, ModelNotFoundError
from partition.model.folder import ModelFolder, choose_split_points
from partition.model.machine import describe_processor


@pytest.fixture
def copy(tiny, tmp_path):
    return shutil.copytree(tiny.path, tmp_path / "tiny-cnn")


def test_a_folder_opens_by_path_and_by_name(tiny):
    by_name = ModelFolder.open("tiny-cnn", root=tiny.path.parent)
    assert by_name == ModelFolder.open(tiny.path)
    assert by_name.input_shape == (1, 3, 64, 64)
    assert by_name.n_classes == 10
    assert by_name.preprocess.size == 64


def test_split_points_shrink_on_the_wire_from_cloud_only_to_edge_only(tiny):
    points = tiny.split_points
    sizes = [point.wire_bytes for point in points]
    assert points[0].is_input
    assert points[-1].is_output
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert sizes[-1] == 0
    assert [point.index for point in points] == list(range(len(points)))


def test_split_points_of_the_real_network_are_its_natural_bottlenecks(lite0):
    elements = [point.float32_bytes // 4 for point in lite0.split_points]
    assert elements == [150528, 75264, 31360, 15680, 9408, 1280, 1000]
    assert lite0.split_points[1].name == "blocks.1.project_conv"
    assert lite0.n_classes == 1000


def test_of_equal_sizes_the_first_cut_is_kept(tiny):
    first, second = replace(tiny.cuts[2], name="first"), replace(tiny.cuts[2], name="second")
    chosen = choose_split_points((tiny.cuts[0], first, second, tiny.cuts[-1]))
    assert [point.name for point in chosen] == ["input", "first", "output"]


def test_the_cut_list_fingerprint_follows_names_and_bytes(tiny):
    assert tiny.cut_list_fingerprint == ModelFolder.open(tiny.path).cut_list_fingerprint
    shorter = replace(tiny, split_points=tiny.split_points[1:])
    assert shorter.cut_list_fingerprint != tiny.cut_list_fingerprint


def test_a_missing_folder_names_the_remedy(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"partition\.prepare --model nothing"):
        ModelFolder.open("nothing", root=tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin", "cuts.json"])
def test_a_half_written_folder_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(ModelFolderError, match=f"half-written, {name} is missing"):
        ModelFolder.open(copy)


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin"])
def test_truncated_or_changed_files_are_found(copy, name):
    data = (copy / name).read_bytes()
    for broken in (data[:-1], bytes([data[0] ^ 1]) + data[1:]):
        (copy / name).write_bytes(broken)
        with pytest.raises(ModelFolderError, match="corrupt"):
            ModelFolder.open(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 99}', "\x00"])
def test_a_garbled_or_foreign_description_is_refused(copy, text):
    (copy / "cuts.json").write_text(text)
    with pytest.raises(ModelFolderError, match=r"cuts\.json"):
        ModelFolder.open(copy)


@pytest.mark.parametrize(
    "key", ["name", "fingerprint", "inputs", "outputs", "dynamic_batch", "preprocess", "cuts"]
)
def test_a_description_without_a_field_is_refused(copy, key):
    data = json.loads((copy / "cuts.json").read_text())
    del data[key]
    (copy / "cuts.json").write_text(json.dumps(data))
    with pytest.raises(ModelFolderError, match=key):
        ModelFolder.open(copy)


def test_preprocessing_that_divides_by_zero_or_nan_is_refused(copy):
    data = json.loads((copy / "cuts.json").read_text())
    for bad in ([0, 1, 1], [-1, 1, 1]):
        data["preprocess"]["std"] = bad
        (copy / "cuts.json").write_text(json.dumps(data))
        with pytest.raises(ModelFolderError, match="std"):
            ModelFolder.open(copy)


@pytest.fixture
def profile(copy):
    """What a folder reads of a profile, and a way to write it."""
    folder = ModelFolder.open(copy)
    values = {"int8": {"value": 0.5, "low": 0.4}, "int4": None}
    return {
        "schema_version": 2,
        "fingerprint": folder.fingerprint,
        "cut_list": folder.cut_list_fingerprint,
        "machine": describe_processor(),
        "threads": 2,
        "measure": "boxes",
        "split_points": [{"fidelity": values} for _ in folder.split_points],
    }


def opened_with(copy, profile):
    (copy / "profile.json").write_text(json.dumps(profile))
    return ModelFolder.open(copy)


def test_fidelity_comes_from_a_profile_of_the_same_model_only(copy, profile):
    assert ModelFolder.open(copy).fidelity is None
    folder = opened_with(copy, profile)
    assert folder.fidelity == (0.5,) * len(folder.split_points)
    assert (folder.measure, folder.threads) == ("boxes", 2)
    elsewhere = describe_processor() | {"processor": "another"}
    assert opened_with(copy, profile | {"machine": elsewhere}).threads is None
    another = opened_with(copy, profile | {"fingerprint": "0" * 16})
    assert another.fidelity is another.measure is None


def test_fidelity_is_unknown_where_a_profile_says_so(copy, profile):
    nothing = [{"fidelity": {"int8": None, "int4": None}} for _ in profile["split_points"]]
    folder = opened_with(copy, profile | {"measure": None, "split_points": nothing})
    assert folder.fidelity is None
    assert folder.threads == 2
    half = [*profile["split_points"][1:], nothing[0]]
    assert opened_with(copy, profile | {"split_points": half}).fidelity is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 1}, "is of schema 1, this version reads 2"),
        ({"split_points": [{}]}, "fidelity"),
        ({"split_points": []}, "holds 0 split points, the network has"),
        ({"split_points": [{"fidelity": {"int8": {"value": 1.5}}}]}, "value"),
        ({"threads": 0}, "threads"),
    ],
)
def test_a_profile_that_cannot_be_read_names_the_command(copy, profile, changes, reason):
    with pytest.raises(ModelFolderError, match=rf"{reason}.*partition\.profile --model {copy}"):
        opened_with(copy, profile | changes)


def test_a_simulator_reads_a_folder_with_numpy_alone(tiny):
    script = (
        "import sys\n"
        "for name in ('onnx', 'onnxruntime', 'grpc', 'torch', 'PIL'): sys.modules[name] = None\n"
        "from partition.model.folder import ModelFolder\n"
        "print(ModelFolder.open(sys.argv[1]).fingerprint)\n"
    )
    command = [sys.executable, "-c", script, str(tiny.path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.strip() == tiny.fingerprint, result.stderr


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "partition.model.runtime",
            ("partition.prepare.shapes", "partition.prepare.graph", "partition.prepare.export"),
        ),
        (
            "partition.model.split_point",
            ("partition.transport.wire", "partition.model.folder", "onnx"),
        ),
    ],
)
def test_a_module_loads_without_what_it_has_no_need_of(module, absent):
    script = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.strip() == "[]", result.stderr
