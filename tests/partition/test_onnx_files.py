"""ONNX files as they are shipped: open shapes, scalars, choices in the graph, odd outputs."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from partition.edge.answers import AnswerCheck
from partition.edge.client import CloudClient
from partition.edge.pipeline import SplitPipeline
from partition.errors import (
    CloudError,
    ModelExportError,
    ModelFolderError,
    SampleError,
)
from partition.model.routes import Route
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare.build import prepare
from partition.prepare.onnx_file.choices import parse_shape, parse_value
from partition.server.cloud_server import CloudServer
from tests.partition import onnx_graphs
from tests.partition.onnx_graphs import FLOAT, INT64, constant, node, save, tensor, weight


def assert_all_cuts_equal_the_file(folder, path, **frozen):
    """Bit for bit, and as ONNX Runtime computes the file itself up to what it folds."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    original = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = random_inputs(folder)
    feeds = {spec.name: array for spec, array in zip(folder.inputs, inputs, strict=True)}
    names = [spec.name for spec in folder.outputs]
    expected = original.run(names, feeds | {k: np.array(v) for k, v in frozen.items()})
    runtime = SplitRuntime(folder)
    whole = runtime.whole(inputs)
    for ours, theirs in zip(whole, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for cut in folder.cuts:
        found = runtime.tail(cut, runtime.head(cut, inputs))
        for ours, theirs in zip(found, whole, strict=True):
            np.testing.assert_array_equal(ours, theirs, cut.name)


def refusal(path, out, **choices):
    with pytest.raises((ModelExportError, SampleError)) as error:
        prepare(str(path), out, **choices)
    assert not out.exists()
    return str(error.value)


def test_the_sentence_about_open_sizes_holds_the_command_that_works(
    tmp_path, run_module, user_error
):
    path = onnx_graphs.detector_with_nms(tmp_path / "net.onnx")
    sentence = user_error("partition.prepare", "--model", path, "--out", tmp_path / "out")
    assert "'images' of shape [batch, 3, height, width]" in sentence
    command = sentence.rpartition("python -m partition.prepare ")[2].split()
    assert command[-2:] == ["--shape", "images=Nx3x640x640"]
    result = run_module("partition.prepare", *command, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "one sample at a time" in result.stdout


def test_a_size_given_for_one_input_is_that_of_the_same_symbol_elsewhere(tmp_path):
    path = onnx_graphs.two_texts(tmp_path / "net.onnx")
    folder = prepare(str(path), tmp_path / "out", shapes={"ids": ("N", 24)})
    assert folder.dynamic_batch
    assert [spec.shape for spec in folder.inputs] == [(1, 24), (1, 24)]
    assert_all_cuts_equal_the_file(folder, path)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"": ("N", 8)}, "no input '' for --shape: it takes 'ids', 'mask'"),
        ({"words": ("N", 8)}, "no input 'words'"),
        ({"ids": ("N", 8, 8)}, r"'ids' of shape [batch, length]: --shape Nx8x8 has 3 sizes"),
        ({"ids": ("N", 8), "mask": ("N", 9)}, "Nx9 has 9 where it has to be 8"),
        ({"ids": (2, 8), "mask": ("N", 8)}, "Nx8 has N where it has to be 2"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path, shapes, said):
    path = onnx_graphs.two_texts(tmp_path / "net.onnx")
    assert said in refusal(path, tmp_path / "out", shapes=shapes)


def test_texts_of_shapes_and_values():
    assert parse_shape("a=b:0=Nx3x8") == ("a=b:0", ("N", 3, 8))
    assert parse_shape("1x64") == ("", (1, 64))
    assert parse_value("sr=16000") == ("sr", 16_000)
    assert parse_value("on=true") == ("on", True)
    assert parse_value("mean=0.5,1") == ("mean", [0.5, 1])
    for text in ("x=3xN", "x=0x3", "x=axb", "x="):
        with pytest.raises(ModelExportError, match="is no shape"):
            parse_shape(text)
    for text in ("16000", "sr=fast", "sr="):
        with pytest.raises(ModelExportError, match="--value"):
            parse_value(text)
    with pytest.raises(SampleError, match="cannot be read"):
        parse_value("w=missing.npy")


def test_a_frozen_scalar_opens_its_branch_to_cuts(tmp_path):
    path = onnx_graphs.by_rate(tmp_path / "net.onnx")
    folder = prepare(str(path), tmp_path / "out", shapes={"x": ("N", 16)}, values={"sr": 16_000})
    assert folder.dynamic_batch
    assert [spec.name for spec in folder.inputs] == ["x"]
    graph = onnx.load(folder.path / "model.onnx", load_external_data=False).graph
    assert not any(one.op_type == "If" for one in graph.node)
    assert len(folder.cuts) > 2
    assert_all_cuts_equal_the_file(folder, path, sr=16_000)


def test_a_scalar_crosses_as_it_is(tmp_path):
    path = onnx_graphs.by_rate(tmp_path / "net.onnx")
    folder = prepare(str(path), tmp_path / "out", shapes={"x": (1, 16)})
    assert [(spec.dtype, spec.shape) for spec in folder.inputs][1] == ("int64", ())
    assert_all_cuts_equal_the_file(folder, path)


@pytest.mark.parametrize("value", [[1, 2], 1.5, 2**70])
def test_a_value_that_does_not_fit_is_refused(tmp_path, value):
    path = onnx_graphs.by_rate(tmp_path / "net.onnx")
    sentence = refusal(path, tmp_path / "out", shapes={"x": (1, 16)}, values={"sr": value})
    assert "'sr' of int64 []" in sentence
    assert re.search("do(es)? not fit", sentence)


@pytest.mark.parametrize("value", [1e300, [70000.0]])
def test_a_value_beyond_the_type_of_an_input_is_named(tmp_path, value):
    kind = FLOAT if value == 1e300 else onnx.TensorProto.FLOAT16
    inputs = [tensor("x", kind, [1, 4]), tensor("by", kind, [1])]
    nodes = [node("Mul", ["x", "by"], ["y"])]
    path = save(tmp_path / "net.onnx", nodes, inputs, [tensor("y", kind, [1, 4])])
    sentence = refusal(path, tmp_path / "out", values={"by": value})
    assert re.search(r"'by' of float(32|16) \[1\].*(1e\+300|70000.0) of float64 does not", sentence)


def test_real_inputs_settle_shapes_and_stay_in_the_folder(tmp_path):
    path = onnx_graphs.two_texts(tmp_path / "net.onnx")
    ids = np.arange(5 * 24).reshape(5, 24)
    np.savez(tmp_path / "real.npz", ids=ids, mask=np.ones((1, 24), np.int64))
    folder = prepare(str(path), tmp_path / "out", example=tmp_path / "real.npz")
    assert folder.dynamic_batch
    assert [spec.shape for spec in folder.inputs] == [(1, 24), (1, 24)]
    np.testing.assert_array_equal(random_inputs(folder, 2, seed=3)[0], ids[3:5])
    (folder.path / "example.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ModelFolderError, match=r"example\.npz is corrupt"):
        random_inputs(folder)


def test_made_up_inputs_that_do_not_run_are_named(tmp_path):
    nodes = [
        node("Reshape", ["x", "sizes"], ["a"]),
        node("Relu", ["a"], ["y"]),
    ]
    inputs = [tensor("x", FLOAT, [1, 8]), tensor("sizes", INT64, [2])]
    path = save(tmp_path / "net.onnx", nodes, inputs, [tensor("y", FLOAT, None)])
    sentence = refusal(path, tmp_path / "out")
    assert "'sizes' ones of shape [2]" in sentence
    assert "--example" in sentence
    np.savez(tmp_path / "real.npz", x=np.ones((1, 8), np.float32), sizes=np.array([2, 4]))
    folder = prepare(str(path), tmp_path / "out", example=tmp_path / "real.npz")
    assert folder.outputs[0].shape == (-1, -1)
    assert_all_cuts_equal_the_file(folder, path)


def test_an_output_that_depends_on_the_data_has_unknown_sizes(tmp_path):
    path = onnx_graphs.detector_with_nms(tmp_path / "net.onnx")
    folder = prepare(str(path), tmp_path / "out", shapes={"": ("N", 3, 64, 64)})
    assert not folder.dynamic_batch
    assert [spec.shape for spec in folder.outputs] == [(-1, 4), (-1, 3)]
    assert any(len(cut.tensors) == 1 for cut in folder.cuts[1:-1])
    assert_all_cuts_equal_the_file(folder, path)
    check = AnswerCheck("there", folder.outputs)
    for n in (0, 7):
        check.check((np.zeros((n, 4), np.float32), np.zeros((n, 3), np.int64)))
    with pytest.raises(CloudError, match=r"\(-1, 4\)"):
        check.check((np.zeros((7, 5), np.float32), np.zeros((7, 3), np.int64)))


def test_a_server_answers_with_as_many_boxes_as_it_finds(tmp_path):
    path = onnx_graphs.detector_with_nms(tmp_path / "net.onnx")
    folder = prepare(str(path), tmp_path / "out", shapes={"": ("N", 3, 64, 64)})
    runtime = SplitRuntime(folder)
    with (
        CloudServer(folder, runtime) as server,
        CloudClient(f"127.0.0.1:{server.port}", folder) as client,
    ):
        pipeline = SplitPipeline(folder, runtime, client)
        counts = set()
        for scale in (0.0, 1.0):
            image = scale * random_inputs(folder)[0]
            (boxes, chosen) = runtime.whole((image,))
            result = pipeline.infer(image, Route(len(folder.split_points) - 2), 10.0)
            assert result.served_by == "cloud", result.fallback
            assert [array.shape[1] for array in result.outputs] == [4, 3]
            counts.add(len(chosen))
            assert boxes.shape == (len(chosen), 4)
        assert counts == {0, len(chosen)}


def test_an_output_that_is_no_array_names_the_tensors_to_stop_at(tmp_path):
    path = onnx_graphs.classifier_with_zip_map(tmp_path / "net.onnx")
    sentence = refusal(path, tmp_path / "out")
    assert "'named' of type sequence" in sentence
    assert sentence.endswith("--outputs label,probabilities")
    folder = prepare(str(path), tmp_path / "out", outputs=("probabilities", "label"))
    assert [spec.name for spec in folder.outputs] == ["probabilities", "label"]


def test_a_network_stops_where_it_is_told(tmp_path):
    path = onnx_graphs.detector_with_nms(tmp_path / "net.onnx")
    assert "no tensor 'box'" in refusal(path, tmp_path / "out", outputs=("box",))
    folder = prepare(
        str(path), tmp_path / "out", outputs=("boxes", "scores"), shapes={"": ("N", 3, 64, 64)}
    )
    assert folder.dynamic_batch
    graph = onnx.load(folder.path / "model.onnx", load_external_data=False).graph
    assert not any(one.op_type == "NonMaxSuppression" for one in graph.node)
    runtime = SplitRuntime(folder)
    inputs = random_inputs(folder, 3)
    whole = runtime.whole(inputs)
    assert [array.shape for array in whole] == [(3, 64, 4), (3, 4, 64)]


def test_an_input_that_is_no_array_is_refused(tmp_path):
    nodes = [node("StringNormalizer", ["s"], ["t"]), node("Shape", ["t"], ["y"])]
    inputs = [tensor("s", TensorProto.STRING, [4])]
    path = save(tmp_path / "net.onnx", nodes, inputs, [tensor("y", INT64, None)])
    assert "input 's' of type string" in refusal(path, tmp_path / "out")


def held_in_float_data():
    values = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    return helper.make_tensor("w", FLOAT, (32, 32), values.ravel().tolist())


@pytest.mark.parametrize(
    ("held", "options"),
    [
        (weight("w", 32, 32), {}),
        (held_in_float_data(), {}),
        (node("Constant", [], ["w"], value=held_in_float_data()), {}),
        (weight("w", 32, 32), {"ir": 3, "opset": 9}),
        (weight("w", 32, 32), {"inputs": ("x", "w"), "opset": 23, "ir": 10}),
    ],
    ids=["raw", "float_data", "constant node", "opset 9", "also an input"],
)
def test_weights_go_into_their_file_whatever_form_they_had(tmp_path, held, options):
    path = onnx_graphs.dense(tmp_path / "net.onnx", held, **options)
    folder = prepare(str(path), tmp_path / "out")
    assert (folder.path / "weights.bin").stat().st_size == 4 * 32 * 32
    assert folder.cuts[-1].head.param_bytes == 4 * 32 * 32
    assert folder.dynamic_batch
    assert_all_cuts_equal_the_file(folder, path)


def test_weights_in_several_files_become_one(tmp_path):
    path = onnx_graphs.dense(tmp_path / "one.onnx", weight("w", 32, 32))
    (tmp_path / "net" / "data here").mkdir(parents=True)
    model = onnx.load(path)
    onnx.save_model(
        model,
        tmp_path / "net" / "net.onnx",
        save_as_external_data=True,
        location="data here/all weights.data",
        size_threshold=0,
    )
    folder = prepare(str(tmp_path / "net" / "net.onnx"), tmp_path / "out")
    held = onnx.load(folder.path / "model.onnx", load_external_data=False).graph.initializer
    places = {entry.value for t in held for entry in t.external_data if entry.key == "location"}
    assert places == {"weights.bin"}
    assert folder.fingerprint == prepare(str(path), tmp_path / "again").fingerprint
    (tmp_path / "net" / "data here" / "all weights.data").unlink()
    assert "all weights.data" in refusal(tmp_path / "net" / "net.onnx", tmp_path / "gone")


def test_a_batch_stays_free_in_opsets_whose_shape_has_no_parts(tmp_path):
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Shape", ["a"], ["s"]),
        node("Gather", ["s", "first"], ["n"]),
        node("Unsqueeze", ["n"], ["n1"], axes=[0]),
        node("Concat", ["n1", "rest"], ["sizes"], axis=0),
        node("Expand", ["w", "sizes"], ["many"]),
        node("Mul", ["a", "many"], ["y"]),
    ]
    weights = [constant("first", 0), constant("rest", [8]), weight("w", 1, 8)]
    inputs = [tensor("x", FLOAT, ["batch", 8])]
    path = save(tmp_path / "net.onnx", nodes, inputs, [tensor("y", FLOAT, None)], weights, opset=11)
    folder = prepare(str(path), tmp_path / "out")
    assert folder.dynamic_batch
    runtime = SplitRuntime(folder)
    inputs = random_inputs(folder, 3)
    for cut in folder.cuts:
        found = runtime.tail(cut, runtime.head(cut, inputs))[0]
        np.testing.assert_array_equal(found, runtime.whole(inputs)[0])


def test_nodes_may_stand_in_any_order_and_tensors_be_called_as_the_batch(tmp_path):
    nodes = [node("Tanh", ["N"], ["y"]), node("Relu", ["x"], ["N"])]
    inputs = [tensor("x", FLOAT, ["N", 4])]
    path = save(tmp_path / "net.onnx", nodes, inputs, [tensor("y", FLOAT, ["N", 4])])
    folder = prepare(str(path), tmp_path / "out")
    assert folder.dynamic_batch
    assert [len(cut.tensors) for cut in folder.cuts] == [1, 1, 1]


def test_quantised_bytes_cross_between_kernels_and_change_nothing(tmp_path):
    path = onnx_graphs.quantised(tmp_path / "net.onnx")
    folder = prepare(str(path), tmp_path / "out")
    assert folder.dynamic_batch
    assert {dtype for cut in folder.cuts[1:-1] for dtype in cut.dtypes} == {"int8"}
    assert len(folder.cuts) >= 6
    assert folder.cuts[-1].head.param_bytes >= 2 * 8 * 8 * 9
    assert_all_cuts_equal_the_file(folder, path)


def test_a_dynamic_quantisation_is_one_with_its_product(tmp_path):
    held = np.random.default_rng(0).integers(-127, 128, (16, 16)).astype(np.int8)
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("DynamicQuantizeLinear", ["a"], ["q", "qs", "qz"]),
        node("MatMulInteger", ["q", "w", "qz", "wz"], ["i"]),
        node("Cast", ["i"], ["f"], to=FLOAT),
        node("Mul", ["qs", "ws"], ["scale"]),
        node("Mul", ["f", "scale"], ["b"]),
        node("Add", ["b", "bias"], ["c"]),
        node("Tanh", ["c"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(held, "w"),
        constant("wz", 0, np.int8),
        constant("ws", 0.01, np.float32),
        weight("bias", 16),
    ]
    inputs = [tensor("x", FLOAT, [1, 16])]
    path = save(tmp_path / "net.onnx", nodes, inputs, [tensor("y", FLOAT, None)], weights)
    folder = prepare(str(path), tmp_path / "out")
    assert [cut.tensors for cut in folder.cuts] == [("x",), ("a",), ("c",), ("y",)]
    assert_all_cuts_equal_the_file(folder, path)


def test_float16_runs_through(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float16)
    nodes = [node("Relu", ["x"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    half = TensorProto.FLOAT16
    path = save(
        tmp_path / "net.onnx",
        nodes,
        [tensor("x", half, ["N", 8])],
        [tensor("y", half, None)],
        [numpy_helper.from_array(values, "w")],
    )
    folder = prepare(str(path), tmp_path / "out")
    assert folder.dynamic_batch
    assert {dtype for cut in folder.cuts for dtype in cut.dtypes} == {"float16"}
    assert_all_cuts_equal_the_file(folder, path)


def test_functions_of_the_file_can_be_cut(tmp_path):
    twice = helper.make_function(
        "own",
        "Twice",
        ["u"],
        ["v"],
        [node("Relu", ["u"], ["t"]), node("Exp", ["t"], ["v"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [node("Twice", ["x"], ["a"], domain="own"), node("Neg", ["a"], ["y"])]
    path = save(
        tmp_path / "net.onnx",
        nodes,
        [tensor("x", FLOAT, ["N", 4])],
        [tensor("y", FLOAT, None)],
        domains=["own"],
        functions=[twice],
    )
    folder = prepare(str(path), tmp_path / "out")
    assert len(folder.cuts) == 4
    assert_all_cuts_equal_the_file(folder, path)


def test_a_loop_is_one_node_and_its_weights_are_in_the_file(tmp_path):
    path = onnx_graphs.loop(tmp_path / "net.onnx", 3)
    folder = prepare(str(path), tmp_path / "out")
    assert (folder.path / "weights.bin").stat().st_size == 4 * 1024
    assert_all_cuts_equal_the_file(folder, path)
