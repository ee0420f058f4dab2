"""Memory is used again, and never while somebody reads it."""

from __future__ import annotations

import threading

import numpy as np

from partition.codec.codec import Codec


def ramp(offset: float) -> np.ndarray:
    return (np.arange(2 * 64, dtype=np.float32) + offset).reshape(1, 2, 8, 8)


def test_memory_is_used_again_once_nobody_holds_it():
    codec = Codec()
    first = codec.encode(ramp(0)).payload.ctypes.data
    assert codec.encode(ramp(1)).payload.ctypes.data == first
    first = codec.decode(codec.encode(ramp(0))).ctypes.data
    assert codec.decode(codec.encode(ramp(1))).ctypes.data == first


def test_two_tensors_of_one_shape_do_not_share_memory():
    codec = Codec()
    encoded = [codec.encode(ramp(100 * i)) for i in range(20)]
    for i, one in enumerate(encoded):
        np.testing.assert_allclose(codec.decode(one), ramp(100 * i), atol=0.3)


def test_a_view_or_a_buffer_keeps_memory_in_use():
    codec = Codec()
    for hold in (
        lambda e: e.payload[0],
        lambda e: e.payload.reshape(-1).data,
        lambda e: e.scale,
        lambda e: e,
    ):
        encoded = codec.encode(ramp(0))
        address, held = encoded.payload.ctypes.data, hold(encoded)
        del encoded
        assert codec.encode(ramp(1)).payload.ctypes.data != address
        del held


def test_memory_kept_is_bounded():
    codec = Codec()
    for size in range(100):
        codec.decode(codec.encode(np.ones((1, 4, 1024, 64 + size), np.float32)))
        codec.encode(np.ones((1, 1 + size), np.float32))
    for pool in (codec._encoded, codec._decoded):
        assert len(pool._kept) <= pool._MAX_SHAPES
        kept = [made.watched[-1].nbytes for all_of in pool._kept.values() for made, _ in all_of]
        assert sum(kept) <= pool._kept_bytes <= pool._MAX_BYTES


def test_threads_do_not_get_each_others_memory():
    codec = Codec()
    wrong = []

    def work(offset: float) -> None:
        expected = Codec(8, None).decode(Codec(8, None).encode(ramp(offset))).copy()
        for _ in range(500):
            if not np.array_equal(codec.decode(codec.encode(ramp(offset))), expected):
                wrong.append(offset)

    threads = [threading.Thread(target=work, args=(1000.0 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
