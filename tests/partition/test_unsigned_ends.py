"""Signed bytes that cross a cut are unsigned within the part on either side."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from partition.model.runtime import extract, random_inputs
from partition.model.unsigned_ends import pairs, with_unsigned_ends
from partition.prepare.build import prepare
from partition.providers.session import make_session
from tests.partition import onnx_graphs


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = onnx_graphs.quantised(tmp_path_factory.mktemp("quantised") / "net.onnx")
    folder = prepare(str(path), path.with_name("out"))
    return folder, onnx.load(folder.path / "model.onnx")


def test_a_pair_has_one_reader(prepared):
    _, model = prepared
    assert pairs(model.graph) == {"x.q", "b.q", "c.q", "e.q", "g.q"}
    second = onnx.helper.make_node("Relu", ["b.d"], ["other"])
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.graph.node.append(second)
    assert pairs(model.graph) == {"x.q", "c.q", "e.q", "g.q"}


def test_both_sides_compute_with_unsigned_bytes_and_exchange_signed_ones(prepared):
    folder, model = prepared
    found = pairs(model.graph)
    cut = next(cut for cut in folder.cuts if cut.tensors == ("b.q",))
    inputs, outputs = folder.cuts[0].tensors, folder.cuts[-1].tensors
    head = extract(model, inputs, cut.tensors)
    tail = extract(model, cut.tensors, outputs)
    image = random_inputs(folder)[0]
    crossing = make_session(head).run(None, {"x": image})[0]
    for part, feed in ((head, {"x": image}), (tail, {"b.q": crossing})):
        changed = with_unsigned_ends(part, found)
        zeros = {
            tensor.data_type: int(onnx.numpy_helper.to_array(tensor))
            for tensor in changed.graph.initializer
            if tensor.name.endswith(".unsigned_zero")
        }
        assert zeros == {TensorProto.UINT8: 3 + 128}
        ours = make_session(changed).run(None, feed)[0]
        theirs = make_session(part).run(None, feed)[0]
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(
            ours.astype(float), theirs.astype(float), atol=1 if ours.dtype == np.int8 else 0.05
        )


def test_a_part_without_such_ends_is_left_alone(prepared):
    folder, model = prepared
    whole = extract(model, folder.cuts[0].tensors, folder.cuts[-1].tensors)
    assert with_unsigned_ends(whole, pairs(model.graph)) is whole
