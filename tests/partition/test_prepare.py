"""From any kind of network to a model folder."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from partition.errors import ModelExportError, ModelFolderError, ModelNotFoundError
from partition.model.runtime import SplitRuntime
from partition.prepare import zoo
from partition.prepare.build import prepare
from partition.prepare.tiny_cnn import build


def write_onnx(path, *, op="Relu", shape=("N", 3, 8, 8), classes=4, inputs=("x",)):
    """A small user network: global average, then a product."""
    value = helper.make_tensor_value_info
    weight = np.random.default_rng(0).normal(size=(shape[1], classes)).astype(np.float32)
    nodes = [
        helper.make_node(op, ["x"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "s"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"], name="/head/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value(name, TensorProto.FLOAT, shape) for name in inputs],
        [value("y", TensorProto.FLOAT, ["N", classes])],
        [
            onnx.numpy_helper.from_array(weight, "w"),
            onnx.numpy_helper.from_array(np.array([1, shape[1]]), "s"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.doc_string = "made in /home/somebody"
    onnx.save(model, path)
    return path


def test_the_prepared_network_computes_what_torch_computes(tiny, runtime, image):
    with torch.no_grad():
        expected = build().eval()(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(runtime.whole((image,))[0], expected, rtol=1e-3, atol=1e-5)


def test_batch_norm_is_folded_and_no_trace_of_this_machine_is_left(tiny):
    model = onnx.load(tiny.path / "model.onnx", load_external_data=False)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b".py" not in (tiny.path / "model.onnx").read_bytes()


def test_the_same_network_gives_the_same_bytes(tiny, tmp_path):
    again = prepare("tiny-cnn", tmp_path / "again")
    for name in ("model.onnx", "weights.bin", "cuts.json"):
        assert (again.path / name).read_bytes() == (tiny.path / name).read_bytes()


def test_a_users_onnx_file_is_prepared_with_its_symbolic_batch_set_to_one(tmp_path):
    spec = write_onnx(tmp_path / "mine.onnx")
    folder = prepare(str(spec), tmp_path / "out")
    assert folder.name == "mine"
    assert folder.input_shape == (1, 3, 8, 8)
    assert folder.cuts[-1].shapes == ((1, 4),)
    assert b"somebody" not in (folder.path / "model.onnx").read_bytes()
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    runtime = SplitRuntime(folder)
    for cut in folder.cuts:
        np.testing.assert_allclose(
            runtime.tail(cut, runtime.head(cut, (x,)))[0], runtime.whole((x,))[0], rtol=1e-5
        )


def test_a_users_callable_is_prepared(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "import torch\n"
        "def small_net():\n"
        "    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(),\n"
        "        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
        "    return net, torch.zeros(1, 3, 16, 16)\n"
        "def wrong():\n"
        "    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = prepare("my_nets:small_net", tmp_path / "out")
    assert folder.name == "small-net"
    assert folder.n_classes == 4
    with pytest.raises(ModelExportError, match="example_input"):
        prepare("my_nets:wrong", tmp_path / "out2")
    with pytest.raises(ModelNotFoundError, match="missing"):
        zoo.resolve("my_nets:missing")


def test_preparing_again_replaces_the_folder_and_leaves_nothing_beside_it(tmp_path):
    out = tmp_path / "models" / "mine"
    first = prepare(str(write_onnx(tmp_path / "mine.onnx")), out)
    second = prepare(str(write_onnx(tmp_path / "mine.onnx", classes=5)), out)
    assert second.fingerprint != first.fingerprint
    assert second.n_classes == 5
    assert [path.name for path in out.parent.iterdir()] == ["mine"]


def test_a_folder_that_is_no_model_is_not_replaced(tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(ModelFolderError, match="precious"):
        prepare(str(write_onnx(tmp_path / "mine.onnx")), tmp_path / "precious")
    assert (tmp_path / "precious").is_dir()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFolderError, match="cannot be written"):
        prepare(str(write_onnx(tmp_path / "mine.onnx")), tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shape": (1, 3, "H", "W")}, "leaves open"),
        ({"op": "NoSuchOperator"}, "no valid graph"),
    ],
)
def test_a_network_without_certain_shapes_is_refused(tmp_path, change, sentence):
    spec = write_onnx(tmp_path / "mine.onnx", **change)
    with pytest.raises(ModelExportError, match=sentence):
        prepare(str(spec), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_the_run_time_cannot_run_is_refused(tmp_path):
    spec = write_onnx(tmp_path / "mine.onnx")
    model = onnx.load(spec)
    model.graph.node[0].domain = "private"
    model.opset_import.append(helper.make_opsetid("private", 1))
    onnx.save(model, spec)
    with pytest.raises(ModelExportError, match=r"does not load in ONNX Runtime .*private"):
        prepare(str(spec), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.onnx"]


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelExportError, match=r"bad\.onnx"):
        prepare(str(tmp_path / "bad.onnx"), tmp_path / "out")


def test_unknown_names_list_what_exists(user_error):
    sentence = user_error("partition.prepare", "--model", "resnet9000")
    assert "resnet9000" in sentence
    assert "efficientnet-lite0, efficientnet-lite1, efficientnet-lite2, tiny-cnn" in sentence
    assert "gone.onnx" in user_error("partition.prepare", "--model", "gone.onnx")
    assert "no_such" in user_error("partition.prepare", "--model", "no_such:thing")


def test_the_command_writes_a_folder(run_module, tmp_path):
    spec = write_onnx(tmp_path / "mine.onnx")
    result = run_module("partition.prepare", "--model", spec, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "legal cuts" in result.stdout
