"""Energy per request: one meaning for the reward, for tables and for a deployment's summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from envs.arrays import Floats

Joules = TypeVar("Joules", float, Floats)


def energy_per_request_j(energy_j: Joules, requests: Joules) -> Joules:
    """Energy of the board over a window, divided by the requests that it answers in it, J.

    The energy is all that the board draws, idle time and radio included. What counts as answered
    depends on how many steps the window spans:

    - Many (a held-out episode, a block of a tuning, a deployment): the requests that were answered.
      Those dropped are not in it, so that a board that answers less does not look thriftier.
    - One control step, which the reward judges: the requests that are expected, rate times
      duration. In a quarter of a second few come, often none: over those answered, energy would be
      mostly chance, biased in the mean, and without bound where no request came. A dropped request
      was expected, too: it is charged as one that missed its deadline, and would be charged twice
      if the others shared its energy.

      Where requests come back to back, their number is what the step can answer.

    Where a scenario counts the server's energy, that of its answers comes on top.

    Args:
        energy_j: over the window, J; or the mean power, W.
        requests: in the window; or per second, Hz.
    """
    # A reciprocal of few rates and a product for each action are cheaper than as many quotients.
    return energy_j * (1.0 / requests)


@dataclass(slots=True)
class EnergyTotal:
    """Energy over many control steps, and what was answered in them.

    Attributes:
        energy_j: of the board, J.
        uncertainty_j: largest error of that, J.
        requests: answered.
    """

    energy_j: float = 0.0
    uncertainty_j: float = 0.0
    requests: float = 0.0

    def add(self, energy_j: float, requests: float, uncertainty_j: float = 0.0) -> None:
        """Add a step."""
        self.energy_j += energy_j
        self.requests += requests
        self.uncertainty_j += uncertainty_j

    @property
    def per_request_j(self) -> float | None:
        """Energy per request, J; None where none was answered."""
        return self._shared(self.energy_j)

    @property
    def per_request_uncertainty_j(self) -> float | None:
        """Largest error of the energy per request, J; None where none was answered."""
        return self._shared(self.uncertainty_j)

    def _shared(self, energy_j: float) -> float | None:
        return energy_per_request_j(energy_j, self.requests) if self.requests else None
