"""Round trips of the feature codec."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partition.codec.codec import Codec, encoded_bytes, group_count
from partition.codec.encoded import payload_shape
from partition.codec.outliers import Outliers
from partition.errors import WireError
from partition.transport import wire

SHAPES = st.one_of(
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(500, 1100)),
)
TENSORS = hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e4, 1e4, width=32))
ANY_TENSORS = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32), fill=st.just(1.0))
BITS = pytest.mark.parametrize("bits", [8, 4])


@st.composite
def channel_lists(draw, n_channels):
    kept = draw(st.sets(st.integers(0, n_channels - 1), min_size=1))
    return np.array(sorted(kept), np.uint16)


@BITS
@settings(max_examples=100)
@given(tensor=TENSORS)
def test_error_is_at_most_half_a_level(tensor, bits):
    codec = Codec(bits)
    encoded = codec.encode(tensor)
    scale = np.repeat(encoded.scale, tensor.size // len(encoded.scale)).reshape(tensor.shape)
    decoded = codec.decode(encoded)
    rounding = 1e-5 * np.abs(tensor).max() + 3.1e-36
    assert (np.abs(decoded - tensor) <= 0.5 * scale * (1 + 1e-3) + rounding).all()
    assert encoded.payload.dtype == np.uint8
    assert encoded.payload.shape == payload_shape(tensor.shape, bits)
    assert decoded.shape == tensor.shape


def reference(tensor, bits):
    """Levels, scales and zeros, value by value; None where there are none."""
    top = np.float32((1 << bits) - 1)
    rows = tensor.reshape(group_count(tensor.shape), -1)
    codes, scales, zeros = np.zeros(rows.shape, np.uint8), [], []
    for i, row in enumerate(rows):
        zero = row.min()
        scale = (row.max() - zero) / top
        if not np.isfinite(scale * top + zero):
            return None
        if scale < np.finfo(np.float32).tiny:
            scale = np.float32(0)
        else:
            per_level = np.float32(1) / scale
            codes[i] = [int((v - zero) * per_level + np.float32(0.5)) for v in row]
        scales.append(scale)
        zeros.append(zero)
    if bits == 4:
        codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
        codes = codes[:, 0::2] + 16 * codes[:, 1::2]
    return codes, scales, zeros


def without(tensor, outliers):
    """Outliers in place of the smallest of the others of their rows."""
    rows = tensor.reshape(group_count(tensor.shape), -1).copy()
    rows.reshape(-1)[outliers.positions] = np.inf
    return np.where(np.isinf(rows), rows.min(axis=1, keepdims=True), rows).reshape(tensor.shape)


@BITS
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the reference
@settings(max_examples=200)
@given(data=st.data(), tensor=ANY_TENSORS)
def test_levels_scales_and_zeros_are_those_of_the_format(data, tensor, bits):
    channels = data.draw(st.none() | channel_lists(tensor.shape[1]))
    kept = tensor if channels is None else tensor[:, channels]
    expected = reference(kept, bits)
    if expected is None:
        with pytest.raises(WireError):
            Codec(bits).encode(tensor, channels)
        return
    encoded = Codec(bits).encode(tensor, channels)
    if encoded.outliers is not None:
        expected = reference(without(kept, encoded.outliers), bits)
    for part, right in zip((encoded.payload, encoded.scale, encoded.zero), expected, strict=True):
        np.testing.assert_array_equal(part, right)


@pytest.mark.parametrize(
    ("bits", "digest"),
    [(8, "ecb974b4112451e0"), (4, "19613a2cf0d07163")],
)
def test_what_crosses_is_the_same_bytes_as_ever(bits, digest):
    tensor = np.random.default_rng(0).normal(size=(2, 5, 7, 7)).astype(np.float32)
    tensor[0, 3] = 1.5
    encoded = Codec(bits).encode(tensor, np.array([0, 1, 3], np.uint16))
    message = wire.pack_request(wire.Request("00" * 8, 1, (encoded, Codec(bits).encode(tensor))))
    tensors = message[24:]  # the header has another version and the request's number
    assert hashlib.sha256(tensors).hexdigest()[:16] == digest


def test_nothing_is_said_of_constant_or_far_values(recwarn):
    tensor = np.array([[0.0, 0.0], [2e38, 2.1e38], [-3e38, -3e38], [1e-40, 2e-40]], np.float32)
    encoded = Codec().encode(tensor)
    np.testing.assert_array_equal(Codec().decode(encoded)[[0, 2]], tensor[[0, 2]])
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(WireError, match="NaN"):
            Codec().encode(np.array([[0.0, bad]], np.float32))
    assert not recwarn.list


@BITS
@given(shape=SHAPES, value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_constant_tensor_survives_exactly(shape, value, bits):
    tensor = np.full(shape, value, np.float32)
    codec = Codec(bits)
    np.testing.assert_array_equal(codec.decode(codec.encode(tensor)), tensor)


def test_channels_and_samples_have_their_own_range():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    tensor = np.stack([ramp * 1e-3, ramp * 1e3, ramp, ramp]).reshape(2, 2, 8, 8)
    codec = Codec()
    error = np.abs(codec.decode(codec.encode(tensor)) - tensor)
    assert error[0, 0].max() < 1e-5
    assert error[1].max() < 1e-2
    np.testing.assert_array_equal(
        codec.encode(tensor).payload[2:], codec.encode(tensor[1:]).payload
    )


def test_channels_left_out_become_zero():
    tensor = np.random.default_rng(0).normal(size=(2, 6, 8, 8)).astype(np.float32)
    codec = Codec()
    channels = np.array([1, 4], np.uint16)
    encoded = codec.encode(tensor, channels)
    assert encoded.kept_shape == (2, 2, 8, 8)
    decoded = codec.decode(encoded)
    np.testing.assert_array_equal(decoded[:, [0, 2, 3, 5]], 0)
    np.testing.assert_array_equal(
        decoded[:, channels], codec.decode(codec.encode(tensor[:, channels]))
    )


@pytest.mark.parametrize("channels", [[], [6], [1, 1], [2, 1], [[0]]])
def test_a_list_of_channels_that_is_none_is_refused(channels):
    with pytest.raises(WireError, match="channels kept"):
        Codec().encode(np.zeros((1, 6, 8, 8), np.float32), np.array(channels, np.uint16))


def test_short_channels_share_one_scale():
    assert group_count((1, 1280, 1, 1)) == 1
    assert group_count((3, 1280)) == 3
    assert group_count((2, 192, 7, 7)) == 384
    assert encoded_bytes((1, 1280)) == 1280 + 8
    assert encoded_bytes((1, 1281), 4) == 641 + 8


def test_a_uint8_image_survives_within_half_a_grey_level():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32))
    tensor = ((pixels - 127) / 128).astype(np.float32)
    codec = Codec()
    decoded = codec.decode(codec.encode(tensor))
    np.testing.assert_array_equal(np.round(decoded * 128 + 127), pixels)


@BITS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -np.nan])
@pytest.mark.parametrize("n_values", [32, 49, 64, 65, 3136])
def test_a_value_that_is_not_finite_is_refused_wherever_it_is(bad, n_values, bits):
    codec = Codec(bits)
    for position in {0, 1, n_values // 2, n_values - 9, n_values - 1}:
        tensor = np.ones((1, 3, n_values), np.float32)
        tensor[0, 1, position] = bad
        with pytest.raises(WireError, match="NaN"):
            codec.encode(tensor)


def test_a_range_beyond_float32_is_refused():
    with pytest.raises(WireError):
        Codec().encode(np.array([[3e38, -3e38]], np.float32))


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((1, 8), np.float64),
        np.zeros(8, np.float32),
        np.zeros((1, 0, 4), np.float32),
        np.zeros((1,) * 7, np.float32),
    ],
)
def test_what_is_no_feature_map_is_refused(tensor):
    with pytest.raises(WireError, match="is not float32 or float16"):
        Codec().encode(tensor)


def test_other_numbers_of_bits_are_refused():
    with pytest.raises(WireError, match="choose 8 or 4"):
        Codec(6)


def test_a_tensor_with_other_strides_is_encoded_alike():
    tensor = np.random.default_rng(0).normal(size=(1, 8, 8, 4)).astype(np.float32)
    codec = Codec()
    view = tensor.transpose(0, 3, 1, 2)
    expected = codec.encode(np.ascontiguousarray(view)).payload
    np.testing.assert_array_equal(codec.encode(view).payload, expected)


def test_a_part_of_a_batch_can_be_decoded_in_place():
    tensor = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    codec = Codec()
    encoded = codec.encode(tensor)
    batch = np.empty((3, 4, 8, 8), np.float32)
    for i in range(3):
        codec.decode(encoded, out=batch[i : i + 1])
    np.testing.assert_array_equal(batch, np.repeat(codec.decode(encoded), 3, axis=0))
    for bad in (batch, batch[:1].astype(np.float64), batch[:1, ::-1]):
        with pytest.raises(WireError, match="cannot decode"):
            codec.decode(encoded, out=bad)


def outliers(positions, values=None):
    found = np.ones(len(positions)) if values is None else values
    return Outliers(np.array(positions, np.uint32), np.array(found, np.float32))


def test_parts_that_do_not_fit_each_other_are_refused():
    codec = Codec()
    encoded = codec.encode(np.ones((1, 2, 8, 8), np.float32))
    for wrong in (
        {"shape": (1, 2, 80, 80)},
        {"bits": 4},
        {"payload": encoded.payload[:, ::2]},
        {"scale": encoded.scale[:1]},
        {"zero": encoded.zero.astype(np.float64)},
        {"channels": np.array([0, 7], np.uint16)},
        {"dtype": np.dtype(np.float64)},
        {"outliers": outliers([0, 1, 2])},
        {"outliers": outliers([])},
        {"outliers": outliers([1, 0])},
        {"outliers": outliers([128])},
        {"outliers": outliers([0], [np.nan])},
        {"outliers": outliers([0], [1e5]), "dtype": np.dtype(np.float16)},
    ):
        with pytest.raises(WireError):
            codec.decode(replace(encoded, **wrong))


def test_numpy_is_left_as_it_was():
    before = np.getbufsize()
    Codec().encode(np.ones((1, 2, 8, 8), np.float32))
    assert np.getbufsize() == before
