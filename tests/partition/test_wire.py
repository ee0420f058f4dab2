"""Messages round trip, and nothing else passes."""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from partition.codec.codec import Codec
from partition.codec.message_sizes import RAW_TYPES, request_bytes
from partition.errors import WireError
from partition.transport import wire, wire_tensors
from partition.transport.wire import Raw
from tests.partition import messages
from tests.partition.messages import MODEL

VALUES = 4 * 64
PARAMETERS = 2 * 4 * 4
FLAGS_AT = 8 + 16 + 2
"""Behind prefix and body, in the header of the first tensor."""
SHAPES = hnp.array_shapes(min_dims=2, max_dims=6, max_side=5)
DTYPES = st.sampled_from([np.dtype(name) for name in RAW_TYPES])
SEEDS = messages.packed()


@st.composite
def tensors(draw):
    if draw(st.booleans()):
        shape = draw(st.just(()) | hnp.array_shapes(max_dims=6, max_side=5))
        return Raw(draw(hnp.arrays(draw(DTYPES), shape)))
    shape = draw(SHAPES)
    dtype, most = draw(st.sampled_from([(np.float32, 1e6), (np.float16, 60000)]))
    width = 8 * np.dtype(dtype).itemsize
    tensor = draw(hnp.arrays(dtype, shape, elements=st.floats(-most, most, width=width)))
    kept = draw(st.sets(st.integers(0, shape[1] - 1)))
    channels = np.array(sorted(kept), np.uint16) if kept else None
    return Codec(draw(st.sampled_from([8, 4]))).encode(tensor, channels)


def fields(tensor):
    if isinstance(tensor, Raw):
        return (tensor.array.dtype.name, tensor.shape, tensor.array.tobytes())
    channels = None if tensor.channels is None else tensor.channels.tolist()
    arrays = [tensor.payload, tensor.scale, tensor.zero]
    if tensor.outliers is not None:
        arrays += [tensor.outliers.positions, tensor.outliers.values]
    parts = [array.tobytes() for array in arrays]
    return (tensor.shape, tensor.dtype.name, tensor.bits, channels, *parts)


@settings(max_examples=60)
@given(st.lists(tensors(), max_size=8), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_a_request_comes_back_as_it_went(sent, split, number):
    message = wire.pack_request(wire.Request(MODEL, split, tuple(sent), number))
    back = wire.unpack_request(message)
    assert (back.fingerprint, back.split, back.number) == (MODEL, split, number)
    assert [fields(tensor) for tensor in back.tensors] == [fields(tensor) for tensor in sent]
    assert messages.receive(message) == 1


@pytest.mark.parametrize("bits", [8, 4])
@given(shape=SHAPES)
def test_the_size_of_a_request_is_known_beforehand(shape, bits):
    tokens = Raw(np.zeros((1, 7), np.int64))
    request = wire.Request(MODEL, 0, (Codec(bits).encode(np.zeros(shape, np.float32)), tokens))
    expected = request_bytes((shape, (1, 7)), bits, ("float32", "int64"))
    assert len(wire.pack_request(request)) == expected


@pytest.mark.parametrize("dtype", RAW_TYPES)
@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 1, 5), (1, 3, 8, 8)])
@pytest.mark.parametrize("bits", [8, 4])
def test_every_type_crosses_and_takes_what_was_said(dtype, shape, bits):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    sent = wire.carried(np.asarray(array), Codec(bits))
    is_quantised = dtype in ("float32", "float16") and len(shape) > 1
    assert isinstance(sent, Raw) is not is_quantised
    message = wire.pack_request(wire.Request(MODEL, 0, (sent,)))
    assert len(message) == request_bytes((shape,), bits, (dtype,))
    (back,) = wire.unpack_request(message).tensors
    found = Codec().decode(back) if is_quantised else back.array
    assert (found.dtype, found.shape) == (array.dtype, shape)
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("scale", [500.0, 260.0])
def test_a_float16_tensor_that_would_decode_to_infinity_is_refused(scale):
    tensor = np.linspace(0, 65504, 256, dtype=np.float32).astype(np.float16).reshape(1, 4, 8, 8)
    message = bytearray(wire.pack_request(wire.Request(MODEL, 0, (Codec().encode(tensor),))))
    assert messages.receive(bytes(message)) == 1
    struct.pack_into("<f", message, len(message) - VALUES - PARAMETERS + 12, scale)
    with pytest.raises(WireError, match="finite numbers of float16"):
        wire.unpack_request(bytes(message))


@pytest.mark.parametrize(
    ("position", "value"), [(64, 1.0), (2**32 - 1, 1.0), (3, math.nan), (3, math.inf)]
)
def test_an_outlier_that_cannot_be_is_refused(position, value):
    tensor = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    tensor[0, 0, 0, 3] = 1e6
    message = bytearray(wire.pack_request(wire.Request(MODEL, 0, (Codec().encode(tensor),))))
    at = len(message) - 64 - 8
    assert struct.unpack_from("<If", message, at) == (3, 1e6)
    struct.pack_into("<If", message, at, position, value)
    with pytest.raises(WireError, match="outlier"):
        wire.unpack_request(bytes(message))


def test_more_outliers_than_may_be_are_refused_before_they_are_read():
    message = bytearray(wire.pack_request(messages.request()))
    struct.pack_into("<I", message, FLAGS_AT + 34, 2**31)
    with pytest.raises(WireError, match="2147483648 outliers: up to 4 may be"):
        wire.unpack_request(bytes(message))


def test_a_quantised_scalar_is_refused():
    message = bytearray(
        wire.pack_request(wire.Request(MODEL, 0, (Raw(np.array(1.0, np.float32)),)))
    )
    message[FLAGS_AT - 2] = 1  # int8
    with pytest.raises(WireError, match=r"tensor of type 1, flags 0 and shape \(\)"):
        wire.unpack_request(bytes(message))


def test_arrays_are_aligned_views_of_the_message():
    message = wire.pack_request(wire.Request(MODEL, 0, messages.requests()[-2].tensors))
    for tensor in wire.unpack_request(message).tensors:
        arrays = [tensor.array] if isinstance(tensor, Raw) else [tensor.payload, tensor.scale]
        for array in arrays:
            assert array.flags.aligned
            assert not array.flags.owndata


def test_a_reply_comes_back_as_it_went():
    for sent in messages.replies():
        back = wire.unpack_reply(wire.pack_reply(sent))
        for ours, theirs in zip(sent.outputs, back.outputs, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        assert (back.compute_s, back.queue) == (sent.compute_s, sent.queue)
        assert back.number == sent.number
        assert back.load == np.float32(sent.load)


def test_a_hello_comes_back_as_it_went():
    hello = wire.Hello(MODEL, MODEL[::-1])
    assert wire.unpack_hello(wire.pack_hello(hello)) == hello


@pytest.mark.parametrize("message", SEEDS)
def test_a_message_is_taken_for_its_kind_only(message):
    assert messages.receive(message) == 1


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage):
    for unpack in (wire.unpack_request, wire.unpack_reply, wire.unpack_hello):
        with pytest.raises(WireError):
            unpack(garbage)


@given(st.data())
def test_a_truncated_or_padded_message_is_refused(data):
    message = data.draw(st.sampled_from(SEEDS))
    size = data.draw(st.integers(0, len(message) - 1))
    assert messages.receive(message[:size]) == 0
    assert messages.receive(message + bytes(1 + size % 3)) == 0


@settings(max_examples=500)
@given(st.data())
def test_changed_bytes_raise_nothing_but_a_wire_error(data):
    message = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(len(message), 120) - 1))
        message[position] = data.draw(st.integers(0, 255))
    messages.receive(bytes(message))


def test_a_message_of_another_version_or_kind_is_refused():
    message = bytearray(wire.pack_request(messages.request()))
    with pytest.raises(WireError, match="kind"):
        wire.unpack_reply(bytes(message))
    message[4] = 1
    with pytest.raises(WireError, match="version 1 of the protocol, this side speaks 4"):
        wire.unpack_request(bytes(message))


@pytest.mark.parametrize("flags", [1, 3])
def test_a_payload_that_an_older_version_compressed_is_refused_in_one_sentence(flags):
    message = bytearray(wire.pack_request(messages.request()))
    message[FLAGS_AT] = flags
    with pytest.raises(WireError, match=r"compressed with zstd.*the same version on both sides"):
        wire.unpack_request(bytes(message))


@pytest.mark.parametrize("scale", [math.nan, math.inf, -1.0, 3e38])
def test_a_scale_out_of_range_is_refused(scale):
    message = bytearray(wire.pack_request(messages.request()))
    struct.pack_into("<f", message, len(message) - VALUES - PARAMETERS, scale)
    with pytest.raises(WireError, match="scale"):
        wire.unpack_request(bytes(message))


def test_a_huge_shape_is_refused_without_memory():
    message = bytearray(wire.pack_request(messages.request()))
    shape_at = len(message) - VALUES - PARAMETERS - 4 - 6 * 4
    for shape in ((2**32 - 1,) * 4, (1, 2**26 + 1, 1, 1), (1, 4, 8, 9)):
        struct.pack_into("<4I", message, shape_at, *shape)
        with pytest.raises(WireError, match=r"values|bytes"):
            wire.unpack_request(bytes(message))


def test_tensors_share_the_bound_on_values(monkeypatch):
    message = wire.pack_request(replace(messages.request(), tensors=messages.request().tensors * 2))
    wire.unpack_request(message)
    monkeypatch.setattr(wire_tensors, "MAX_VALUES", 2 * VALUES - 1)
    with pytest.raises(WireError, match="beyond"):
        wire.unpack_request(message)


def test_channels_left_out_cannot_ask_for_more_than_the_bound(monkeypatch):
    tensor = np.ones((1, 1000, 8, 8), np.float32)
    encoded = Codec().encode(tensor, np.array([7], np.uint16))
    message = wire.pack_request(wire.Request(MODEL, 0, (encoded,)))
    assert len(message) < 200
    monkeypatch.setattr(wire_tensors, "MAX_VALUES", 63_999)
    with pytest.raises(WireError, match="beyond"):
        wire.unpack_request(message)


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, object, ">f4"])
def test_an_array_of_another_type_is_refused(dtype):
    with pytest.raises(WireError, match="a message carries float32"):
        wire.pack_request(wire.Request(MODEL, 0, (Raw(np.zeros((1, 2), dtype)),)))


@pytest.mark.parametrize("name", ["complex64", "bfloat16", "object"])
def test_a_message_with_another_type_has_no_size(name):
    with pytest.raises(WireError, match="a message carries float32"):
        request_bytes(((1, 2),), dtypes=(name,))


def test_what_does_not_fit_is_refused_by_the_sender():
    encoded = messages.request().tensors[0]
    for request in (
        wire.Request(MODEL, 0, (encoded,) * 9),
        wire.Request(MODEL, 65536, ()),
        wire.Request(MODEL, 0, (), -1),
        wire.Request(MODEL, 0, (), 2**32),
        wire.Request(MODEL, 0, (Raw(np.zeros((0, 2**27), np.float32)),)),
        wire.Request(MODEL, 0, (Raw(np.zeros((1,) * 7, np.float32)),)),
    ):
        with pytest.raises(WireError):
            wire.pack_request(request)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_an_output_that_depends_on_the_data_may_be_empty(dtype):
    boxes, found = np.zeros((0, 4), dtype), np.ones((3, 1), dtype)
    reply = wire.unpack_reply(wire.pack_reply(wire.Reply((boxes, found), 0.0, 0.0, 0)))
    assert [output.shape for output in reply.outputs] == [(0, 4), (3, 1)]
    assert reply.outputs[0].dtype == dtype


def test_no_size_beside_an_empty_one_is_beyond_bounds():
    message = bytearray(wire.pack_reply(wire.Reply((np.zeros((0, 4), np.float32),), 0.0, 0.0, 0)))
    place = message.rindex((4).to_bytes(4, "little"))
    message[place : place + 4] = (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(WireError, match="beyond"):
        wire.unpack_reply(bytes(message))


def test_a_bool_is_0_or_1():
    message = bytearray(
        wire.pack_request(wire.Request(MODEL, 0, (Raw(np.ones((1, 8), np.bool_)),)))
    )
    message[-1] = 2
    with pytest.raises(WireError, match="bool"):
        wire.unpack_request(bytes(message))


def test_a_reply_out_of_range_is_refused():
    good = np.zeros((1, 3), np.float32)
    for reply in (
        wire.Reply((good,), -1.0, 0.1, 0),
        wire.Reply((good,), math.nan, 0.1, 0),
        wire.Reply((good,), 0.1, 1.5, 0),
    ):
        with pytest.raises(WireError, match="range"):
            wire.unpack_reply(wire.pack_reply(reply))
    with pytest.raises(WireError, match="no output"):
        wire.unpack_reply(wire.pack_reply(wire.Reply((), 0.1, 0.1, 0)))


def test_an_oversized_message_is_refused(monkeypatch):
    message = wire.pack_request(messages.request())
    monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", 100)
    with pytest.raises(WireError, match="over 100"):
        wire.unpack_request(message)
    with pytest.raises(WireError, match="over 100"):
        wire.pack_request(messages.request())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="atheris needs Python 3.11")
def test_a_coverage_guided_fuzzer_finds_nothing():
    pytest.importorskip("atheris")
    from benchmarks.fuzz_wire import fuzz

    outcome = fuzz(20_000, seed=2)
    assert outcome.runs == 20_000
    assert outcome.branches > 150
    assert outcome.plain_memory_mib[-1] - outcome.plain_memory_mib[4] < 2
