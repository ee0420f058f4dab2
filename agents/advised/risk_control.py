"""Online control of a risk: caution that keeps the share of late requests at what was promised.

Online conformal risk control (Gibbs and Candes, NeurIPS 2021, arXiv 2106.00170; Feldman et al.,
TMLR 2023, arXiv 2205.09095): each late request makes the board a step more careful, each one in
time a little less, so that both balance where just the promised share is in time. Nothing is
assumed of what makes requests late.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats

CERTAIN = 1.0
"""Caution from which on the safest action is taken, whatever it costs."""
_LEAST, _MOST = -1.0, 2.0
"""Where it stays: below, no action is ruled out any more; above, more of it changes nothing. What
lies beyond `CERTAIN` counts requests that were late though decided on before. More room there would
keep a board at its safest for long after an outage that nothing could have helped."""
STEP = 0.02
"""That a late request adds, times the promised share. Its reciprocal is how many late requests the
learning may take. Larger steps find out sooner and swing more; it was not tuned."""


class RiskControl:
    """Caution of n boards.

    If no request that the safest action answers is late, then of the first T requests at most
    (1 - promise) T + 1 / STEP + D + 1 are, where D counts those on their way when caution reaches
    `CERTAIN`, up to 1 / STEP: those of a control step at 200 requests per second. Of any T requests
    in a row, before which caution may have come down to the least, 1 / STEP more.

    Attributes:
        caution: shape (n,); 0 takes the models at their word.
        is_broken: boards on which even the safest action is late too often, shape (n,): since
            caution was at the most, and until it is below `CERTAIN` again.
    """

    def __init__(self, promise: float, n: int) -> None:
        """Begin with what the models say.

        Args:
            promise: share of requests in time, in (0, 1).
            n: boards.

        Raises:
            ValueError: there is no such share.
        """
        if not 0.0 < promise < 1.0:
            raise ValueError(f"promise is {promise}, not a share between 0 and 1")
        self._allowed = 1.0 - promise
        self.caution: Floats = np.zeros(n)
        self.is_broken: NDArray[np.bool_] = np.zeros(n, dtype=bool)

    def account(self, asked: Floats, late: Floats) -> None:
        """Take in what became of requests.

        Args:
            asked: requests that ended, shape (n,).
            late: of these, the ones that were not answered in time.
        """
        moved = self.caution + STEP * (late - self._allowed * asked)
        self.caution = np.clip(moved, _LEAST, _MOST)
        self.is_broken = np.where(self.is_broken, self.caution >= CERTAIN, self.caution >= _MOST)
