"""A model of the stock governors."""

from __future__ import annotations

import numpy as np

from agents.deciders.base import simulated, top_clocks
from envs.plant import Indices, Plant
from envs.spaces import Observations


class Governor:
    """Edge-only under a model of the stock governors, at the control step's resolution.

    CPU: schedutil asks for 1.25 * f_max * utilisation, counted at f_max (kernel
    Documentation/scheduler/schedutil.rst); the host thread spins while the GPU works, as CUDA's
    default synchronisation does, so the core looks busy throughout an inference. GPU and memory:
    the clock at which the load would be `TARGET_LOAD`, as load-tracking devfreq governors do;
    the memory follows the GPU's load, for lack of a counter. All go to their maximum once the
    board is never idle. The targets are assumed.
    """

    HEADROOM = 1.25
    TARGET_LOAD = 0.7
    SATURATED = 0.95

    def begin(self, plant: Plant, n: int) -> None:
        """Keep the boards, whose kernels see how busy they are."""
        self._fleet = simulated(plant, self)

    def decide(self, observations: Observations) -> Indices:
        """Choose clocks from the busy shares of the last step."""
        fleet = self._fleet
        host_load = np.minimum(fleet.cpu_util + fleet.gpu_util, 1.0)
        gpu_share = fleet.gpu_util / self.TARGET_LOAD
        shares = {"cpu": self.HEADROOM * host_load, "gpu": gpu_share, "emc": gpu_share}
        actions = top_clocks(fleet.layout, len(observations))
        clocks_hz = fleet.readings().clocks_hz
        for k, axis in enumerate(fleet.layout.axes[:-1]):
            wanted = np.searchsorted(axis.values, shares[axis.name] * clocks_hz[:, k])
            top = len(axis.values) - 1
            actions[:, k] = np.where(host_load >= self.SATURATED, top, np.minimum(wanted, top))
        return actions
