"""Jump processes: on and off, and values that every control step draws again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta

from common.schema import Table
from envs.arrays import Floats


class OnOff(Table, frozen=True, kw_only=True):
    """A two-state Markov chain.

    Attributes:
        share: of the time that it is on, 0..1.
        mean_s: mean duration of an "on".
    """

    share: Annotated[float, Meta(ge=0.0, le=0.99)]
    mean_s: Annotated[float, Meta(ge=0.01, le=1e6)]

    def states(self, uniform: Floats, step_s: float) -> Floats:
        """Turn uniform numbers of shape (n_steps, ...) into states, 1 on and 0 off, same shape."""
        stops = min(step_s / self.mean_s, 1.0)
        starts = min(stops * self.share / (1.0 - self.share), 1.0)
        states = np.empty_like(uniform)
        states[0] = uniform[0] < self.share
        for t in range(1, len(uniform)):
            states[t] = uniform[t] < np.where(states[t - 1] > 0.0, 1.0 - stops, starts)
        return states


@dataclass(frozen=True, kw_only=True, slots=True)
class Weibull:
    """Independent values of a shifted Weibull distribution; shape 1 is exponential.

    Attributes:
        low: smallest value.
        scale: of what is added to it.
        shape: of its distribution.
    """

    low: float
    scale: float
    shape: float

    def values(self, uniform: Floats) -> Floats:
        """Turn uniform numbers in [0, 1) into values."""
        added: Floats = self.scale * (-np.log1p(-uniform)) ** (1.0 / self.shape)
        return self.low + added
