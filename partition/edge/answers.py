"""Validation of answers: whether the network can have given one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.errors import CloudError
from partition.model.split_point import TensorSpec

logger = logging.getLogger(__name__)


class AnswerCheck:
    """Holds answers of a server against the network's outputs; reports when they begin to misfit.

    Args:
        address: of the server, to be named.
        outputs: of the network, for one sample.
    """

    def __init__(self, address: str, outputs: Sequence[TensorSpec]) -> None:
        self._address = address
        self._expected = tuple(outputs)
        self._guard = threading.Lock()
        self._misfits = self._told_not_finite = False

    def check(self, outputs: tuple[npt.NDArray[Any], ...]) -> None:
        """Refuse an answer that does not belong to the network, or holds NaN or infinity.

        Some networks give those rightly. That is for the board to find out, by its own answer.

        Raises:
            CloudError: it is such an answer.
        """
        fits = len(outputs) == len(self._expected) and all(
            spec.dtype == array.dtype.name and spec.fits(array.shape)
            for spec, array in zip(self._expected, outputs, strict=True)
        )
        if not fits:
            found = ", ".join(f"{array.dtype.name} {array.shape}" for array in outputs)
            expected = ", ".join(f"{spec.dtype} {spec.shape}" for spec in self._expected)
            raise self.refused(
                f"{self._address} answers {found} where the network gives {expected}: check what "
                "runs there"
            )
        with self._guard:
            is_news, self._misfits = self._misfits, False
        if is_news:
            logger.warning("%s answers as the network does again", self._address)
        if not all(np.isfinite(array).all() for array in outputs if array.dtype.kind == "f"):
            reason = f"the answer of {self._address} holds NaN or infinity"
            with self._guard:
                is_news, self._told_not_finite = not self._told_not_finite, True
            if is_news:
                logger.warning("%s: such requests are finished here", reason)
            raise CloudError(reason)

    def refused(self, reason: str) -> CloudError:
        """The exception for an answer that cannot be used; said when it is the first."""
        with self._guard:
            is_news, self._misfits = not self._misfits, True
        if is_news:
            logger.warning("%s: requests are finished here", reason)
        return CloudError(reason)
