"""The compiled kernel of the feature codec: min, max and levels of a row in one go.

Why C and not numba: of 32 rows of 3136 values, C encodes in 1.4 times a memcpy and numba (0.68, the
same loops, which keep minimum and maximum out of vector registers there) in 3.0. numba also takes
208 MB of disk, 3 s to import and compile at each start, 125 MiB of memory, and has to follow each
release of numpy. The C file needs neither Python's nor numpy's headers: it is a plain shared
library, built when dvfo is installed (`build_backend.py`: by the machine's compiler, or where there
is none by the one in the wheel `ziglang`), and called through cffi (3 MiB), which finds an array's
address in 0.6 us where ctypes takes 4.8.

Where library or cffi are missing the codec runs in plain numpy, several times slower, and says so
once. `NAME` is what measurements should be labelled with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.codec.quantise import Float32Array, Uint8Array

try:
    import cffi
except ModuleNotFoundError:  # the base install, which only simulates
    cffi = None

_VERSION = 1
_LIBRARY = "_rows"
_DECLARATIONS = """
int dvfo_kernel_version(void);
int dvfo_quantise(const void *values, const void *rows, size_t n_rows, size_t n, int bits,
                  void *payload, void *scale, void *zero);
void dvfo_dequantise(const void *payload, const void *scale, const void *zero, const void *rows,
                     size_t n_rows, size_t n, int bits, void *out);
"""
_REMEDY = "install again (pip install --editable '.[edge]') for the compiled one"

Int32Array = npt.NDArray[np.int32]


class Kernel:
    """The library's two functions on numpy arrays, which must be C-contiguous.

    Shapes are the caller's to check: C does not. Arrays that are used again and again are passed
    by what `address` once returned; it keeps the array alive.
    """

    def __init__(self, library: Any, ffi: Any) -> None:
        self._quantise = library.dvfo_quantise
        self._dequantise = library.dvfo_dequantise
        self._null = ffi.NULL
        self.address: Callable[[npt.NDArray[Any]], Any] = ffi.from_buffer

    def quantise(
        self,
        values: Float32Array,
        rows: Int32Array | None,
        n_rows: int,
        n_values: int,
        bits: int,
        addresses: tuple[Any, Any, Any],
    ) -> bool:
        """Write levels, scales and zeros.

        Args:
            values: rows of `n_values`.
            rows: which rows of `values`, (n_rows,); None: the first ones.
            n_rows: rows to do.
            n_values: values of a row.
            bits: 8 or 4.
            addresses: of the payload, uint8 (n_rows, `quantise.row_bytes(n_values, bits)`), the
                scales and the zeros, float32 (n_rows,) each.

        Returns:
            Whether all values are finite and their range fits float32; else what was written
            means nothing.
        """
        where = self._null if rows is None else self.address(rows)
        return not self._quantise(self.address(values), where, n_rows, n_values, bits, *addresses)

    def dequantise(
        self,
        payload: Uint8Array,
        scale: Float32Array,
        zero: Float32Array,
        rows: Int32Array | None,
        n_values: int,
        bits: int,
        out: Float32Array,
    ) -> None:
        """Write the values of `len(scale)` rows to `out`, there to `rows` as in `quantise`."""
        address = self.address
        where = self._null if rows is None else address(rows)
        self._dequantise(
            address(payload),
            address(scale),
            address(zero),
            where,
            len(scale),
            n_values,
            bits,
            address(out),
        )


def load(folder: Path = Path(__file__).parent) -> Kernel | str:
    """The kernel in `folder`, or why there is none."""
    if cffi is None:
        return "package cffi is not installed"
    paths = [folder / (_LIBRARY + suffix) for suffix in EXTENSION_SUFFIXES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return f"{folder} holds no {_LIBRARY}{EXTENSION_SUFFIXES[0]}"
    ffi = cffi.FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        library = ffi.dlopen(str(path))
        found = library.dvfo_kernel_version()
    except (OSError, AttributeError) as error:
        return f"{path} cannot be loaded ({error})"
    if found != _VERSION:
        return f"{path} is version {found}, not {_VERSION}"
    return Kernel(library, ffi)


_loaded = load()
KERNEL = None if isinstance(_loaded, str) else _loaded
NAME = "numpy" if KERNEL is None else "compiled"
"""What encodes and decodes here."""


def warn_if_missing() -> None:
    """Say that the codec is slow here, and why; Python shows it once."""
    if isinstance(_loaded, str):
        warnings.warn(
            f"the feature codec runs in plain numpy, several times slower: {_loaded}; {_REMEDY}",
            RuntimeWarning,
            stacklevel=3,
        )
