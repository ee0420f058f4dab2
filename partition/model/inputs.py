"""Inputs that a caller hands in, as the types that the network takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from partition.errors import WireError
from partition.model.folder import ModelFolder

Arrays = tuple[npt.NDArray[Any], ...]


def as_inputs(folder: ModelFolder, inputs: tuple[Any, ...]) -> Arrays:
    """Arrays of the types that a network takes, none of their values another one.

    Rounding within a kind of numbers is fine, as from float64 to float32.

    Args:
        folder: the network.
        inputs: arrays, or what numpy makes an array of; shapes are not looked at.

    Raises:
        WireError: there are more or fewer than the network takes, or the type of one cannot become
            the network's without other values.
    """
    dtypes = folder.cuts[0].dtypes
    if len(inputs) != len(dtypes):
        raise WireError(f"{len(inputs)} inputs for {folder.name}, it takes {len(dtypes)}")
    return tuple(
        _cast(x, np.dtype(dtype), i)
        for i, (x, dtype) in enumerate(zip(inputs, dtypes, strict=True))
    )


def _cast(x: Any, dtype: np.dtype[Any], position: int) -> npt.NDArray[Any]:
    """An input as the type of the network's.

    Raises:
        WireError: it has another kind, or values beyond the type's.
    """
    if isinstance(x, np.ndarray) and x.dtype == dtype and x.flags.c_contiguous:
        return x
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise WireError(f"input {position} is no array ({error})") from error
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise WireError(
            f"input {position} is of {array.dtype}, the network takes {dtype}: convert it first"
        )
    with np.errstate(over="ignore"):
        cast = np.asarray(array, dtype, order="C")
    if array.dtype != dtype and not _kept(array, cast):
        raise WireError(
            f"input {position} of {array.dtype} holds values beyond {dtype}, which the network "
            "takes: scale or check it first"
        )
    return cast


def _kept(array: npt.NDArray[Any], cast: npt.NDArray[Any]) -> bool:
    """Whether whole numbers are the same after a cast, and finite ones still finite."""
    if cast.dtype.kind != "f":
        return bool((array == cast).all())
    if array.dtype.kind != "f":
        return bool(np.isfinite(cast).all())
    return bool((np.isfinite(array) == np.isfinite(cast)).all())
