"""Layers of a small network as arrays, and their names in a policy's folder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weight, shape (n_out, n_in), and bias, shape (n_out,), of each layer, the first one first."""


def named(layers: Layers) -> dict[str, NDArray[Any]]:
    """Arrays by name: `0.weight`, `0.bias`, `1.weight`, .."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, (weight, bias) in enumerate(layers):
        arrays |= {f"{number}.weight": weight, f"{number}.bias": bias}
    return arrays


def from_named(arrays: dict[str, NDArray[Any]]) -> Layers:
    """Undo `named`, of arrays among which there may be others.

    Raises:
        KeyError: a layer or a part of one is missing.
        ValueError: an array is not of float32, or a bias does not fit to its weight.
    """
    n_layers = sum(name.endswith(".weight") for name in arrays)
    parts = ((arrays[f"{i}.weight"], arrays[f"{i}.bias"]) for i in range(n_layers))
    layers = [(np.asarray(weight), np.asarray(bias)) for weight, bias in parts]
    for weight, bias in layers:
        if weight.dtype != np.float32 or bias.dtype != np.float32:
            raise ValueError(f"a layer is {weight.dtype} and {bias.dtype}, expected float32")
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(f"a layer has shape {weight.shape}, its bias {bias.shape}")
    return layers
