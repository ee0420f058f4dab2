"""Inputs that a network is run with while it is prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from partition.data.array_files import Array

Feeds = Mapping[str, Array]
"""Inputs by name."""


def made_up_input(value: onnx.ValueInfoProto) -> Array:
    """An input for one sample: normal numbers, bytes of any value, ones of other types."""
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in tensor.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    rng = np.random.default_rng(0)
    if dtype.kind == "f":
        return np.asarray(rng.normal(size=dims)).astype(dtype)
    if dtype in (np.uint8, np.int8):
        limits = np.iinfo(dtype)
        return np.asarray(rng.integers(limits.min, limits.max + 1, dims)).astype(dtype)
    return np.ones(dims, dtype)


def kind_of(array: Array) -> str:
    """What a made-up input holds, for a message."""
    if array.dtype.kind == "f":
        return "normal numbers"
    return "random bytes" if array.dtype.itemsize == 1 and array.dtype != np.bool_ else "ones"


def rows(samples: Sequence[Array], count: int) -> Array:
    """A batch of different samples, made of one or several of shape (1, ...).

    Args:
        samples: at least one.
        count: of the batch.
    """
    given = np.concatenate(samples[:count])
    missing = count - len(given)
    first = samples[0]
    if first.dtype.kind == "f":
        noise = np.random.default_rng(0).normal(size=(count, *first.shape[1:]))
        more = (first + noise).astype(first.dtype)
    else:
        more = np.concatenate([np.roll(first, i, -1) for i in range(count)])
    return np.concatenate([given, more[-missing:]]) if missing else given
