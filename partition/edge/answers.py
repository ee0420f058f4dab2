"""Validation of answers: whether the network can have given one, and such numbers."""

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
        self._misfits = False

    def check(self, outputs: tuple[npt.NDArray[Any], ...]) -> None:
        """Refuse an answer whose number of outputs, shapes or types are not the network's.

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

    def refused(self, reason: str) -> CloudError:
        """The exception for an answer that cannot be used; said when it is the first."""
        with self._guard:
            is_news, self._misfits = not self._misfits, True
        if is_news:
            logger.warning("%s: requests are finished here", reason)
        return CloudError(reason)


class SpecialNumbers:
    """Which of NaN, inf and -inf a network gives, as its answers on this board show.

    Some networks give them rightly: the logarithm of 0, 0 / 0 in a padded row. From a server whose
    accelerator computes wrongly they come, too, and must not reach the application.
    """

    def __init__(self) -> None:
        self._usual: set[str] = set()
        self._told: set[str] = set()

    def learn(self, outputs: tuple[npt.NDArray[Any], ...]) -> None:
        """Take an answer of this board's own as right."""
        self._usual |= _special(outputs)

    def check(self, outputs: tuple[npt.NDArray[Any], ...]) -> None:
        """Refuse an answer from elsewhere with what no answer of this board's own has held.

        Raises:
            CloudError: it is such an answer.
        """
        strange = _special(outputs) - self._usual
        if not strange:
            return
        reason = f"the cloud's answer holds {' and '.join(sorted(strange))}, this board's had none"
        if strange - self._told:
            self._told |= strange
            logger.warning("%s: finished here", reason)
        raise CloudError(reason)


def _special(outputs: tuple[npt.NDArray[Any], ...]) -> set[str]:
    found: set[str] = set()
    for array in outputs:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            found |= {"NaN"} if np.isnan(array).any() else set()
            found |= {"inf"} if np.isposinf(array).any() else set()
            found |= {"-inf"} if np.isneginf(array).any() else set()
    return found
