"""Model folders that an attacker made, or that time damaged: refused in one sentence, or the same.

What an attacker makes carries a fingerprint that fits, so that the hash does not find it.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from partition import array_file
from partition.errors import ModelFolderError, PartitionError
from partition.model import network_files
from partition.model.example_file import EXAMPLE_FILE
from partition.model.folder import CUTS_FILE, ModelFolder
from partition.model.graph_file import read_graph
from partition.model.machine import describe_processor
from partition.model.network_files import GRAPH_FILE, WEIGHTS_FILE
from partition.model.profile_file import PROFILE_FILE, TOP1
from partition.model.runtime import SplitRuntime, random_inputs
from partition.server.model_store import ModelStore
from tests.hostile import damaged, sealed

DRAWS = 200


@pytest.fixture
def copy(tiny, tmp_path):
    return Path(shutil.copytree(tiny.path, tmp_path / "model"))


@pytest.fixture
def document(copy):
    return json.loads((copy / CUTS_FILE).read_text())


def graph_with(copy, change):
    """The folder's graph after a change, with a fingerprint that fits."""
    model = onnx.load(copy / GRAPH_FILE, load_external_data=False)
    change(model)
    (copy / GRAPH_FILE).write_bytes(model.SerializeToString())
    return sealed(copy, json.loads((copy / CUTS_FILE).read_text()))


def external(model):
    return next(
        tensor
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    )


def place(tensor, location):
    (entry,) = (entry for entry in tensor.external_data if entry.key == "location")
    entry.value = location


CHANGES = {
    "flops": lambda d: d["cuts"][1]["head"].update(flops=1),
    "peak": lambda d: d["cuts"][1].update(peak_bytes=1),
    "batch": lambda d: d.update(dynamic_batch=False),
    "name of a cut": lambda d: d["cuts"][1].update(name="elsewhere"),
    "shape": lambda d: d["cuts"][1].update(shapes=[[1, 1, 1, 1]]),
    "type": lambda d: d["cuts"][1].update(dtypes=["float16"]),
    "one cut less": lambda d: d["cuts"].pop(2),
    "preprocessing": lambda d: d["preprocess"].update(crop_fraction=0.5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_folders_that_behave_differently_have_different_fingerprints(copy, document, change):
    before = document["fingerprint"]
    change(document)
    (copy / CUTS_FILE).write_text(json.dumps(document))
    with pytest.raises(ModelFolderError, match=f"hash to (.*), not {before}.*prepare again"):
        ModelFolder.open(copy)
    assert ModelFolder.open(sealed(copy, document)).fingerprint != before


def test_a_folder_by_another_name_is_the_same_network(copy, document):
    document["name"] = "another"
    assert ModelFolder.open(sealed(copy, document)).fingerprint == document["fingerprint"]


def test_no_byte_can_move_from_the_graph_to_the_weights(copy, document):
    graph, weights = (copy / GRAPH_FILE).read_bytes(), (copy / WEIGHTS_FILE).read_bytes()
    (copy / GRAPH_FILE).write_bytes(graph[:-1])
    (copy / WEIGHTS_FILE).write_bytes(graph[-1:] + weights)
    assert network_files.fingerprint_of(copy, document)[0] != document["fingerprint"]


DESCRIPTIONS = {
    "negative cost": (lambda d: d["cuts"][1]["head"].update(flops=-1), "flops is -1"),
    "more work than all": (lambda d: d["cuts"][1]["head"].update(flops=2**60), "less than"),
    "negative size": (lambda d: d["cuts"][1].update(shapes=[[1, -1, 2, 2]]), "negative size"),
    "size of 0": (lambda d: d["cuts"][1].update(shapes=[[1, 0, 2, 2]]), "no tensor has"),
    "huge shape": (lambda d: d["cuts"][1].update(shapes=[[2**30, 2**30]]), "no tensor has"),
    "huge size": (lambda d: d["cuts"][1].update(shapes=[[2**62]]), "smaller|<="),
    "7 dimensions": (lambda d: d["cuts"][1].update(shapes=[[1] * 7]), "length <= 6"),
    "unknown type": (lambda d: d["cuts"][1].update(dtypes=["complex64"]), "complex64"),
    "type of pickles": (lambda d: d["cuts"][1].update(dtypes=["object"]), "object"),
    "9 tensors": (
        lambda d: d["cuts"][1].update(
            tensors=list("abcdefghi"), shapes=[[1]] * 9, dtypes=["float32"] * 9
        ),
        "length <= 8",
    ),
    "no tensor": (lambda d: d["cuts"][1].update(tensors=[], shapes=[], dtypes=[]), "length >= 1"),
    "a tensor twice": (
        lambda d: d["cuts"][1].update(tensors=["a", "a"], shapes=[[1]] * 2, dtypes=["float32"] * 2),
        "twice",
    ),
    "a shape too many": (lambda d: d["cuts"][1]["shapes"].append([1]), "number 1, 2 and 1"),
    "a name twice": (lambda d: d["cuts"][1].update(name="input"), "name twice"),
    "parent as name": (lambda d: d["cuts"][1].update(name=".."), "no folder can have"),
    "blank name": (lambda d: d["cuts"][1].update(name=" "), "not blank"),
    "other inputs": (lambda d: d["inputs"][0].update(name="y"), "inputs is not"),
    "other outputs": (lambda d: d["outputs"][0].update(dtype="int64"), "outputs is not"),
    "one cut": (lambda d: d.update(cuts=d["cuts"][:1]), "length >= 2"),
    "text as a truth": (lambda d: d.update(dynamic_batch="yes"), "true or false"),
    "fraction as a count": (lambda d: d["cuts"][1].update(peak_bytes=1.5), "whole number"),
    "unknown key": (lambda d: d.update(run="rm"), "no known key"),
    "missing key": (lambda d: d["cuts"][1].pop("tensors"), "tensors is missing"),
    "crop beyond": (lambda d: d["preprocess"].update(crop_fraction=2.0), "crop_fraction 2.0"),
}


@pytest.mark.parametrize(("change", "told"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_that_no_network_has_is_refused(copy, document, change, told):
    change(document)
    with pytest.raises(ModelFolderError, match=told) as refused:
        ModelFolder.open(sealed(copy, document))
    assert str(copy) in str(refused.value)
    assert "prepare again" in str(refused.value)


def test_a_description_that_is_no_utf_8_or_never_ends_is_refused(copy):
    for text in (b'{"name": "\xff"}', b" " * (2**26 + 1)):
        (copy / CUTS_FILE).write_bytes(text)
        with pytest.raises(ModelFolderError, match=r"UTF-8|longer"):
            ModelFolder.open(copy)


def test_a_tensor_that_the_graph_lacks_is_named(copy, document):
    document["cuts"][1]["tensors"] = ["nope"]
    folder = ModelFolder.open(sealed(copy, document))
    with pytest.raises(ModelFolderError, match=r"'nope' of cut 'stem\.0'"):
        SplitRuntime(folder)
    with pytest.raises(ModelFolderError, match="nope"):
        ModelStore([folder], budget_bytes=10**9)


@pytest.mark.parametrize(
    "location",
    ["second.bin", "/etc/hostname", "../weights.bin", "sub/weights.bin", "*/_ORT_MEM_ADDR_/*", ""],
)
def test_weights_come_from_the_one_file_only(copy, location):
    (copy / "second.bin").write_bytes((copy / WEIGHTS_FILE).read_bytes())
    folder = ModelFolder.open(graph_with(copy, lambda model: place(external(model), location)))
    with pytest.raises(ModelFolderError, match=r"takes weight .* from file"):
        SplitRuntime(folder)


def test_weights_inside_nodes_and_their_graphs_count_too(copy, tiny):
    def hide(model):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(external(model))
        place(tensor, "second.bin")
        inner = onnx.helper.make_graph(
            [onnx.helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], []
        )
        node = model.graph.node[0]
        node.attribute.append(onnx.helper.make_attribute("body", inner))

    folder = ModelFolder.open(graph_with(copy, hide))
    with pytest.raises(ModelFolderError, match=r"second\.bin"):
        SplitRuntime(folder)
    # Beside a graph of attention there is no such file at all.
    with pytest.raises(ModelFolderError, match=r"from file 'weights\.bin'"):
        read_graph(tiny.path / GRAPH_FILE)


def test_a_compiled_engine_is_not_run(copy):
    def change(model):
        model.graph.node[0].op_type = "EPContext"
        model.graph.node[0].domain = "com.microsoft"

    folder = ModelFolder.open(graph_with(copy, change))
    with pytest.raises(ModelFolderError, match="compiled engine in node"):
        SplitRuntime(folder)


def test_an_operator_of_a_foreign_library_does_not_load(copy):
    def change(model):
        model.graph.node[0].domain = "evil.example"
        model.opset_import.append(onnx.helper.make_opsetid("evil.example", 1))

    folder = ModelFolder.open(graph_with(copy, change))
    with pytest.raises(ModelFolderError, match="does not load"):
        SplitRuntime(folder).whole(random_inputs(folder))


def _pipe(path):
    os.mkfifo(path)


def _link_out(path):
    (path.parents[1] / "outside").write_bytes(b"x")
    path.symlink_to(path.parents[1] / "outside")


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE, CUTS_FILE])
@pytest.mark.parametrize(
    "put", [_pipe, Path.mkdir, _link_out, lambda path: path.symlink_to("/dev/zero")]
)
def test_what_is_no_file_of_the_folder_is_refused_at_once(copy, name, put):
    (copy / name).unlink()
    put(copy / name)
    with pytest.raises(ModelFolderError, match=r"no regular file|link out|cannot be read"):
        ModelFolder.open(copy)


def test_a_link_within_the_folder_is_followed(copy):
    (copy / WEIGHTS_FILE).rename(copy / "elsewhere.bin")
    (copy / WEIGHTS_FILE).symlink_to("elsewhere.bin")
    ModelFolder.open(copy)


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE])
def test_what_was_prepared_anew_meanwhile_is_not_served_as_the_old(copy, name):
    folder = ModelFolder.open(copy)
    runtime = SplitRuntime(folder)
    runtime.whole(random_inputs(folder))
    data = (copy / name).read_bytes()
    (copy / name).unlink()
    (copy / name).write_bytes(data[:-1] + b"\0")
    with pytest.raises(ModelFolderError, match="has changed since it was opened"):
        runtime.head(folder.split_points[1], random_inputs(folder))
    with pytest.raises(ModelFolderError, match=r"has changed|does not load"):
        SplitRuntime(folder)


def _zipped(content, **flags):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", content)
    data = bytearray(packed.getvalue())
    for header, shift in ((data.index(b"PK\x03\x04"), 0), (data.index(b"PK\x01\x02"), 2)):
        for name, value in flags.items():
            at = header + shift + {"encrypted": 6, "method": 8}[name]
            data[at : at + 2] = value.to_bytes(2, "little")
    return bytes(data)


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


SAMPLES = _npy(np.zeros((2, 1, 3, 64, 64), np.float32))
EXAMPLES = {
    "encrypted": _zipped(SAMPLES, encrypted=1),
    "packed in an unknown way": _zipped(SAMPLES, method=99),
    "other content": _zipped(SAMPLES[:100]),
    "no zip": SAMPLES,
    "a number": _zipped(_npy(np.float32(1.0))),
    "no samples": _zipped(_npy(np.zeros((0, 1, 3, 64, 64), np.float32))),
    "unpacks to more than is read": _zipped(bytes(2 * 10**6)),
}


@pytest.mark.parametrize("content", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_that_is_damaged_or_a_bomb_is_refused(copy, monkeypatch, content):
    folder = ModelFolder.open(copy)
    (copy / EXAMPLE_FILE).write_bytes(_zipped(SAMPLES))
    assert random_inputs(folder)[0].shape == folder.inputs[0].shape
    (copy / EXAMPLE_FILE).write_bytes(content)
    monkeypatch.setattr(array_file, "MAX_BYTES", 10**6)
    with pytest.raises(ModelFolderError, match=r"example\.npz is corrupt \(.+\)"):
        random_inputs(folder)


def profile_of(folder):
    return {
        "schema_version": 2,
        "fingerprint": folder.fingerprint,
        "cut_list": folder.cut_list_fingerprint,
        "machine": describe_processor(),
        "threads": 2,
        "measure": TOP1,
        "split_points": [{"fidelity": {"int8": {"value": 0.5}}} for _ in folder.split_points],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 2**40},
        {"threads": 0},
        {"split_points": []},
        {"split_points": [{"fidelity": {"int8": {"value": 2.0}}}] * 5},
        {"split_points": [{"fidelity": {"int8": {"value": -0.1}}}] * 5},
        {"split_points": [{"agreement": 0.5}] * 5},
        {"machine": []},
    ],
)
def test_a_profile_that_no_measurement_gives_is_refused(copy, change):
    profile = profile_of(ModelFolder.open(copy))
    assert len(profile["split_points"]) == 5
    (copy / PROFILE_FILE).write_text(json.dumps(profile | change))
    with pytest.raises(ModelFolderError, match=r"profile\.json"):
        ModelFolder.open(copy)


def outcome(path):
    """What comes of a folder: nothing, or its fingerprint and what it computes."""
    try:
        folder = ModelFolder.open(path)
    except PartitionError as error:
        assert 0 < len(str(error)) < 1000  # noqa: PT017 - both outcomes are right
        return None
    return folder.fingerprint, folder.split_points


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE, CUTS_FILE, PROFILE_FILE])
def test_any_damage_is_found_or_changes_nothing(copy, name):
    (copy / PROFILE_FILE).write_text(json.dumps(profile_of(ModelFolder.open(copy))))
    whole, data, draw = outcome(copy), (copy / name).read_bytes(), random.Random(name)
    found = 0
    for _ in range(DRAWS):
        (copy / name).write_bytes(damaged(data, draw))
        result = outcome(copy)
        assert result in (None, whole)
        found += result is None
    assert found >= (DRAWS if name in (GRAPH_FILE, WEIGHTS_FILE) else DRAWS // 4)


def test_a_damaged_graph_with_a_fingerprint_that_fits_runs_or_is_refused(copy, document):
    data, draw, ran = (copy / GRAPH_FILE).read_bytes(), random.Random(1), 0
    for _ in range(DRAWS):
        (copy / GRAPH_FILE).write_bytes(damaged(data, draw))
        try:
            folder = ModelFolder.open(sealed(copy, document))
            (output,) = SplitRuntime(folder).whole(random_inputs(folder))
            ran += np.ndim(output) > 0
        except PartitionError as error:
            assert str(error)  # noqa: PT017 - both outcomes are right
    assert 0 < ran < DRAWS // 2
