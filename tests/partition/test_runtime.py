"""Head plus tail is the whole network, at every legal cut."""

from __future__ import annotations

import time

import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from partition.data.images import load_photographs
from partition.data.real_inputs import picture_format
from partition.errors import ModelRunError
from partition.model import runtime as model_runtime
from partition.model.graph_file import load_graph
from partition.model.runtime import SplitRuntime, random_inputs

CATS = range(281, 286)
"""ImageNet classes: tabby, tiger cat, Persian, Siamese, Egyptian."""


@pytest.mark.parametrize("kind", ["Fail", "EPFail", "EngineError", "DeviceReset", "NotFound"])
def test_whatever_onnx_runtime_raises_becomes_an_error_of_this_package(
    tiny, image, monkeypatch, kind
):
    def fail(*_):
        raise getattr(ort_errors, kind)("TensorRT gave up")

    runtime = SplitRuntime(tiny)
    session = runtime._part((0, len(tiny.cuts) - 1)).placed.session
    monkeypatch.setattr(session, "run", fail)
    with pytest.raises(ModelRunError, match=f"{tiny.name} does not run: TensorRT gave up"):
        runtime.whole((image,))


def assert_split_equals_whole(folder, runtime, inputs):
    (whole,) = runtime.whole(inputs)
    for cut in folder.cuts:
        tensors = runtime.head(cut, inputs)
        batch = len(inputs[0])
        assert [t.shape for t in tensors] == [(batch, *shape[1:]) for shape in cut.shapes]
        error = np.abs(runtime.tail(cut, tensors)[0] - whole).max()
        assert error <= 1e-5 * np.abs(whole).max(), cut.name


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_head_and_tail_equal_the_whole_at_every_cut(tiny, runtime, batch):
    assert tiny.dynamic_batch
    assert_split_equals_whole(tiny, runtime, random_inputs(tiny, batch))


def test_real_network_splits_everywhere_and_knows_a_cat(lite0):
    photographs = load_photographs(None, picture_format(lite0))
    cat = next(photo for photo in photographs if photo.name == "chelsea.png").tensor
    runtime = SplitRuntime(lite0)
    assert_split_equals_whole(lite0, runtime, (cat,))
    assert int(runtime.whole((cat,))[0].argmax()) in CATS


def test_blocks_chain_to_the_whole(tiny, runtime, image):
    tensors = (image,)
    for start, end in zip(tiny.cuts, tiny.cuts[1:], strict=False):
        tensors = runtime.between(start, end, tensors)
    np.testing.assert_allclose(tensors[0], runtime.whole((image,))[0], rtol=1e-4, atol=1e-6)


def test_a_side_is_cut_once(tiny, image):
    runtime = SplitRuntime(tiny)
    runtime.head(tiny.cuts[2], (image,))
    parts = dict(runtime._parts)
    runtime.head(tiny.cuts[2], (image,))
    assert dict(runtime._parts) == parts


def test_only_the_weights_of_the_side_in_use_are_loaded(tiny, image):
    edge, cloud = SplitRuntime(tiny), SplitRuntime(tiny)
    point = tiny.split_points[2]
    cloud.tail(point, edge.head(point, (image,)))
    # Scalars that several kernels share are counted for each, shapes and indices for none.
    assert abs(edge.held_param_bytes - point.head.param_bytes) <= 64
    assert abs(cloud.held_param_bytes - point.tail.param_bytes) <= 64
    edge.release()
    assert edge.held_param_bytes == 0


def test_switching_to_a_warm_cut_takes_no_time(tiny):
    runtime = SplitRuntime(tiny)
    keys = [(0, i) for i in range(1, len(tiny.cuts))]
    for key in keys:
        runtime._part(key)
    start_s = time.perf_counter()
    for key in keys:
        runtime._part(key)
    assert (time.perf_counter() - start_s) / len(keys) < 1e-3


def test_a_wrong_number_of_tensors_is_an_error(tiny, runtime, image):
    with pytest.raises(ValueError, match="zip"):
        runtime.tail(tiny.cuts[2], (image, image))


def test_a_graph_that_was_let_go_is_read_for_a_part_and_not_kept(tiny, image, monkeypatch):
    runtime, read = SplitRuntime(tiny), []

    def noted(folder):
        read.append(folder)
        return load_graph(folder)

    monkeypatch.setattr(model_runtime, "load_graph", noted)
    runtime.head(tiny.cuts[1], (image,))
    assert not read
    runtime.forget_graph()
    for cut in tiny.cuts[2:4]:
        runtime.head(cut, (image,))
        assert runtime._graph is None
    assert len(read) == 2
