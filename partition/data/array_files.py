"""Inputs of a network in numpy's files: `.npy` for one input, `.npz` with an array per input."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.errors import SampleError
from partition.model.split_point import TensorSpec

Array = npt.NDArray[Any]
Sample = tuple[Array, ...]
"""An array per input of the network."""

SUFFIXES = (".npy", ".npz")
MAX_BYTES = 10**9
"""Of the arrays of one file, unpacked; a packed file may claim any size."""
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,  # a zip's packing that this Python does not know
    RuntimeError,  # an encrypted zip
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise over damaged files."""


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
        if path.stat().st_size > MAX_BYTES:
            raise _too_large(path, path.stat().st_size)
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
            found = {names[0]: array} if len(names) == 1 else None
        else:
            found = _unpacked(path, names)
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SampleError(
            f"{path} cannot be read as numpy's {'/'.join(SUFFIXES)} ({reason}): write it again "
            "with numpy.save or numpy.savez, without Python objects"
        ) from error
    if found is None:
        raise SampleError(
            f"{path} holds one array, the network takes {len(names)} inputs: write an .npz with "
            f"{', '.join(names)}"
        )
    return found


def _unpacked(path: Path, names: Sequence[str]) -> dict[str, Array]:
    with zipfile.ZipFile(path) as packed:
        sizes = {
            entry.filename.removesuffix(".npy"): entry.file_size for entry in packed.infolist()
        }
    missing = [name for name in names if name not in sizes]
    if missing and len(names) == len(sizes) == 1:  # one array for one input needs no name
        (only,) = sizes
        wanted = {names[0]: only}
    elif missing:
        raise SampleError(
            f"{path} holds {', '.join(sizes) or 'nothing'} but not input {missing[0]!r}: name its "
            f"arrays {', '.join(names)}"
        )
    else:
        wanted = {name: name for name in names}
    total = sum(sizes[key] for key in wanted.values())
    if total > MAX_BYTES:
        raise _too_large(path, total)
    with np.load(path, allow_pickle=False) as loaded:
        return {name: np.asarray(loaded[key]) for name, key in wanted.items()}


def _too_large(path: Path, n_bytes: int) -> SampleError:
    return SampleError(
        f"{path} holds {n_bytes / 1e9:.1f} GB of arrays, more than the {MAX_BYTES / 1e9:g} GB that "
        "are read: give fewer samples"
    )


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
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.kind in "biuf" and wanted.kind in "biuf":
        with np.errstate(all="ignore"):
            cast = array.astype(wanted)
            # Rounding to fewer digits is no loss that counts; another number is.
            if wanted.kind == "f" or np.array_equal(cast.astype(array.dtype), array):
                return cast
    raise SampleError(
        f"{path} holds input {spec.name!r} in {array.dtype}, which {spec.dtype} cannot hold: the "
        f"network takes {spec.dtype}"
    )
