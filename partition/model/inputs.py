"""Inputs that a caller hands in, as the types that the network takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from partition.errors import WireError
from partition.model.folder import ModelFolder

Arrays = tuple[npt.NDArray[Any], ...]
_NUMBERS = "biuf"
"""Kinds of numpy's types: truths, whole numbers with and without sign, floating point."""


def as_inputs(folder: ModelFolder, inputs: tuple[Any, ...]) -> Arrays:
    """Arrays of the types that a network takes, as `as_type` makes them.

    Args:
        folder: the network.
        inputs: arrays, or what numpy makes an array of; shapes are not looked at.

    Raises:
        WireError: there are more or fewer than the network takes, or one holds what the network's
            type cannot.
    """
    dtypes = folder.cuts[0].dtypes
    if len(inputs) != len(dtypes):
        raise WireError(f"{len(inputs)} inputs for {folder.name}, it takes {len(dtypes)}")
    return tuple(
        _typed(x, np.dtype(dtype), i)
        for i, (x, dtype) in enumerate(zip(inputs, dtypes, strict=True))
    )


def as_type(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The same numbers in another type, in C order.

    Whole numbers and truths stay what they are, finite ones finite; rounding to fewer digits is
    fine, as from float64 to float32.

    Raises:
        ValueError: there are other things than numbers, or one that the type cannot hold.
    """
    if array.dtype == dtype:
        return np.asarray(array, order="C")
    if array.dtype.kind not in _NUMBERS or dtype.kind not in _NUMBERS:
        raise ValueError(f"values of {array.dtype} do not fit {dtype}")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            cast = np.asarray(array, dtype, order="C")
        fits = np.isfinite(cast) == np.isfinite(array)
    else:
        fits = _whole_within(array, *_range(dtype))
        cast = np.asarray(np.where(fits, array, 0), dtype, order="C")
    if not fits.all():
        raise ValueError(f"{array[~fits].flat[0]} of {array.dtype} does not fit {dtype}")
    return cast


def _whole_within(array: npt.NDArray[Any], low: int, high: int) -> npt.NDArray[np.bool_]:
    """Which numbers are whole and within a range, both ends included."""
    if array.dtype.kind == "b":
        return np.ones(array.shape, np.bool_)
    if array.dtype.kind != "f":
        return np.asarray((array >= low) & (array <= high))
    wide = np.asarray(array, np.float64)  # holds 2**64, which rounds to none beyond it
    with np.errstate(invalid="ignore"):
        return np.asarray((wide == np.trunc(wide)) & (wide >= low) & (wide < high + 1))


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _typed(x: Any, dtype: np.dtype[Any], position: int) -> npt.NDArray[Any]:
    """An input as the type of the network's.

    Raises:
        WireError: it is no array of numbers, or holds one that the type cannot.
    """
    if isinstance(x, np.ndarray) and x.dtype == dtype and x.flags.c_contiguous:
        return x
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise WireError(f"input {position} is no array ({error})") from error
    try:
        return as_type(array, dtype)
    except ValueError as error:
        raise WireError(
            f"input {position} is not of the network's type ({error}): scale or convert it first"
        ) from error
