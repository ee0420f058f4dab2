"""What a run of a fixed action came to, live or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live.plan import DEVICE, Cell
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from partition.model.folder import ModelFolder

WARM_UP_STEPS = 4
"""Left out of both: a run begins at the highest clocks with everything on the edge."""
PAYLOAD = 1448 / 1500
"""Of what the link carries; a scenario's rate is that at which messages get there."""
N_BOARDS, N_STEPS = 64, 84
USUAL_GFLOP_PER_S = 150.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the requests of a run."""

    latency_s: float
    in_time: float
    energy_j: float
    cost: float
    fell_back: float
    requests: float


def live_figures(found: dict[str, Any]) -> Figures:
    """Of what `benchmarks.live.cell` printed."""
    steps = found["steps"][WARM_UP_STEPS:]
    requests = [r for r in found["requests"] if r["step"] >= WARM_UP_STEPS]
    dropped = sum(step["dropped"] for step in steps)
    asked = max(len(requests) + dropped, 1)
    return Figures(
        latency_s=float(np.mean([request["latency_s"] for request in requests])),
        in_time=sum(request["met_deadline"] for request in requests) / asked,
        energy_j=float(np.mean([step["energy_j"] for step in steps])),
        cost=float(np.mean([step["cost"] for step in steps])),
        fell_back=float(np.mean([request["fell_back"] for request in requests])),
        requests=asked,
    )


def server_gflop_per_s(found: dict[str, Any], tail_flops: float) -> float:
    """Speed of the server by the computing times of a live run; the usual one without any."""
    times_s = [r["compute_s"] for r in found["requests"] if r["compute_s"] is not None]
    if not times_s or not tail_flops:
        return USUAL_GFLOP_PER_S
    return tail_flops / float(np.median(times_s)) / 1e9


def predicted(folder: ModelFolder, cell: Cell, gflop_per_s: float, directory: Path) -> Figures:
    """The same requests over the same link in the simulator, with this server."""
    scaled = Cell(cell.action, cell.rate_mbps * PAYLOAD, cell.rtt_ms)
    scenario = scaled.scenario(directory, gflop_per_s)
    world = build_sim_config(DEVICE, folder, [str(scenario)])
    boards, objective = BatchedSimulator(world, N_BOARDS), world.objective()
    boards.reset(np.arange(N_BOARDS, dtype=np.uint64))
    sizes = [len(axis.values) for axis in world.layout.axes]
    one = [i % size for i, size in zip(cell.indices, sizes, strict=True)]
    actions = np.tile(np.array(one, dtype=np.int64), (N_BOARDS, 1))
    steps = []
    for t in range(N_STEPS):
        eta = boards.eta()
        outcome = boards.step(actions)
        if t >= WARM_UP_STEPS:
            steps.append((outcome, objective.cost(outcome, eta)))
    served = np.array([outcome.requests for outcome, _ in steps])

    def mean(name: str, weights: Any = None) -> float:
        return float(np.average([getattr(o, name) for o, _ in steps], weights=weights))

    return Figures(
        latency_s=mean("latency_s", served),
        in_time=mean("deadline_hit_rate"),
        energy_j=mean("energy_j"),
        cost=float(np.mean([cost for _, cost in steps])),
        fell_back=mean("fell_back", served),
        requests=float(served.sum() / N_BOARDS),
    )
