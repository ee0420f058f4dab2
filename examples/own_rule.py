"""A rule of one's own: top clocks, and the cut that a little model of the link thinks fastest.

python train.py --algo examples.own_rule:FastestCut
python -m benchmarks.policies --quick --add examples.own_rule:FastestCut
python deploy.py --run results/runs/<run> --own examples.own_rule:FastestCut
"""

import numpy as np

from agents.deciders.base import top_clocks
from agents.deciders.nominal import NominalModel
from agents.deciders.own import OwnDecider
from envs.plant import Indices
from envs.spaces import Observations


class FastestCut(OwnDecider):
    """Takes the time of the head as the nominal model says, and the message at the link's rate."""

    def __init__(self, known: NominalModel) -> None:
        """Look up how long each cut's head takes at top clocks, shape (n_routes,)."""
        super().__init__(known)
        device, costs = known.device, known.costs
        tops = (float(device.cpu_hz[-1]), float(device.gpu_hz[-1]), float(device.emc_hz[-1]))
        self._head_s = np.asarray(device.latency_s(costs.head, *tops))
        self._wire_bits = 8.0 * np.asarray(costs.wire_bytes)

    def decide(self, observations: Observations) -> Indices:
        """Compare the cuts for each board."""
        seen = self.readings(observations)
        send_s = self._wire_bits / seen.link_bps[:, None] + seen.rtt_s[:, None]
        send_s[:, -1] = 0.0  # the last route sends nothing
        actions = top_clocks(self.known.layout, len(observations))
        actions[:, -1] = (self._head_s + send_s).argmin(axis=1)
        return actions
