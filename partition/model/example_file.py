"""Real inputs that a model folder keeps, for a network that made-up ones say little about.

`example.npz` holds an array per input, in their order, with a row per sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partition import array_file
from partition.errors import ModelFolderError
from partition.model.split_point import TensorSpec

EXAMPLE_FILE = "example.npz"
_MAX_BYTES = 2**24
"""Kept in a folder; one sample is kept whatever its size."""
_MAX_SAMPLES = 16

Sample = tuple[npt.NDArray[Any], ...]


def write(folder: Path, samples: Sequence[Sample]) -> None:
    """Keep the first few samples."""
    n_bytes = max(sum(array.nbytes for array in samples[0]), 1)
    kept = samples[: min(_MAX_SAMPLES, max(_MAX_BYTES // n_bytes, 1))]
    np.savez(folder / EXAMPLE_FILE, *(np.stack(arrays) for arrays in zip(*kept, strict=True)))


def read(folder: Path, inputs: Sequence[TensorSpec]) -> list[Sample]:
    """The samples of a folder; none if it keeps none.

    Raises:
        ModelFolderError: they cannot be read, or are not of these inputs.
    """
    path = folder / EXAMPLE_FILE
    if not path.is_file():
        return []
    try:
        held = array_file.read_arrays(path, [f"arr_{i}" for i in range(len(inputs))])
        arrays = list(held.values())
        for array, spec in zip(arrays, inputs, strict=True):
            found = array.shape[1:], str(array.dtype)
            if found != (spec.shape, spec.dtype) or not array.shape or not len(array):
                raise ValueError(f"{spec.name} is {array.dtype} {array.shape}")
        return [tuple(map(np.asarray, rows)) for rows in zip(*arrays, strict=True)]
    except (OSError, ValueError) as error:
        raise ModelFolderError(
            f"{path} is corrupt ({error}): run python -m partition.prepare --example again, or "
            "remove it"
        ) from error
