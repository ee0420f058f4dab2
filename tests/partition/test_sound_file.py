"""Inputs out of sound files: every width, pieces, and one sentence about what does not fit."""

from __future__ import annotations

import os
import struct
import wave

import numpy as np
import pytest

from partition.data.sound_file import read_sound
from partition.errors import SampleError
from partition.model.split_point import TensorSpec

RATE_HZ = 8_000
SOUND = TensorSpec("audio", "float32", (1, 400))


def write(path, values, n_bytes=2, n_channels=1):
    """Numbers in -1..1, a row per channel."""
    numbers = np.round(np.asarray(values).T.reshape(-1) * (2 ** (8 * n_bytes - 1) - 1))
    with wave.open(str(path), "wb") as file:
        file.setparams((n_channels, n_bytes, RATE_HZ, 0, "NONE", ""))
        if n_bytes == 1:
            file.writeframes((numbers + 128).astype(np.uint8).tobytes())
        else:
            file.writeframes(b"".join(struct.pack("<i", int(n))[:n_bytes] for n in numbers))
    return path


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 4])
def test_every_width_gives_the_same_sound(tmp_path, n_bytes):
    values = np.sin(np.arange(1_000) / 7.0)
    samples = read_sound(write(tmp_path / "a.wav", values, n_bytes), [SOUND])
    assert [x.shape for (x,) in samples] == [(1, 400)] * 2
    assert {x.dtype for (x,) in samples} == {np.dtype("float32")}
    found = np.concatenate([x[0] for (x,) in samples])
    np.testing.assert_allclose(found, values[:800], atol=2.5 * 2.0 ** (1 - 8 * n_bytes) + 1e-7)


def test_channels_are_averaged(tmp_path):
    left, right = np.full(400, 0.5), np.full(400, -0.25)
    ((x,),) = read_sound(write(tmp_path / "a.wav", [left, right], n_channels=2), [SOUND])
    np.testing.assert_allclose(x, 0.125, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((0, 400), (1, 400)),
        ((400,), (400,)),
        ((1, 1, 400), (1, 1, 400)),
        ((0, 400, 1), (1, 400, 1)),
        ((0, 0), (1, RATE_HZ)),
        ((0,), (RATE_HZ,)),
    ],
)
def test_pieces_have_the_network_s_shape(tmp_path, shape, found):
    path = write(tmp_path / "a.wav", np.zeros(RATE_HZ))
    samples = read_sound(path, [TensorSpec("audio", "float16", shape)])
    assert samples[0][0].shape == found
    assert samples[0][0].dtype == np.float16


@pytest.mark.parametrize(
    "specs",
    [
        [TensorSpec("image", "float32", (1, 3, 224, 224))],
        [TensorSpec("features", "float32", (1, 80, 0))],
        [TensorSpec("row", "float32", (1, 10))],
        [TensorSpec("tokens", "int64", (1, 0))],
        [SOUND, TensorSpec("sr", "int64", ())],
    ],
)
def test_what_takes_no_sound_is_told(tmp_path, specs):
    path = write(tmp_path / "a.wav", np.zeros(RATE_HZ))
    with pytest.raises(SampleError, match=r"does not take as it is: give a file of its inputs"):
        read_sound(path, specs)


def test_a_short_one_is_told(tmp_path):
    with pytest.raises(SampleError, match="holds 399 samples, the network takes 400 at once"):
        read_sound(write(tmp_path / "a.wav", np.zeros(399)), [SOUND])


def test_damaged_files_end_in_a_sentence(tmp_path):
    whole = write(tmp_path / "a.wav", np.sin(np.arange(900) / 7.0)).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "b.wav"
    told = []
    for draw in range(400):
        damaged = bytearray(whole[: rng.integers(len(whole))] if draw % 2 else whole)
        for at in rng.integers(min(len(damaged), 48), size=4) if damaged else ():
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            samples = read_sound(path, [SOUND])
        except SampleError as error:
            told.append(str(error))
        else:
            assert all(np.isfinite(x).all() for (x,) in samples)
    assert len(told) > 100
    assert all(sentence.startswith(f"{path} ") for sentence in told)


def test_a_pipe_ends_in_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(SampleError, match="no regular file"):
        read_sound(tmp_path / "a.wav", [SOUND])
