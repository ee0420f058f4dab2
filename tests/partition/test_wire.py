"""Messages round trip, and nothing else passes."""

from __future__ import annotations

import contextlib
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partition import wire
from partition.codec import Int8Codec
from partition.errors import WireError

MODEL = "0123456789abcdef"


def make_request() -> wire.Request:
    tensor = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    return wire.Request(MODEL, 2, (Int8Codec().encode(tensor),))


def test_a_request_comes_back_as_it_went():
    request = make_request()
    message = wire.pack_request(request)
    back = wire.unpack_request(message)
    assert (back.fingerprint, back.split) == (MODEL, 2)
    (sent,), (received,) = request.tensors, back.tensors
    assert received.shape == sent.shape
    np.testing.assert_array_equal(received.payload, sent.payload)
    np.testing.assert_array_equal(received.scale, sent.scale)
    np.testing.assert_array_equal(received.zero, sent.zero)
    assert len(message) == wire.request_bytes((sent.shape,))


def test_a_reply_comes_back_as_it_went():
    logits = np.arange(10, dtype=np.float32)[None]
    back = wire.unpack_reply(wire.pack_reply(wire.Reply(logits, 0.25, 0.5, 3)))
    np.testing.assert_array_equal(back.logits, logits)
    assert (back.compute_s, back.load, back.queue) == (0.25, 0.5, 3)


def test_a_hello_comes_back_as_it_went():
    hello = wire.Hello(MODEL, MODEL[::-1])
    assert wire.unpack_hello(wire.pack_hello(hello)) == hello


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage):
    for unpack in (wire.unpack_request, wire.unpack_reply, wire.unpack_hello):
        with pytest.raises(WireError):
            unpack(garbage)


@given(st.data())
def test_a_truncated_or_padded_message_is_refused(data):
    message = wire.pack_request(make_request())
    size = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(WireError):
        wire.unpack_request(message[:size])
    with pytest.raises(WireError, match="too many"):
        wire.unpack_request(message + bytes(1 + size % 3))


@given(st.data())
def test_a_flipped_byte_raises_nothing_but_a_wire_error(data):
    message = bytearray(wire.pack_request(make_request()))
    position = data.draw(st.integers(0, 60))
    message[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(WireError):
        wire.unpack_request(bytes(message))


def test_a_message_of_another_version_or_kind_is_refused():
    message = bytearray(wire.pack_request(make_request()))
    with pytest.raises(WireError, match="kind"):
        wire.unpack_reply(bytes(message))
    message[4] = 9
    with pytest.raises(WireError, match="version 9"):
        wire.unpack_request(bytes(message))


@pytest.mark.parametrize("scale", [math.nan, math.inf, -1.0])
def test_a_scale_out_of_range_is_refused(scale):
    message = bytearray(wire.pack_request(make_request()))
    struct.pack_into("<f", message, len(message) - 4 * 64 - 4 * 8, scale)
    with pytest.raises(WireError, match="scale"):
        wire.unpack_request(bytes(message))


def test_a_huge_shape_is_refused_without_memory():
    message = bytearray(wire.pack_request(make_request()))
    struct.pack_into("<4I", message, len(message) - 4 * 64 - 4 * 8 - 16, *(2**32 - 1,) * 4)
    with pytest.raises(WireError, match="lacks"):
        wire.unpack_request(bytes(message))


def test_a_reply_out_of_range_is_refused():
    logits = np.full((1, 3), np.nan, np.float32)
    for reply in (
        wire.Reply(logits, 0.1, 0.1, 0),
        wire.Reply(np.zeros((1, 3), np.float32), -1.0, 0.1, 0),
        wire.Reply(np.zeros((1, 3), np.float32), 0.1, 1.5, 0),
    ):
        with pytest.raises(WireError, match="range"):
            wire.unpack_reply(wire.pack_reply(reply))


def test_an_oversized_message_is_refused(monkeypatch):
    monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", 100)
    with pytest.raises(WireError, match="over 100"):
        wire.unpack_request(wire.pack_request(make_request()))
