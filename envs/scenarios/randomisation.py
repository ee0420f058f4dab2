"""Domain randomisation: boards of one kind that are not all alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.scenarios.operating_conditions import UnitVariation

LARGEST_SD = 2.5
"""Factors further out than so many standard deviations are moved there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Randomisation:
    """Standard deviations of the logarithms of factors that each board and episode draws.

    Nobody is told the factors: boards take themselves, and servers that have not answered yet, for
    what is usual.

    Attributes:
        latency_sd: of the time of everything that is computed.
        power_sd: of the power without load, and once more of what load adds.
        thermal_sd: of the thermal resistance.
        link_sd: of the link rate.
        estimate_sd: of the estimate of that, which is off by as much all the time.
        server_sd: of the server's speed.
        server_factor: of all servers alike, on their speed.
    """

    latency_sd: float = 0.0
    power_sd: float = 0.0
    thermal_sd: float = 0.0
    link_sd: float = 0.0
    estimate_sd: float = 0.0
    server_sd: float = 0.0
    server_factor: float = 1.0

    @property
    def is_on(self) -> bool:
        """Whether anything is drawn."""
        return self != Randomisation()

    def build(self, normal: Floats) -> UnitVariation:
        """Factors of boards.

        Args:
            normal: standard normal, shape (n, 7).
        """
        return UnitVariation(
            work=_factor(self.latency_sd, normal[:, 0]),
            idle_power=_factor(self.power_sd, normal[:, 1]),
            busy_power=_factor(self.power_sd, normal[:, 2]),
            resistance=_factor(self.thermal_sd, normal[:, 3]),
            estimate=_factor(self.estimate_sd, normal[:, 6]),
        )

    def link(self, normal: Floats) -> Floats:
        """Factor on the link rate of boards, from the same numbers."""
        return _factor(self.link_sd, normal[:, 4])

    def server(self, normal: Floats) -> Floats:
        """Factor on the speed of the boards' servers, from the same numbers."""
        return self.server_factor * _factor(self.server_sd, normal[:, 5])


def _factor(sd: float, normal: Floats) -> Floats:
    factor: Floats = np.exp(sd * np.clip(normal, -LARGEST_SD, LARGEST_SD))
    return factor
