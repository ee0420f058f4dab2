"""Episodes of a policy on simulated boards, and their sums."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import Decider, account
from agents.evaluation.latencies import Latencies
from envs.arrays import Floats
from envs.energy_per_request import energy_per_request_j
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields

_EDGES = np.array([*(i / 10 for i in range(10)), 0.92, 0.94, *(0.95 + i / 100 for i in range(5))])
_EDGES = np.append(_EDGES, [0.995, 0.998, 1.0])
QUANTILES = tuple((0.5 * (_EDGES[1:] + _EDGES[:-1])).tolist())
"""At which the latencies of a step stand for all its requests; close together where a percentile
of the requests of many steps, few of which are slow, is decided."""
STANDS_FOR: Floats = np.diff(_EDGES)
"""Share of the requests that each of them stands for."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Results of a policy, one value per held-out episode, arrays of shape (n,).

    Attributes:
        energy_j: energy per request, the server's with it where a scenario counts that.
        latency_s: mean latency of a request.
        deadline_hit_rate: share of requests in time.
        accuracy: mean accuracy, see `envs.plant.Outcome`; NaN where it is unknown.
        cost: mean cost per step.
        steps_s: latency of each step at `QUANTILES`, shape (n_quantiles, n_steps, n).
        requests: requests answered in each step, shape (n_steps, n).
    """

    energy_j: Floats
    latency_s: Floats
    deadline_hit_rate: Floats
    accuracy: Floats
    cost: Floats
    steps_s: Floats
    requests: Floats

    def part(self, which: slice) -> Episodes:
        """Some of the episodes."""
        return Episodes(*(getattr(self, f.name)[..., which] for f in fields(self)))

    def latencies(self) -> Latencies:
        """All requests of all episodes that were answered."""
        return Latencies.of(self.steps_s, STANDS_FOR[:, None, None] * self.requests)

    def p95_latency_s(self) -> float:
        """95th percentile of all requests of all episodes together."""
        return self.latencies().quantile_s(0.95)


def is_request_by_step(world: SimConfig) -> bool:
    """Whether each control step stands for one request, as it draws a target of its own.

    Back to back a quick choice would otherwise count more often than a slow one.
    """
    return world.is_back_to_back and any(scenario.targets for scenario in world.scenarios)


def run_episodes(world: SimConfig, decider: Decider, seeds: NDArray[np.uint64]) -> Episodes:
    """Run one episode per seed."""
    fleet, objective = BatchedSimulator(world, len(seeds)), world.objective()
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(seeds)
    decider.begin(fleet, fleet.n)
    record: dict[str, list[Floats]] = {
        key: []
        for key in (
            "power_w",
            "energy_j",
            "server_j",
            "requests",
            "latency_s",
            "deadline_hit_rate",
            "accuracy",
            "cost",
        )
    }
    steps_s = []
    for _ in range(world.n_steps):
        eta = readings.eta
        outcome = fleet.step(decider.decide(encoder.encode(readings)))
        account(decider, outcome)
        readings = fleet.readings()
        for key, values in record.items():
            value = objective.cost(outcome, eta) if key == "cost" else getattr(outcome, key)
            values.append(value)
        steps_s.append([outcome.latency_quantile_s(share) for share in QUANTILES])
    series = {key: np.stack(values) for key, values in record.items()}
    requests = series["requests"]
    if is_request_by_step(world):
        weights = np.ones_like(requests)
        energy_j = series["energy_j"].mean(axis=0)
    else:
        weights = requests
        board_j = series["power_w"].sum(axis=0) * world.step_s
        energy_j = energy_per_request_j(board_j, requests.sum(axis=0))

    def per_request(key: str) -> Floats:
        weighted: Floats = (series[key] * weights).sum(axis=0) / weights.sum(axis=0)
        return weighted

    if not is_request_by_step(world):
        energy_j = energy_j + per_request("server_j")
    return Episodes(
        energy_j=energy_j,
        latency_s=per_request("latency_s"),
        deadline_hit_rate=per_request("deadline_hit_rate"),
        accuracy=per_request("accuracy"),
        cost=series["cost"].mean(axis=0),
        steps_s=np.array(steps_s).swapaxes(0, 1),
        requests=requests,
    )
