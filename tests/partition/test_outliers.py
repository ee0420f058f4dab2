"""Few values far from all others: they survive, and so do the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partition.codec import quantise
from partition.codec.codec import Codec
from partition.codec.encoded import most_outliers
from partition.codec.message_sizes import request_bytes
from partition.transport import wire

BITS = pytest.mark.parametrize("bits", [8, 4])
MODEL = "0" * 16


def normal(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def coded(tensor, bits):
    codec = Codec(bits)
    return codec.decode(codec.encode(tensor))


def rms(error):
    return float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))


@BITS
@pytest.mark.parametrize("value", [30.0, 1e3, -1e6, 1e20, -1e37])
@pytest.mark.parametrize(
    "shape",
    [(1, 3, 32), (1, 192, 7, 7), (1, 80, 14, 14), (1, 40, 28, 28), (2, 5, 57, 57), (1, 1280)],
)
def test_one_in_every_channel_does_not_harm_the_others(shape, value, bits):
    tensor = normal(*shape)
    expected = rms(coded(tensor, bits) - tensor)
    far = tensor.copy()
    far.reshape(shape[0], 1 if len(shape) == 2 else shape[1], -1)[:, :, 11] = value
    found = coded(far, bits)
    is_far = far == np.float32(value)
    np.testing.assert_array_equal(found[is_far], far[is_far])
    assert rms((found - far)[~is_far]) < 1.1 * expected


@BITS
def test_tokens_with_a_few_massive_activations_of_both_signs(bits):
    tokens = normal(1, 197, 768)
    expected = rms(coded(tokens, bits) - tokens)
    far = tokens.copy()
    far[..., 138], far[:, 0, 378], far[..., 600] = 60.0, -2500.0, -40.0
    found = coded(far, bits)
    is_far = far != tokens
    np.testing.assert_array_equal(found[is_far], far[is_far])
    assert rms((found - far)[~is_far]) < 1.1 * expected


@BITS
def test_an_outlier_of_outliers(bits):
    tensor = normal(1, 4, 40, 40)
    far = tensor.copy()
    far[0, :, 5, 5], far[0, :, 6, 6], far[0, :, 7, 7] = 1e12, -1e7, 3e3
    found = coded(far, bits)
    assert rms((found - far)[far == tensor]) < 1.1 * rms(coded(tensor, bits) - tensor)
    np.testing.assert_array_equal(found[far != tensor], far[far != tensor])


@BITS
@pytest.mark.parametrize("kind", ["normal", "uniform", "rectified", "sparse", "photograph"])
def test_ordinary_tensors_have_none(kind, bits):
    tensor = normal(1, 24, 56, 56)
    made = {
        "normal": tensor,
        "uniform": np.random.default_rng(0).random(tensor.shape).astype(np.float32),
        "rectified": np.clip(tensor, 0, 6),
        "sparse": np.where(tensor > 3.4, tensor, 0).astype(np.float32),
        "photograph": np.cumsum(tensor, axis=3),
    }[kind]
    assert Codec(bits).encode(made).outliers is None


@BITS
def test_zeros_are_exact_without_setting_a_peak_aside(bits):
    tensor = np.zeros((1, 8, 14, 14), np.float32)
    tensor[0, :, 3, 3] = 7.0
    assert Codec(bits).encode(tensor).outliers is None
    np.testing.assert_array_equal(coded(tensor, bits), tensor)


@BITS
@settings(max_examples=100)
@given(
    tensor=hnp.arrays(
        np.float32,
        st.sampled_from([(1, 2, 8, 8), (2, 3, 20, 20), (1, 600), (1, 5, 33), (3, 40)]),
        elements=st.sampled_from([0.0, 0.25, 1.0, -1.5, 900.0, -1e6, 1e30]),
        fill=st.sampled_from([0.0, 0.25, 1.0]),
    )
)
def test_a_message_grows_by_eight_bytes_each_and_by_so_many_at_most(tensor, bits):
    encoded = Codec(bits).encode(tensor)
    n = 0 if encoded.outliers is None else len(encoded.outliers.positions)
    assert n <= most_outliers(tensor.shape)
    message = wire.pack_request(wire.Request(MODEL, 0, (encoded,)))
    assert len(message) == request_bytes((tensor.shape,), bits) + 8 * n
    (received,) = wire.unpack_request(message).tensors
    decoded = Codec().decode(received)
    level = np.repeat(encoded.scale, tensor.size // len(encoded.scale)).reshape(tensor.shape)
    assert (np.abs(decoded - tensor) <= 0.501 * level + 1e-6 * np.abs(tensor)).all()


def test_each_sample_and_channel_has_its_own():
    tensor = normal(3, 4, 14, 14)
    tensor[1, 2, 3, 4] = 1e6
    together = coded(tensor, 8)
    for i in range(3):
        np.testing.assert_array_equal(together[i : i + 1], coded(tensor[i : i + 1], 8))
    some = np.array([0, 2], np.uint16)
    codec = Codec(4)
    decoded = codec.decode(codec.encode(tensor, some))
    assert decoded[1, 2, 3, 4] == 1e6
    np.testing.assert_array_equal(decoded[:, some], coded(tensor[:, some], 4))


@BITS
@pytest.mark.parametrize("top", [1.0, 3e-5, 65504.0])
def test_float16_is_quantised_and_decodes_to_float16(top, bits):
    tensor = (top * np.random.default_rng(0).uniform(-1, 1, (2, 5, 9, 9))).astype(np.float16)
    tensor[0, 0, 0, :2] = top, -top
    encoded = Codec(bits).encode(tensor)
    decoded = Codec().decode(encoded)
    assert decoded.dtype == np.float16
    assert np.isfinite(decoded).all()
    level = encoded.scale.reshape(2, 5, 1, 1)
    error = np.abs(decoded.astype(np.float32) - tensor.astype(np.float32))
    assert (error <= 0.501 * level + 1e-3 * np.abs(tensor) + 6e-8).all()
    message = wire.pack_request(wire.Request(MODEL, 0, (encoded,)))
    assert len(message) == request_bytes((tensor.shape,), bits, ("float16",))
    assert len(message) == request_bytes((tensor.shape,), bits, ("float32",))


def test_an_outlier_in_float16_survives():
    tensor = normal(1, 4, 14, 14).astype(np.float16)
    tensor[0, :, 2, 2] = 65504
    found = coded(tensor, 8)
    np.testing.assert_array_equal(found[0, :, 2, 2], tensor[0, :, 2, 2])
    assert np.abs(found - tensor).max() < 0.02


@pytest.mark.parametrize("shape", [(1, 40, 28, 28), (1, 2, 100, 100)])
def test_an_older_numpy_finds_the_same(monkeypatch, shape):
    tensor = normal(*shape)
    tensor[0, :, 3, 5] = 1e4
    expected = Codec().encode(tensor)
    monkeypatch.setattr(quantise, "_dots", quantise._matrix_dots)
    found = Codec().encode(tensor)
    np.testing.assert_array_equal(found.payload, expected.payload)
    np.testing.assert_array_equal(found.outliers.positions, expected.outliers.positions)
    assert len(found.outliers.positions) == shape[1]
