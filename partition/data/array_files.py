"""Inputs of a network in numpy's files: `.npy` for one input, `.npz` with an array per input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partition import array_file
from partition.errors import SampleError
from partition.model.inputs import as_type
from partition.model.split_point import TensorSpec

Array = npt.NDArray[Any]
Sample = tuple[Array, ...]
"""An array per input of the network."""

SUFFIXES = (".npy", ".npz")


def read_samples(path: Path, specs: Sequence[TensorSpec]) -> list[Sample]:
    """The samples that a file holds, one per row of its arrays.

    An input of shape (1, ...) is a row of an array (rows, ...); of any other shape S the rows of
    an array (rows, *S). An array that is exactly one sample may leave the rows out, and stands for
    every row of the other inputs, as a sampling rate does. No Python object is read.

    Args:
        path: `.npy` where the network has one input, or `.npz` with the inputs' names.
        specs: of the network's inputs; a dimension of 0 takes any size, and a first one of 0 is the
            batch.

    Returns:
        At least one sample; its arrays have the type and dimensions of `specs`.

    Raises:
        SampleError: the file cannot be read, is too large, or does not fit the inputs.
    """
    arrays = _arrays(path, [spec.name for spec in specs])
    rows = [_rows(path, arrays[spec.name], spec) for spec in specs]
    n = max(map(len, rows), default=0)
    for spec, held in zip(specs, rows, strict=True):
        if len(held) not in (1, n) or not n:
            raise SampleError(
                f"{path} holds {len(held)} samples of input {spec.name!r} where another input has "
                f"{n}: give each as many rows, or one for all"
            )
    # Of a scalar a row is a number, and shall be an array as well.
    return [tuple(np.asarray(held[i if len(held) > 1 else 0]) for held in rows) for i in range(n)]


def _arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """The array of each input."""
    try:
        if path.suffix.lower() == ".npy":
            return {_only(path, names): array_file.read_array(path)}
        wanted = _names_within(path, names)
        found = array_file.read_arrays(path, list(wanted.values()))
    except (OSError, ValueError) as error:
        raise SampleError(
            f"{path} cannot be read as numpy's {'/'.join(SUFFIXES)} ({error}): write it again with "
            "numpy.save or numpy.savez, with fewer samples if it is large, without Python objects"
        ) from error
    return {name: found[key] for name, key in wanted.items()}


def _only(path: Path, names: Sequence[str]) -> str:
    if len(names) != 1:
        raise SampleError(
            f"{path} holds one array, the network takes {len(names)} inputs: write an .npz with "
            f"{', '.join(names)}"
        )
    return names[0]


def _names_within(path: Path, names: Sequence[str]) -> dict[str, str]:
    """What the file calls each input."""
    held = array_file.array_names(path)
    missing = [name for name in names if name not in held]
    if missing and len(names) == len(held) == 1:  # one array for one input needs no name
        return {names[0]: held[0]}
    if missing:
        raise SampleError(
            f"{path} holds {', '.join(held) or 'nothing'} but not input {missing[0]!r}: name its "
            f"arrays {', '.join(names)}"
        )
    return {name: name for name in names}


def _rows(path: Path, array: Array, spec: TensorSpec) -> Array:
    """The samples of one input, shape (rows, *spec.shape)."""
    shape, typed = spec.shape, _typed(path, array, spec)
    if _fits(array.shape[1:], shape) and array.ndim == len(shape) + 1:
        return typed
    has_batch = len(shape) > 0 and shape[0] in (0, 1)
    if has_batch and _fits(array.shape[1:], shape[1:]) and array.ndim == len(shape):
        return typed[:, None]
    if has_batch and _fits(array.shape, shape[1:]):
        return typed[None, None]
    if _fits(array.shape, shape):
        return typed[None]
    wanted = ", ".join(str(n or "any") for n in (shape[1:] if has_batch else shape))
    raise SampleError(
        f"{path} holds input {spec.name!r} of shape {array.shape}: the network takes rows of "
        f"({wanted})"
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        n == want or (want == 0 and n > 0) for n, want in zip(shape, wanted, strict=True)
    )


def _typed(path: Path, array: Array, spec: TensorSpec) -> Array:
    """The same numbers in the type that the network takes."""
    try:
        return as_type(array, np.dtype(spec.dtype))
    except ValueError as error:
        raise SampleError(
            f"{path} holds input {spec.name!r} not of the network's type ({error}): scale or "
            "convert it before it is written"
        ) from error
