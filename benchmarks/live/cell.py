"""One live run, as a process inside the edge's network namespace: requests in, one JSON object out.

python -m benchmarks.live.cell CELL_AS_JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.edge_env import EdgeSplitEnv
from envs.live.make import make_live
from envs.live.plant import STEP_S, LivePlant, ServedRequest
from partition.security.tls import ClientSecurity

Decide = Callable[[NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What to run: a board, a scenario and a fixed action, -1 the last place of an axis."""

    board: str
    device: str
    model: str
    scenario: str
    cloud: str
    seconds: float
    seed: int
    action: Sequence[int]


def run(cell: LiveRun) -> dict[str, Any]:
    """Serve the scenario's requests for some seconds.

    Returns:
        what each control step brought (`steps`), and every request that was answered (`requests`:
        latency, time on the edge and away, computing time of the server, whether it was in time,
        whether and why the board finished it, and the step).
    """
    env = make_live(
        cell.board,
        cell.device,
        cell.model,
        cell.scenario,
        cloud=cell.cloud,
        security=ClientSecurity(insecure=True),
        n_steps=round(cell.seconds / STEP_S),
    )
    try:
        sizes = [len(axis.values) for axis in env.plant.layout.axes]
        action = np.array([i % size for i, size in zip(cell.action, sizes, strict=True)])
        return _follow(env, lambda _: action, cell.seed)
    finally:
        env.close()


def _follow(env: EdgeSplitEnv, decide: Decide, seed: int) -> dict[str, Any]:
    plant = env.plant
    assert isinstance(plant, LivePlant)
    observation, _ = env.reset(seed=seed)
    steps: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    truncated = False
    while not truncated:
        readings = plant.readings()
        observation, reward, _, truncated, info = env.step(decide(observation))
        seen = {name: float(getattr(readings, name)[0]) for name in _SHOWN}
        steps.append(info["outcome"] | {"cost": -reward, "dropped": plant.dropped, "seen": seen})
        requests += [_request(served) | {"step": len(steps) - 1} for served in plant.served]
    return {"steps": steps, "requests": requests}


_SHOWN = ("link_bps", "link_age_s", "rtt_s", "server_idle", "latency_factor", "away_factor")


def _request(served: ServedRequest) -> dict[str, Any]:
    result = served.result
    return {
        "latency_s": served.latency_s,
        "edge_s": result.edge_s,
        "away_s": result.away_s,
        "compute_s": None if result.reply is None else result.reply.compute_s,
        "met_deadline": served.met_deadline,
        "fell_back": result.fallback is not None,
        "why": result.fallback,
    }


def _main() -> None:
    sys.stdout.write(json.dumps(run(LiveRun(**json.loads(sys.argv[1])))) + "\n")


if __name__ == "__main__":
    _main()
