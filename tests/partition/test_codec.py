"""Round trips of the int8 codec."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partition.codec import Int8Codec, encoded_bytes, group_count
from partition.errors import WireError

SHAPES = st.one_of(
    st.tuples(st.just(1), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.just(1), st.integers(1, 40)),
)
TENSORS = hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e4, 1e4, width=32))


@settings(max_examples=200, deadline=None)
@given(TENSORS)
def test_error_is_at_most_half_a_level(tensor):
    codec = Int8Codec()
    encoded = codec.encode(tensor)
    scale = np.repeat(encoded.scale, tensor.size // len(encoded.scale)).reshape(tensor.shape)
    payload = encoded.payload.copy()
    decoded = codec.decode(encoded)
    rounding = 1e-5 * np.abs(tensor).max() + 3.1e-36
    assert (np.abs(decoded - tensor) <= 0.5 * scale * (1 + 1e-3) + rounding).all()
    assert payload.dtype == np.uint8
    assert decoded.shape == tensor.shape


@given(SHAPES, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_constant_tensor_survives_exactly(shape, value):
    tensor = np.full(shape, value, np.float32)
    codec = Int8Codec()
    np.testing.assert_array_equal(codec.decode(codec.encode(tensor)), tensor)


def test_channels_have_their_own_range():
    tensor = np.stack([np.linspace(0, 1e-3, 64), np.linspace(0, 1e3, 64)]).astype(np.float32)
    tensor = tensor.reshape(1, 2, 8, 8)
    codec = Int8Codec()
    decoded = codec.decode(codec.encode(tensor))
    assert np.abs(decoded - tensor)[0, 0].max() < 1e-5


def test_short_channels_share_one_scale():
    assert group_count((1, 1280, 1, 1)) == 1
    assert group_count((1, 1280)) == 1
    assert group_count((1, 192, 7, 7)) == 192
    assert encoded_bytes((1, 1280)) == 1280 + 8


def test_a_uint8_image_survives_within_half_a_grey_level():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32))
    tensor = ((pixels - 127) / 128).astype(np.float32)
    codec = Int8Codec()
    decoded = codec.decode(codec.encode(tensor))
    np.testing.assert_array_equal(np.round(decoded * 128 + 127), pixels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    tensor = np.zeros((1, 4, 8, 8), np.float32)
    tensor[0, 2, 3, 3] = bad
    with pytest.raises(WireError, match="NaN"):
        Int8Codec().encode(tensor)


def test_a_range_beyond_float32_is_refused():
    with pytest.raises(WireError):
        Int8Codec().encode(np.array([[3e38, -3e38]], np.float32))


def test_a_tensor_with_other_strides_is_encoded_alike():
    tensor = np.random.default_rng(0).normal(size=(1, 8, 8, 4)).astype(np.float32)
    codec = Int8Codec()
    view = tensor.transpose(0, 3, 1, 2)
    expected = codec.encode(np.ascontiguousarray(view)).payload.copy()
    np.testing.assert_array_equal(codec.encode(view).payload, expected)


def test_buffers_are_reused_and_numpy_is_left_as_it_was():
    codec = Int8Codec()
    tensor = np.ones((1, 2, 8, 8), np.float32)
    before = np.getbufsize()
    first, second = codec.encode(tensor), codec.encode(tensor)
    assert first.payload is second.payload
    assert np.getbufsize() == before
