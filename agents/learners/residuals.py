"""How much more each action costs on a board than its model expects, learned from a few hundred.

Linear in a few features of the action, by Bayesian regression: what holds for one action holds for
its neighbours, so that far fewer steps are needed than there are actions, and what was not seen
stays as expected. What all actions have in common does not matter and is left out.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from agents.deciders.known import Actions, Known
from agents.errors import AgentError
from envs.plant import Indices
from envs.signals import Floats

PRIOR_SD = 0.03
"""Logarithm of cost that a feature, one standard deviation away from its mean, may make."""
LARGEST = 1.0
"""Surprises beyond this are taken for this: single steps with a full queue say little."""


class Residuals:
    """Surprises of a board, and what they say about the actions of a portfolio."""

    def __init__(self, known: Known, portfolio: Indices) -> None:
        """Begin with none.

        Args:
            known: about the plant.
            portfolio: shape (k, n_axes).
        """
        self._features = features(known, portfolio)
        self._numbers: list[int] = []
        self._surprises: list[float] = []

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._numbers)

    def add(self, number: int, surprise: float) -> None:
        """Take a step in.

        Args:
            number: of the action in the portfolio.
            surprise: logarithm of its cost, less the expected one.
        """
        self._numbers.append(number)
        self._surprises.append(float(np.clip(surprise, -LARGEST, LARGEST)))

    def offsets(self) -> Floats:
        """Logarithm of cost that each action takes beyond what is expected, shape (k,)."""
        if len(self) < 2:
            return np.zeros(len(self._features))
        seen, y = self._features[self._numbers], np.array(self._surprises)
        seen, y = seen - seen.mean(axis=0), y - y.mean()
        precision = np.eye(seen.shape[1]) / PRIOR_SD**2
        noise = max(float(y.var()), 1e-6)
        weights = np.linalg.solve(seen.T @ seen / noise + precision, seen.T @ y / noise)
        offsets: Floats = self._features @ weights  # of mean 0, as the features are
        return offsets

    def save(self, path: Path) -> None:
        """Write the surprises; a killed process leaves the file whole or as it was."""
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            np.savez(
                stream,
                features=self._features,
                numbers=np.array(self._numbers, dtype=np.int64),
                surprises=np.array(self._surprises),
            )
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on with what was saved.

        Raises:
            AgentError: it is damaged, or of another portfolio.
        """
        try:
            with np.load(path) as stored:
                numbers, surprises = stored["numbers"].tolist(), stored["surprises"].tolist()
                shown = stored["features"]
            if not np.array_equal(shown, self._features):
                raise ValueError("it is of another portfolio")
            if len(numbers) != len(surprises) or not np.isfinite(surprises).all():
                raise ValueError("it holds no numbers")
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise AgentError(f"{path} is damaged ({error}); tune anew in another folder") from None
        self._numbers, self._surprises = numbers, surprises


def features(known: Known, portfolio: Indices) -> NDArray[np.float64]:
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
