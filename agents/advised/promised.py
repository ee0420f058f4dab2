"""The policy of `advised`, held to a share of requests in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.advised.policy import CAUTION, Advised, Expected
from agents.advised.risk_control import CERTAIN, RiskControl
from agents.deciders.base import top_clocks
from agents.deciders.nominal import Actions, NominalModel
from agents.deciders.nominal_outcome import expect
from envs.arrays import Floats
from envs.plant import Indices, Plant, Readings
from envs.spaces import ObservationEncoder, Observations, observation_fields

DOUBT = 0.5
"""Caution up to which the models are asked for a larger share in time; beyond, for headroom."""
HEADROOM = 8.0
"""At the caution of `CERTAIN`, latency is to stay so many times below its target."""
_EQUAL = 1e-3
"""Shares in time that differ by less are the same; the lower latency counts then."""


class Promised:
    """Takes the best of the actions that are expected to keep a promise.

    What is asked of them grows with what `RiskControl` learns from late requests: up to `DOUBT` a
    larger share in time, as the models expect it; beyond, all in time, and headroom between the
    target and the latency that the promised share is expected not to exceed. Where no action is
    left, and where caution is `CERTAIN`, the safest one is taken, of the portfolio or of all routes
    at maximum clocks: with the largest share in time, then the lowest latency. Accuracy does not
    count there; routes of the portfolio were chosen with it.

    Attributes:
        share: of requests in time that is promised.
        extra_j: energy per request that all this is expected to cost, as of the last decision and
            beside the policy's own choice, shape (n,).
    """

    extra_j: Floats

    def __init__(self, known: NominalModel, advised: Advised, promise: float) -> None:
        """Hold a policy to a promise.

        Args:
            known: about the plant.
            advised: the policy.
            promise: share of requests in time, in (0, 1).

        Raises:
            ValueError: there is no such share.
        """
        self._known, self._advised, self.share = known, advised, promise
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        routes = np.arange(len(known.layout.axes[-1].values))
        reserve = top_clocks(known.layout, len(routes))
        reserve[:, -1] = routes
        self._reserve = Actions(known, reserve)
        self._actions = np.concatenate([advised.advice.actions, reserve])
        self._control = RiskControl(promise, 1)

    @property
    def is_broken(self) -> NDArray[np.bool_]:
        """Boards on which even the safest action is late too often, shape (n,)."""
        return self._control.is_broken

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what was seen; caution is learned anew."""
        self._advised.begin(plant, n)
        self._control = RiskControl(self.share, n)
        self.extra_j = np.zeros(n)

    def account(self, asked: Floats, late: Floats) -> None:
        """Take in what became of the requests since the last decision, arrays of shape (n,)."""
        self._control.account(asked, late)

    def decide(self, observations: Observations) -> Indices:
        """Choose for each board."""
        scores, caution = self._advised.scores(observations), self._control.caution
        readings, boards = self._encoder.decode(observations), np.arange(len(scores))
        mine = self._advised.advice.expected(self.share)
        is_left = self._are_left(mine, readings, caution)
        numbers = np.where(is_left, scores, -np.inf).argmax(axis=1)
        energy_j = mine.energy_j[boards, numbers]
        is_safest = ~is_left.any(axis=1) | (caution >= CERTAIN)
        if is_safest.any():
            every = self._with_reserve(mine, readings)
            best = every.deadline_hit_rate.max(axis=1, keepdims=True)
            is_best = every.deadline_hit_rate >= best - _EQUAL
            safest = np.where(is_best, every.quantile_s, np.inf).argmin(axis=1)
            numbers = np.where(is_safest, safest, numbers)
            energy_j = every.energy_j[boards, numbers]
        self.extra_j = energy_j - mine.energy_j[boards, scores.argmax(axis=1)]
        self._advised.held = self._actions[numbers]
        return self._advised.held

    def _are_left(self, mine: Expected, readings: Readings, caution: Floats) -> NDArray[np.bool_]:
        """Which of the portfolio are expected to keep the promise, shape (n, k)."""
        more = np.minimum(caution / DOUBT, 1.0)
        share = self.share + np.where(caution < 0.0, caution * self.share, more * (1 - self.share))
        share = np.minimum(share, max(1.0 - _EQUAL, self.share))  # equal shares do
        headroom = HEADROOM ** np.maximum((caution - DOUBT) / (CERTAIN - DOUBT), 0.0)
        has_share = mine.deadline_hit_rate >= share[:, None]
        has_room = mine.quantile_s * headroom[:, None] <= readings.latency_target_s[:, None]
        is_left: NDArray[np.bool_] = has_share & (has_room | (caution <= DOUBT)[:, None])
        return is_left

    def _with_reserve(self, mine: Expected, readings: Readings) -> Expected:
        """What is expected of the portfolio and of all routes at maximum clocks."""
        outcome = expect(self._known, self._reserve, readings, self._advised.held, CAUTION)
        shape = (len(readings.link_bps), len(self._reserve.indices))
        reserve = Expected.of(outcome, self.share, shape)
        both = (np.concatenate(pair, axis=1) for pair in zip(mine, reserve, strict=True))
        return Expected(*both)
