"""Results whose memory is used again once nobody holds them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

_T = TypeVar("_T")
_U = TypeVar("_U")


@dataclass(frozen=True)
class Made(Generic[_T, _U]):
    """What a pool's maker gives back."""

    result: _T
    """Handed out."""
    beside: _U
    """Handed out with it: whatever belongs to it."""
    watched: tuple[Any, ...]
    """The result and the arrays in it: while anything else refers to one, it is in use."""


class Pool(Generic[_T, _U]):
    """Hands out results by shape; may be shared by threads.

    A numpy view refers to the array it was taken from, so that whatever still reads the memory is
    counted (CPython up to 3.13; counts only ever err towards fresh memory).

    Args:
        make: builds a result of a shape.
    """

    _MAX_PER_SHAPE = 8
    _MAX_SHAPES = 64
    _MAX_BYTES = 64 * 2**20

    def __init__(self, make: Callable[[tuple[int, ...]], Made[_T, _U]]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._kept: dict[tuple[int, ...], list[tuple[Made[_T, _U], list[int]]]] = {}
        self._kept_bytes = 0

    def take(self, shape: tuple[int, ...]) -> tuple[_T, _U]:
        """A result of `shape` with arbitrary content, and what belongs to it."""
        with self._guard:
            for made, at_rest in self._kept.get(shape, ()):
                if [sys.getrefcount(part) for part in made.watched] == at_rest:
                    # The new tuple refers to the result before the guard is released.
                    return (made.result, made.beside)
            made = self._make(shape)
            self._keep(shape, made)
            return (made.result, made.beside)

    def _keep(self, shape: tuple[int, ...], made: Made[_T, _U]) -> None:
        size = sum(part.nbytes for part in made.watched if isinstance(part, np.ndarray))
        if len(self._kept.get(shape, ())) == self._MAX_PER_SHAPE or size > self._MAX_BYTES:
            return
        if self._kept_bytes + size > self._MAX_BYTES or len(self._kept) == self._MAX_SHAPES:
            self._kept.clear()
            self._kept_bytes = 0
        at_rest = [sys.getrefcount(part) for part in made.watched]
        self._kept.setdefault(shape, []).append((made, at_rest))
        self._kept_bytes += size
