"""One live run, as a process inside the edge's network namespace: requests in, JSON out.

python -m benchmarks.live.cell LIVE_RUN_AS_JSON

Its first line says that the requests begin, its last one is what came of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from agents.deployed.board_decider import BoardDecider, ended
from agents.deployed.concurrent import PATIENCE_S, ConcurrentDecider
from agents.deployed.run_folder import RunFolder
from common import command
from envs.edge_env import EdgeSplitEnv
from envs.live.make import make_live
from envs.live.plant import STEP_S, LivePlant, ServedRequest
from envs.plant import Indices, Readings
from envs.sim.build import build_sim_config
from partition.security.tls import ClientSecurity

BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What to run: a board, a scenario, and who decides.

    Attributes:
        run: folder of a policy; None for a fixed action.
        action: the fixed one, -1 the last place of an axis.
        control_s: time for which the board serves alone at the highest clocks before.
    """

    board: str
    device: str
    model: str
    scenario: str
    cloud: str
    seconds: float
    seed: int
    run: str | None = None
    action: Sequence[int] = ()
    control_s: float = 0.0


def run(cell: LiveRun, begun: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Serve the scenario's requests for some seconds.

    Args:
        cell: what to run.
        begun: called as the requests begin.

    Returns:
        what each control step brought (`steps`), and every request that was answered (`requests`:
        latency, time on the edge, away and beside the network, computing time of the server,
        whether it was in time, whether and why the board finished it, and the step); the same of
        the control (`control`).
    """
    n_steps, n_control = (round(seconds / STEP_S) for seconds in (cell.seconds, cell.control_s))
    folder = RunFolder.load(Path(cell.run)) if cell.run is not None else None
    env = make_live(
        cell.board,
        cell.device,
        cell.model,
        cell.scenario,
        cloud=cell.cloud,
        security=ClientSecurity(insecure=True),
        n_steps=max(n_steps, n_control),
        max_power_w=folder.policy.layout.max_power_w if folder is not None else None,
    )
    try:
        # Those of the model on both sides: a reference that was measured here bends every cost.
        env.objective = build_sim_config(cell.device, cell.model, [cell.scenario]).objective()
        sizes = np.array([len(axis.values) for axis in env.plant.layout.axes])
        control = _follow(env, _always(sizes - 1), cell.seed, n_control) if n_control else None
        decider = (
            _always(np.array(cell.action) % sizes)
            if folder is None
            else folder.decide_for(env, cell.model, cell.scenario)
        )
        return _follow(env, decider, cell.seed, n_steps, begun) | {"control": control}
    finally:
        env.close()


def _always(action: Indices) -> BoardDecider:
    """Decides the same whatever it sees."""
    return BoardDecider(lambda _: action)


def _follow(
    env: EdgeSplitEnv,
    decider: BoardDecider,
    seed: int,
    n_steps: int,
    begun: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """As `deploy.py` does."""
    plant = env.plant
    assert isinstance(plant, LivePlant)
    observation, _ = env.reset(seed=seed)
    begun()
    steps: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    first = np.array([len(axis.values) - 1 for axis in plant.layout.axes])
    with ConcurrentDecider(decider, first) as concurrent:
        for _ in range(n_steps):
            seen = shown(plant.readings())
            concurrent.post(observation)
            decision = concurrent.wait(PATIENCE_S)
            observation, reward, _, _, info = env.step(decision.action)
            concurrent.account(*ended(plant))
            step = {"cost": -reward, "dropped": plant.dropped, "route": info["route"]}
            steps.append(info["outcome"] | step | {"seen": seen})
            requests += [_request(served) | {"step": len(steps) - 1} for served in plant.served]
    return {"steps": steps, "requests": requests}


def shown(readings: Readings) -> dict[str, float]:
    """Readings of one board by name, its clocks aside."""
    names = (field.name for field in fields(readings) if field.name != "clocks_hz")
    return {name: float(getattr(readings, name)[0]) for name in names}


def _request(served: ServedRequest) -> dict[str, Any]:
    result = served.result
    return {
        "latency_s": served.latency_s,
        "edge_s": result.edge_s,
        "away_s": result.away_s,
        "host_s": result.host_s,
        "compute_s": None if result.reply is None else result.reply.compute_s,
        "met_deadline": served.met_deadline,
        "fell_back": result.fallback is not None,
        "why": result.fallback,
    }


def main() -> None:
    """Run the process."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    say(json.dumps(run(LiveRun(**json.loads(sys.argv[1])), lambda: say(BEGUN))))


if __name__ == "__main__":
    sys.exit(command.run(main))
