"""Small ONNX graphs of the kinds that real files are."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
ML = "ai.onnx.ml"
node = helper.make_node
tensor = helper.make_tensor_value_info


def weight(name, *shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def constant(name, values, dtype=None):
    return numpy_helper.from_array(np.array(values, dtype), name)


def save(path, nodes, inputs, outputs, weights=(), *, opset=17, ir=9, domains=(), functions=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))
    onnx.save(model, path)
    return path


def detector_with_nms(path):
    """Boxes and scores of 64 cells, the best of them chosen in the graph."""
    nodes = [
        node("Conv", ["images", "w"], ["f"], strides=[8, 8]),
        node("Relu", ["f"], ["g"]),
        node("Conv", ["g", "w2"], ["p"]),
        node("Reshape", ["p", "shape"], ["flat"]),
        node("Transpose", ["flat"], ["cells"], perm=[0, 2, 1]),
        node("Split", ["cells", "halves"], ["boxes", "classes"], axis=2),
        node("Transpose", ["classes"], ["scores"], perm=[0, 2, 1]),
        node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["selected"]),
        node("Gather", ["selected", "last"], ["indices"], axis=1),
        node("Gather", ["boxes", "indices"], ["found"], axis=1),
        node("Squeeze", ["found", "first"], ["detections"]),
    ]
    weights = [
        weight("w", 16, 3, 8, 8),
        weight("w2", 8, 16, 1, 1, seed=1),
        constant("shape", [0, 8, -1]),
        constant("halves", [4, 4]),
        constant("most", [20]),
        constant("iou", [0.5], np.float32),
        constant("least", [0.1], np.float32),
        constant("last", 2),
        constant("first", [0]),
    ]
    inputs = [tensor("images", FLOAT, ["batch", 3, "height", "width"])]
    outputs = [tensor("detections", FLOAT, ["n", 4]), tensor("selected", INT64, None)]
    return save(path, nodes, inputs, outputs, weights)


def classifier_with_zip_map(path):
    """As scikit-learn's are exported: probabilities as a sequence of maps."""
    nodes = [
        node(
            "LinearClassifier",
            ["X"],
            ["label", "raw"],
            domain=ML,
            coefficients=[float(i) for i in range(8)],
            intercepts=[0.0, 1.0],
            classlabels_ints=[0, 1],
        ),
        node("Normalizer", ["raw"], ["probabilities"], domain=ML, norm="L1"),
        node("ZipMap", ["probabilities"], ["named"], domain=ML, classlabels_int64s=[0, 1]),
    ]
    maps = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, None))
    named = helper.make_value_info("named", helper.make_sequence_type_proto(maps))
    outputs = [tensor("label", INT64, ["n"]), named]
    return save(path, nodes, [tensor("X", FLOAT, ["n", 4])], outputs, domains=[ML])


def by_rate(path):
    """Speech whose sampling rate, a scalar input, chooses one of two branches."""
    branches = {
        f"{side}_branch": helper.make_graph(
            [node("MatMul", ["x", "w"], ["p"]), node(op, ["p"], ["r"])],
            side,
            [],
            [tensor("r", FLOAT, None)],
            [weight("w", 16, 4, seed=seed)],
        )
        for seed, (side, op) in enumerate((("then", "Relu"), ("else", "Tanh")))
    }
    nodes = [
        node("Equal", ["sr", "wide"], ["is_wide"]),
        node("If", ["is_wide"], ["z"], **branches),
        node("Softmax", ["z"], ["y"]),
    ]
    inputs = [tensor("x", FLOAT, ["batch", "samples"]), tensor("sr", INT64, [])]
    return save(path, nodes, inputs, [tensor("y", FLOAT, None)], [constant("wide", 16_000)])


def two_texts(path):
    nodes = [
        node("Add", ["ids", "mask"], ["a"]),
        node("Cast", ["a"], ["b"], to=FLOAT),
        node("ReduceMean", ["b"], ["y"], axes=[1]),
    ]
    inputs = [tensor(name, INT64, ["batch", "length"]) for name in ("ids", "mask")]
    return save(path, nodes, inputs, [tensor("y", FLOAT, None)])


def quantised(path):
    """Two convolutions between signed 8-bit tensors, a pool, and the answer in floating point."""
    scales = [constant("s", 0.05, np.float32), constant("z", 3, np.int8)]
    filters = np.random.default_rng(0).integers(-127, 128, (2, 8, 8, 3, 3)).astype(np.int8)
    weights = [numpy_helper.from_array(filters[i], f"w{i}") for i in range(2)]
    zero = constant("wz", 0, np.int8)
    fine = constant("ws", 0.002, np.float32)

    def round_trip(name):
        return [
            node("QuantizeLinear", [name, "s", "z"], [f"{name}.q"]),
            node("DequantizeLinear", [f"{name}.q", "s", "z"], [f"{name}.d"]),
        ]

    nodes = [
        *round_trip("x"),
        node("DequantizeLinear", ["w0", "ws", "wz"], ["w0.d"]),
        node("Conv", ["x.d", "w0.d"], ["a"]),
        node("Relu", ["a"], ["b"]),
        *round_trip("b"),
        node("DequantizeLinear", ["w1", "ws", "wz"], ["w1.d"]),
        node("Conv", ["b.d", "w1.d"], ["c"]),
        *round_trip("c"),
        node("Softmax", ["c.d"], ["e"], axis=1),
        *round_trip("e"),
        node("GlobalAveragePool", ["e.d"], ["g"]),
        *round_trip("g"),
        node("Flatten", ["g.d"], ["y"]),
    ]
    inputs = [tensor("x", FLOAT, ["N", 8, 12, 12])]
    return save(path, nodes, inputs, [tensor("y", FLOAT, None)], [*scales, zero, fine, *weights])


def dense(path, held, *, opset=17, ir=9, inputs=("x",)):
    """One product with the weight `held` in some form, behind and before a rectifier."""
    nodes = [
        node("Relu", ["x"], ["a"]),
        *([held] if isinstance(held, onnx.NodeProto) else []),
        node("MatMul", ["a", "w"], ["b"]),
        node("Tanh", ["b"], ["y"]),
    ]
    weights = [held] if isinstance(held, onnx.TensorProto) else []
    shapes = {"x": ["N", 32], "w": [32, 32]}
    values = [tensor(name, FLOAT, shapes[name]) for name in inputs]
    return save(path, nodes, values, [tensor("y", FLOAT, None)], weights, opset=opset, ir=ir)


def loop(path, rounds):
    """So many rounds of an addition."""
    body = helper.make_graph(
        [
            node("Add", ["acc", "w"], ["more"]),
            node("Identity", ["go"], ["on"]),
        ],
        "body",
        [tensor("i", INT64, []), tensor("go", TensorProto.BOOL, []), tensor("acc", FLOAT, None)],
        [tensor("on", TensorProto.BOOL, []), tensor("more", FLOAT, None)],
        [weight("w", 1024)],
    )
    nodes = [node("Relu", ["x"], ["a"]), node("Loop", ["m", "c", "a"], ["y"], body=body)]
    inputs = [tensor("x", FLOAT, [1, 1024])]
    weights = [constant("m", rounds), constant("c", True)]
    return save(path, nodes, inputs, [tensor("y", FLOAT, None)], weights)
