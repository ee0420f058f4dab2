"""Networks of other types than float32, from the board to the server and back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from partition.codec import message_sizes
from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.errors import PartitionError
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare.build import prepare
from partition.server.cloud_server import CloudServer
from partition.stages.stage_model import CutCodec
from partition.transport import wire

DEADLINE_S = 10.0
NODES = {
    "half": [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ],
    "quantised": [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("DequantizeLinear", ["b", "scale", "zero"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ],
    "double": [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.DOUBLE),
        helper.make_node("ReduceMax", ["a"], ["b"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceSum", ["b"], ["y"], keepdims=0),
    ],
}
INPUTS = {"half": TensorProto.FLOAT16, "quantised": TensorProto.FLOAT, "double": TensorProto.FLOAT}


def value(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.fixture(params=NODES)
def folder(request, tmp_path):
    weights = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [0.04]),
        helper.make_tensor("zero", TensorProto.UINT8, [], [100]),
    ]
    is_double = request.param == "double"
    graph = helper.make_graph(
        NODES[request.param],
        request.param,
        [value("x", INPUTS[request.param], [1 if is_double else "N", 4, 12, 12])],
        [value("y", *((TensorProto.DOUBLE, []) if is_double else (TensorProto.FLOAT, ["N", 4])))],
        weights if request.param == "quantised" else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / f"{request.param}.onnx")
    return prepare(str(tmp_path / f"{request.param}.onnx"), tmp_path / "out")


def test_every_type_is_served_alone_and_in_batches(folder):
    runtime, codec = SplitRuntime(folder), Codec()
    crossing = {dtype for cut in folder.cuts for dtype in cut.dtypes}
    assert crossing & {"float16", "uint8", "float64"}
    with CloudServer(folder) as server, CloudClient(f"127.0.0.1:{server.port}", folder) as client:
        for point in folder.split_points[:-1]:

            def ask(seed, point=point):
                tensors = runtime.head(point, random_inputs(folder, seed=seed))
                sent = tuple(wire.carried(tensor, codec) for tensor in tensors)
                request = wire.Request(folder.fingerprint, point.index, sent)
                assert len(wire.pack_request(request)) == point.wire_bytes
                received = tuple(codec.decode(t) if hasattr(t, "bits") else t.array for t in sent)
                assert [t.dtype for t in received] == [t.dtype for t in tensors]
                right = runtime.tail(point, received)
                found = client.infer(point, sent, DEADLINE_S).outputs
                for ours, theirs in zip(right, found, strict=True):
                    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
                    np.testing.assert_allclose(ours, theirs, rtol=1e-5)

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(ask, range(16)))


@pytest.mark.parametrize("folder", ["quantised"], indirect=True)
def test_a_quantised_tensor_crosses_without_loss_in_any_number_of_bits(folder):
    runtime, inputs = SplitRuntime(folder), random_inputs(folder)
    cut = next(i for i, each in enumerate(folder.cuts) if each.dtypes == ("uint8",))
    tensors = runtime.head(folder.cuts[cut], inputs)
    for name in ("none", "int8", "int4"):
        codec = CutCodec(folder, cut, name)
        (found,) = codec.tensors(wire.unpack_request(codec.pack(tensors, 1)))
        np.testing.assert_array_equal(found, tensors[0])
    assert folder.cuts[cut].coded_bytes == 0
    assert folder.cuts[cut].request_bytes(4) == folder.cuts[cut].request_bytes(8) < 700


@pytest.mark.parametrize("folder", ["half"], indirect=True)
def test_half_takes_the_bytes_of_float32_and_all_channels_only(folder):
    with pytest.raises(PartitionError, match=r"xi is 1 there, not 0.5: float16 crosses, and .*fl"):
        SplitPipeline(folder, SplitRuntime(folder)).infer(
            random_inputs(folder), Route(0, 0.5), DEADLINE_S
        )
    runtime, inputs = SplitRuntime(folder), random_inputs(folder)
    for point in folder.split_points[:-1]:
        result = SplitPipeline(folder, runtime).infer(inputs, Route(point.index), DEADLINE_S)
        assert result.fallback == "no cloud"
        np.testing.assert_allclose(result.logits, runtime.whole(inputs)[0], 1e-3)
        in_float32 = message_sizes.request_bytes(point.shapes, 8)
        assert point.request_bytes(8) == in_float32
        assert point.coded_bytes == 4 * np.prod(point.shapes[0])
