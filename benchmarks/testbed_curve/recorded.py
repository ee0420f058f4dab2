"""An environment that keeps what every step cost, whoever takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.edge_env import EdgeSplitEnv
from envs.live.plant import STEP_S

STEPS_PER_MINUTE = round(60.0 / STEP_S)


class RecordedEnv(EdgeSplitEnv):
    """`EdgeSplitEnv` with a memory."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """As `EdgeSplitEnv`."""
        super().__init__(*arguments, **keywords)
        self.forget()

    def forget(self) -> None:
        """Begin to keep anew."""
        self._costs: list[float] = []
        self._hits: list[float] = []

    def step(
        self, action: NDArray[Any]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take a step, and keep what it cost."""
        result = super().step(action)
        self._costs.append(-result[1])
        self._hits.append(result[4]["outcome"]["deadline_hit_rate"])
        return result

    def minutes(self, n: int) -> tuple[Floats, Floats]:
        """Mean cost of a step and share of requests in time, of each of the first `n` minutes."""
        length = n * STEPS_PER_MINUTE
        shape = (n, STEPS_PER_MINUTE)
        costs, hits = (np.array(each[:length]) for each in (self._costs, self._hits))
        return costs.reshape(shape).mean(axis=1), hits.reshape(shape).mean(axis=1)
