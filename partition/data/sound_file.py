"""Inputs of a network out of sound: `.wav` files, cut into pieces as long as the network takes."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.regular_file import open_regular
from partition.array_file import MAX_BYTES
from partition.data.array_files import Sample
from partition.errors import SampleError
from partition.model.split_point import TensorSpec

SUFFIX = ".wav"
_SHORTEST = 64
"""Samples; of fewer in a row a network makes something else than sound."""
_BROKEN = (OSError, EOFError, ValueError, MemoryError, RuntimeError, wave.Error)
"""What is raised over damaged files."""


def read_sound(path: Path, specs: Sequence[TensorSpec]) -> list[Sample]:
    """Pieces of a recording one after the other, the rest that is shorter left out.

    Channels are averaged, the loudest possible sample is 1. A network that takes any length gets
    pieces of a second. Nothing is resampled: the rate has to be the network's.

    Args:
        path: of PCM.
        specs: of the network's inputs; a dimension of 0 takes any size.

    Raises:
        SampleError: the file cannot be read or is shorter than a piece, or the network does not
            take samples of sound and nothing else.
    """
    length = _length(specs)
    if length is None:
        raise SampleError(
            f"{path} is sound, which the network does not take as it is: give a file of its inputs "
            f"({', '.join(f'{spec.name} {spec.shape}' for spec in specs)}), .npy or .npz"
        )
    samples, rate_hz = _decoded(path)
    (spec,), length = specs, length or rate_hz
    n_pieces = len(samples) // length
    if not n_pieces:
        raise SampleError(
            f"{path} holds {len(samples)} samples, the network takes {length} at once: give a "
            "longer recording"
        )
    pieces = samples[: n_pieces * length].reshape(n_pieces, *_piece(spec.shape, length))
    return [(piece,) for piece in pieces.astype(spec.dtype)]


def _length(specs: Sequence[TensorSpec]) -> int | None:
    """Samples that a network takes at once, 0 for any number; None if it takes no sound."""
    if len(specs) != 1 or np.dtype(specs[0].dtype).kind != "f":
        return None
    shape = specs[0].shape
    rest = [n for n in (shape[1:] if len(shape) > 1 and shape[0] < 2 else shape) if n != 1]
    is_sound = len(rest) == 1 and (rest[0] == 0 or rest[0] >= _SHORTEST)
    return rest[0] if is_sound else None


def _piece(shape: tuple[int, ...], length: int) -> tuple[int, ...]:
    """Shape of one piece."""
    if len(shape) > 1 and shape[0] < 2:
        return 1, *(n if n == 1 else length for n in shape[1:])
    return tuple(n if n == 1 else length for n in shape)


def _decoded(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Samples in -1..1, and how many make a second."""
    try:
        with open_regular(path) as file, wave.open(file) as sound:
            n_bytes, n_channels = sound.getsampwidth(), sound.getnchannels()
            rate_hz, size = sound.getframerate(), sound.getnframes() * n_bytes * n_channels
            if size > MAX_BYTES or n_bytes > 4 or rate_hz < 1:
                raise ValueError(f"{size} bytes of {8 * n_bytes} bits at {rate_hz} Hz")
            packed = np.frombuffer(sound.readframes(sound.getnframes()), np.uint8)
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SampleError(
            f"{path} cannot be read as sound ({reason}): write it as 16-bit PCM, as ffmpeg does "
            "with -c:a pcm_s16le"
        ) from error
    frames = packed[: len(packed) // (n_bytes * n_channels) * n_bytes * n_channels]
    # The upper bytes of 32-bit integers, so that every width has the same scale.
    wide = np.zeros((len(frames) // n_bytes, 4), np.uint8)
    wide[:, 4 - n_bytes :] = frames.reshape(-1, n_bytes)
    if n_bytes == 1:
        wide[:, 3] ^= 0x80  # of one byte they have no sign
    values = wide.view("<i4").reshape(-1, n_channels).mean(axis=1) / 2.0**31
    return values.astype(np.float32), rate_hz
