"""Reading numpy's files that may be damaged or made to do harm: `.npy` and `.npz`, no objects."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from common.regular_file import open_regular

Array = npt.NDArray[Any]

MAX_BYTES = 10**9
"""Of the arrays of one file, unpacked; a packed file may claim any size."""
_DAMAGE = (
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,  # a zip's packing that this Python does not know
    OverflowError,
    RuntimeError,  # an encrypted zip
    SyntaxError,
    TypeError,
    tokenize.TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise over damaged files, besides OSError and ValueError."""


def read_array(path: Path) -> Array:
    """The array of an `.npy` file.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is damaged, holds Python objects or more than `MAX_BYTES`.
    """
    with _opened(path) as file:
        _check_size(os.fstat(file.fileno()).st_size)
        return _array(file)


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an `.npz` file.

    Raises:
        OSError, ValueError: as in `read_array`.
    """
    with _opened(path) as file, zipfile.ZipFile(file) as packed:
        return list(_entries(packed))


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Arrays of an `.npz` file by name; others are not looked at.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: as in `read_array`, or there is no array of that name.
    """
    with _opened(path) as file, zipfile.ZipFile(file) as packed:
        entries = _entries(packed)
        if missing := [name for name in names if name not in entries]:
            raise ValueError(f"it holds no array {missing[0]!r}")
        _check_size(sum(entries[name].file_size for name in names))
        found = {}
        for name in names:
            with packed.open(entries[name]) as member:
                found[name] = _array(member)
        return found


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_regular(path) as file:
            yield file
    except _DAMAGE as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _entries(packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {entry.filename.removesuffix(".npy"): entry for entry in packed.infolist()}


def _array(file: Any) -> Array:
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise ValueError(
            f"it holds {n_bytes / 1e9:.1f} GB of arrays, more than the {MAX_BYTES / 1e9:g} GB that "
            "are read"
        )
