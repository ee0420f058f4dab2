"""What callers hand in becomes what the network takes, or is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.errors import DeadlineExceededError, WireError
from partition.model.inputs import as_inputs
from partition.stages.errors import StageError
from partition.stages.pipeline_driver import PipelineDriver


def taking(*dtypes):
    """A network that takes inputs of these types."""
    return SimpleNamespace(name="net", cuts=(SimpleNamespace(dtypes=dtypes),))


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.array([2**32 + 5]), "int32"),
        (np.array([-1]), "uint8"),
        (np.array([1.9]), "int32"),
        (np.array([np.nan]), "int64"),
        (np.array([2]), "bool"),
        (np.array([2**63], np.uint64), "int64"),
        (np.array([1e6]), "float16"),
        (np.array([70000]), "float16"),
        (np.array([-1]), "uint64"),
        (np.array([2.0**63]), "int64"),
        (np.array([2.0**64], np.float32), "uint64"),
        (np.array([True, False]) * 2.0, "bool"),
        (np.array(np.inf), "int8"),
    ],
)
def test_a_cast_never_gives_another_value(x, dtype):
    with pytest.raises(WireError, match=f"does not fit {dtype}"):
        as_inputs(taking(dtype), (x,))


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        ([1, 2], "int64"),
        (np.array([5, 6]), "int32"),
        (np.array([255], np.uint8), "float32"),
        (np.array([0.1, -np.inf]), "float32"),
        (np.array([True]), "int64"),
        (np.array([5.0, -7.0]), "int16"),
        (np.array([0, 1]), "bool"),
        (np.array([2**64 - 1], np.uint64), "float64"),
        (np.array([True]), "uint64"),
        (np.array([-1], np.int8), "int64"),
        (np.array(3, ">i4"), "uint64"),
        (np.array([np.nan, 65504.0]), "float16"),
    ],
)
def test_a_cast_that_keeps_the_values_is_made(x, dtype):
    (found,) = as_inputs(taking(dtype), (x,))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, x, 1e-7)


@pytest.mark.parametrize(
    "x", [np.array(3), np.ones((2, 3), np.int64), np.asfortranarray(np.ones((2, 3)))]
)
def test_a_shape_stays_as_it_is(x):
    (found,) = as_inputs(taking("int64" if x.dtype.kind == "i" else "float32"), (x,))
    assert found.shape == x.shape
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, x)


def test_nothing_is_copied_without_need():
    x = np.ones((2, 3), np.float32)
    assert as_inputs(taking("float32"), (x,))[0] is x


WRONG = [
    (np.full((1, 3, 64, 64), 1 + 2j), "complex128"),
    (np.full((1, 3, 64, 64), 1e39), "does not fit float32"),
    (np.full((1, 3, 64, 64), "1.0"), "<U3"),
    (None, "object"),
    ([[1.0], [1.0, 2.0]], "no array"),
]


@pytest.mark.parametrize(("x", "reason"), WRONG)
def test_a_pipeline_and_a_line_of_stages_refuse_them_as_well(tiny, runtime, x, reason):
    pipeline = SplitPipeline(tiny, runtime)
    with pytest.raises(WireError, match=f"input 0 .*{reason}"):
        pipeline.infer(x, Route(0), 1.0)
    with pytest.raises(WireError, match="2 inputs for tiny-cnn, it takes 1"):
        pipeline.infer((x, x), Route(0), 1.0)
    line = PipelineDriver(tiny, lambda: (), patience_s=0.0)
    with line, pytest.raises(StageError, match=f"input 0 .*{reason}"):
        list(line.run(iter([(x,)])))


def test_a_pipeline_takes_float64_pictures(tiny, runtime, image):
    result = SplitPipeline(tiny, runtime).infer(image.astype(np.float64), Route(0), 1.0)
    np.testing.assert_allclose(result.logits, runtime.whole((image,))[0], 1e-4, 1e-5)


def test_a_deadline_that_is_none_or_over_asks_nobody(tiny):
    with CloudClient("127.0.0.1:1", tiny) as client:
        for nonsense in (None, "soon", float("nan")):
            with pytest.raises(WireError, match="give seconds"):
                client.infer(tiny.split_points[0], (), nonsense)
        with pytest.raises(DeadlineExceededError, match="deadline of -2 s is over"):
            client.infer(tiny.split_points[0], (), -2)
