"""One live run, as a process inside the edge's network namespace: requests in, one JSON object out.

python -m benchmarks.live.cell CELL_AS_JSON
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.edge_env import EdgeSplitEnv
from envs.live.plant import STEP_S, LivePlant, ServedRequest
from envs.make import make_live
from partition.security.tls import ClientSecurity

Decide = Callable[[NDArray[np.float32]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What to run: a board, a scenario and a fixed action."""

    board: str
    device: str
    model: str
    scenario: str
    cloud: str
    seconds: float
    seed: int
    action: tuple[int, ...]


def run(cell: LiveRun) -> dict[str, Any]:
    """Serve the scenario's requests for some seconds.

    Returns:
        what each control step brought (`steps`), and every request that was answered (`requests`:
        latency, time on the edge and away, computing time of the server, whether it was in time and
        whether the board finished it).
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
        return _follow(env, lambda _: np.array(cell.action), cell.seed) | {"cell": asdict(cell)}
    finally:
        env.close()


def _follow(env: EdgeSplitEnv, decide: Decide, seed: int) -> dict[str, Any]:
    plant = env.plant
    assert isinstance(plant, LivePlant)
    observation, _ = env.reset(seed=seed)
    steps, requests = [], []
    truncated = False
    while not truncated:
        readings = plant.readings()
        observation, reward, _, truncated, info = env.step(decide(observation))
        seen = {name: float(getattr(readings, name)[0]) for name in _SHOWN}
        steps.append(info["outcome"] | {"cost": -reward, "dropped": plant.dropped, "seen": seen})
        requests += [_request(served) for served in plant.served]
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
    }


def _main() -> None:
    fields = json.loads(sys.argv[1])
    cell = LiveRun(**(fields | {"action": tuple(fields["action"])}))
    Path(cell.scenario).resolve(strict=True)
    sys.stdout.write(json.dumps(run(cell)) + "\n")


if __name__ == "__main__":
    _main()
