"""Pseudo-random numbers that no version of a library draws otherwise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def scattered(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Multiples of 2**-24 within -0.5 and 0.5, by multiplicative hashing (Knuth)."""
    hashes = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(2654435761)
    parts = (hashes % np.uint64(2**24)).astype(np.float32)  # exact in float32
    return (parts / np.float32(2**24) - np.float32(0.5)).reshape(shape)
