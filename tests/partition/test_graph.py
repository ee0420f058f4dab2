"""Legal cuts and counted costs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from partition.prepare.graph import find_cuts


def make_model(nodes, shapes, weights=()) -> onnx.ModelProto:
    """Graph from `x` to `y` with the given shapes and float weights."""
    value = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", [value["x"]], [value["y"]], tensors)
    return onnx.shape_inference.infer_shapes(helper.make_model(graph))


def test_cuts_run_from_the_input_to_the_output_by_depth(tiny):
    names = [cut.name for cut in tiny.cuts]
    assert names[0] == "input"
    assert names[-1] == "output"
    assert tiny.cuts[0].is_input
    assert tiny.cuts[-1].is_output
    flops = [cut.head.flops for cut in tiny.cuts]
    assert flops == sorted(flops)


def test_no_cut_where_a_residual_connection_crosses():
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Neg", ["c"], ["y"]),
    ]
    cuts = find_cuts(make_model(nodes, {"x": [1, 4], "y": [1, 4]}))
    assert [cut.tensors for cut in cuts] == [("x",), ("a",), ("c",), ("y",)]


def test_a_tensor_computed_from_weights_alone_does_not_block_a_cut():
    nodes = [
        helper.make_node("Neg", ["w"], ["v"]),
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Add", ["a", "v"], ["y"]),
    ]
    weights = [("w", np.ones((1, 4), np.float32))]
    cuts = find_cuts(make_model(nodes, {"x": [1, 4], "y": [1, 4]}, weights))
    assert [cut.tensors for cut in cuts] == [("x",), ("a",), ("y",)]


def test_what_a_control_flow_subgraph_captures_stays_alive():
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Exp", ["a"], ["r"])], "b", [], [value("r", TensorProto.FLOAT, [1, 4])]
    )
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Exp", ["x"], ["b"]),
        helper.make_node("If", ["w"], ["c"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    weights = [("w", np.array(True))]
    cuts = find_cuts(make_model(nodes, {"x": [1, 4], "y": [1, 4]}, weights))
    assert [cut.tensors for cut in cuts] == [("x",), ("y",)]


def test_no_cut_between_a_convolution_and_its_activation():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Exp", ["b"], ["y"]),
    ]
    shapes = {"x": [1, 3, 8, 8], "y": [1, 4, 8, 8]}
    cuts = find_cuts(make_model(nodes, shapes, [("w", np.ones((4, 3, 1, 1), np.float32))]))
    assert [cut.tensors for cut in cuts] == [("x",), ("b",), ("y",)]


def test_costs_of_a_convolution_and_a_product_are_counted():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "v"], ["y"]),
    ]
    weights = [("w", np.ones((4, 3, 3, 3), np.float32)), ("v", np.ones((256, 10), np.float32))]
    cuts = find_cuts(make_model(nodes, {"x": [1, 3, 8, 8], "y": [1, 10]}, weights))
    head = cuts[1].head
    assert head.flops == 2 * 256 * 27 + 256
    assert head.param_bytes == 4 * 108
    assert head.traffic_bytes == 4 * (108 + 192 + 256)
    assert head.kernels == 1
    total = cuts[-1].head
    assert total.flops - head.flops == 2 * 10 * 256
    assert total.kernels == 2


def test_head_and_tail_costs_add_up(tiny):
    total = tiny.cuts[-1].head
    for cut in tiny.cuts:
        assert cut.head + cut.tail == total


def test_tensors_of_another_type_or_unknown_shape_are_no_cut():
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Exp", ["b"], ["c"]),
        helper.make_node("Exp", ["c"], ["y"]),
    ]
    model = make_model(nodes, {"x": [1, 4], "y": [1, 4]})
    assert [cut.tensors for cut in find_cuts(model)] == [("x",), ("b",), ("c",), ("y",)]
    unknown = next(value for value in model.graph.value_info if value.name == "c")
    unknown.type.tensor_type.shape.dim[0].dim_param = "M"
    assert [cut.tensors for cut in find_cuts(model)] == [("x",), ("b",), ("y",)]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "double"])
def test_a_scalar_of_any_type_of_a_message_may_cross(dtype):
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["a"], keepdims=0),
        helper.make_node("Cast", ["a"], ["b"], to=getattr(TensorProto, dtype.upper())),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    cuts = find_cuts(make_model(nodes, {"x": [1, 4], "y": []}))
    assert [cut.tensors for cut in cuts] == [("x",), ("a",), ("b",), ("y",)]
    assert (cuts[2].shapes, cuts[2].dtypes) == (((),), (str(np.dtype(dtype)),))


def test_several_tensors_cross_where_that_is_less_than_around():
    """Two branches that shrink before they meet."""
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Exp", ["x"], ["b"]),
        helper.make_node("ReduceMax", ["a"], ["c"], axes=[1], keepdims=1),
        helper.make_node("ReduceMax", ["b"], ["d"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["c", "d"], ["e"]),
        helper.make_node("Add", ["x0", "e"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1, 64]), value("x0", TensorProto.FLOAT, [1, 4])],
        [value("y", TensorProto.FLOAT, [1, 4])],
    )
    opset = [helper.make_opsetid("", 13)]
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opset))
    tensors = [cut.tensors for cut in find_cuts(model)]
    assert tensors == [("x", "x0"), ("c", "d", "x0"), ("e", "x0"), ("y",)]


def test_activations_alive_at_once_are_counted():
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Exp", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Neg", ["c"], ["y"]),
    ]
    cuts = find_cuts(make_model(nodes, {"x": [1, 4], "y": [1, 4]}))
    assert [cut.peak_bytes for cut in cuts] == [16, 32, 48, 32]
