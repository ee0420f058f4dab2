"""Residual cost of each action on a board over the expected one, learned in a few hundred steps.

Linear in a few features of the action, by Bayesian regression, so that far fewer steps are needed
than there are actions. What is expected depends on the state, and so does what is done, so that
surprises of a state must not be charged to what is usually done in it: the regression is on how an
action that was drawn differs from the mean of its draw, which is chance (Robinson 1988).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.deciders.nominal import Actions, NominalModel
from agents.errors import AgentError
from agents.whole_file import written_whole
from envs.arrays import Floats
from envs.plant import Indices
from envs.spaces import Observations
from partition import array_file

PRIOR_SD = 0.03
"""Logarithm of cost that a feature, one standard deviation away from its mean, may make."""
RIDGE = 1e-3
"""Keeps the line through states that hardly vary from being arbitrary."""
LARGEST = 1.0
"""Surprises beyond this are taken for this: single steps with a full queue say little."""


class Residuals:
    """Surprises of a board, and what they say about the actions of a portfolio."""

    def __init__(self, known: NominalModel, portfolio: Indices) -> None:
        """Begin with none.

        Args:
            known: about the plant.
            portfolio: shape (k, n_axes).
        """
        self._features = features(known, portfolio)
        self._deviations: list[Floats] = []
        self._surprises: list[float] = []

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._surprises)

    def add(self, number: int, chances: Floats, surprise: float) -> None:
        """Take a step in.

        Args:
            number: of the action in the portfolio.
            chances: that each action had to be drawn, shape (k,).
            surprise: logarithm of its cost, less the expected one.
        """
        self._deviations.append(self._features[number] - chances @ self._features)
        self._surprises.append(float(np.clip(surprise, -LARGEST, LARGEST)))

    def add_logged(self, numbers: Indices, surprises: Floats, seen: Observations) -> None:
        """Take steps in that nothing was drawn in, in the place of all others.

        What state explains by a straight line is taken off both sides: of actions that follow from
        the state by a rule, what the line leaves is all that can tell them from it.

        Args:
            numbers: of the actions in the portfolio, shape (n,).
            surprises: logarithm of each one's cost, less the expected one, shape (n,).
            seen: what describes the state of each, shape (n, m).
        """
        bounded = np.clip(surprises, -LARGEST, LARGEST)
        both = np.column_stack([self._features[numbers], bounded])
        known = np.column_stack([seen, np.ones(len(seen))]).astype(np.float64)
        ridge = known.T @ known + RIDGE * np.eye(known.shape[1])
        left = np.asarray(both - known @ np.linalg.solve(ridge, known.T @ both), np.float64)
        self._deviations = list(left[:, :-1])
        self._surprises = left[:, -1].tolist()

    def deviations(self) -> tuple[Floats, Floats]:
        """What was taken in: how actions differ, shape (n, n_features), and surprises, (n,)."""
        n_features = self._features.shape[1]
        return np.reshape(self._deviations, (-1, n_features)), np.array(self._surprises)

    def weights(self) -> Floats:
        """Logarithm of cost per feature, shape (n_features,)."""
        return self._regression()[0]

    def _regression(self) -> tuple[Floats, Floats]:
        """Weights of the features, and their covariance."""
        seen, y = self.deviations()
        y = y - y.mean() if len(y) else y
        noise = max(float(y.var()) if len(y) else 0.0, 1e-6)
        prior = np.eye(seen.shape[1]) / PRIOR_SD**2
        covariance = np.asarray(np.linalg.inv(seen.T @ seen / noise + prior), np.float64)
        weights: Floats = covariance @ seen.T @ y / noise
        return weights, covariance

    def offsets(self) -> Floats:
        """Logarithm of cost that each action takes beyond what is expected, shape (k,).

        What nothing was learned about stays as expected: each offset is scaled by the share of
        its prior variance that the steps have removed.
        """
        weights, covariance = self._regression()
        left = np.einsum("ki,ij,kj->k", self._features, covariance, self._features)
        before = PRIOR_SD**2 * np.square(self._features).sum(axis=1)
        learned = 1.0 - left / np.maximum(before, 1e-12)
        offsets: Floats = learned * (self._features @ weights)
        return offsets

    def save(self, path: Path) -> None:
        """Write the surprises; a killed process leaves the file whole or as it was."""
        with written_whole(path) as stream:
            np.savez(
                stream,
                features=self._features,
                deviations=np.reshape(self._deviations, (-1, self._features.shape[1])),
                surprises=np.array(self._surprises),
            )

    def load(self, path: Path) -> None:
        """Go on with what was saved.

        Raises:
            AgentError: it is damaged, or of another portfolio.
        """
        try:
            named = array_file.read_arrays(path, ("features", "deviations", "surprises"))
            if not np.array_equal(named["features"], self._features):
                raise ValueError("it is of another portfolio")
            shape = (len(named["surprises"]), self._features.shape[1])
            if named["deviations"].shape != shape or not _all_finite(*named.values()):
                raise ValueError("it holds no numbers")
        except (OSError, ValueError) as error:
            raise AgentError(f"{path} is damaged ({error}); tune again in another folder") from None
        self._deviations = list(named["deviations"])
        self._surprises = named["surprises"].tolist()


def features(known: NominalModel, portfolio: Indices) -> NDArray[np.float64]:
    """Clocks and their squares, what runs on the board and what is sent, shape (k, n_features).

    Each has mean 0 and standard deviation 1 over the portfolio, or is 0 throughout.
    """
    actions = Actions(known, portfolio)
    clocks = [np.broadcast_to(hz / hz.max(), len(portfolio)) for hz in _clocks(actions)]
    costs = actions.costs
    columns = [
        *clocks,
        *(clock**2 for clock in clocks),
        costs.edge_share,
        costs.wire_bytes > 0.0,
        np.log1p(costs.wire_bytes),
        *(clock * costs.edge_share for clock in clocks),
    ]
    raw = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    apart, scale = raw - raw.mean(axis=0), raw.std(axis=0)
    scaled: NDArray[np.float64] = apart / np.where(scale > 1e-9, scale, np.inf)
    return scaled


def _clocks(actions: Actions) -> list[Floats]:
    return [actions.clocks.cpu_hz, actions.clocks.gpu_hz, actions.clocks.emc_hz]


def _all_finite(*arrays: Floats) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)
