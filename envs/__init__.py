"""The control problem: an edge board, a split network and a link as a Gymnasium environment.

Importing this package registers `EdgeSplitSim-v0` (everything simulated) and `EdgeSplit-v0`
(a board and a split pipeline in wall-clock time).
"""

from __future__ import annotations

from common import command

if command.is_started_from(__name__):
    command.begin()

import gymnasium

gymnasium.register(
    id="EdgeSplitSim-v0",
    entry_point="envs.sim.make:make_simulated",
)
gymnasium.register(
    id="EdgeSplit-v0",
    entry_point="envs.live.make:make_live",
    nondeterministic=True,
)
