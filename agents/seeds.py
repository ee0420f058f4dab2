"""Seeds of episodes, apart for each purpose: nothing is evaluated on what it was fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_HELD_OUT = 48
N_TRIED = 8
"""Search episodes on which a setting is tried."""
_HELD_OUT, _SEARCH = 0x0E7A1, 0x5EA2C


def seeds_for(purpose: int, seed: int, n: int) -> NDArray[np.uint64]:
    """Draw episode seeds that no other purpose draws."""
    return np.random.default_rng([purpose, seed]).integers(2**63, size=n).astype(np.uint64)


def held_out_seeds(seed: int, n: int = N_HELD_OUT) -> NDArray[np.uint64]:
    """Seeds of the episodes that nothing was trained or searched on."""
    return seeds_for(_HELD_OUT, seed, n)


def search_seeds(seed: int, n: int = 32) -> NDArray[np.uint64]:
    """Seeds of the episodes that searches are fitted to."""
    return seeds_for(_SEARCH, seed, n)
