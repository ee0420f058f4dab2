"""What a run came to, live or simulated."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.deciders.base import Decider, account
from benchmarks.live.course import PAYLOAD, Course
from envs.arrays import Floats
from envs.live.plant import STEP_S
from envs.plant import Readings
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.sensors import TELLING_SHARE
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields
from partition.model.folder import ModelFolder

WARM_UP_STEPS = 4
"""Left out of both: a run begins at the highest clocks with everything on the edge."""
N_BOARDS = 64
_ALIKE = (np.arange(1000) + 0.5) / 1000
"""Shares at which latencies stand for those of a simulation, all alike frequent."""
SHARES_OF_STEP = (np.arange(100) + 0.5) / 100
"""Quantiles at which the latencies of a simulated step stand for all its requests."""
USUAL_GFLOP_PER_S = 150.0
N_QUANTILES, MOST_HELD_UP = 41, 0.98


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over the requests of a run.

    Attributes:
        p95_s: 95th percentile of the latencies of all requests.
        requests: of a run.
    """

    latency_s: float
    p95_s: float
    in_time: float
    energy_j: float
    cost: float
    fell_back: float
    requests: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the simulator says.

    Attributes:
        figures: means over boards and steps.
        latencies_s: of requests, all alike frequent.
        readings: of all boards in every step, one after the other, by name.
    """

    figures: Figures
    latencies_s: Floats = field(repr=False)
    readings: Mapping[str, Floats] = field(repr=False)


class KnownLink(BatchedSimulator):
    """Boards whose link takes the same rates at the same moments as a live one.

    Args:
        world: that they are in.
        n: number of boards.
        rates_bps: of the uplink in each control step, the last one for whatever comes later.
        usual_flops_per_s: that servers are taken to have which have not answered for long.
    """

    def __init__(
        self, world: SimConfig, n: int, rates_bps: Floats, usual_flops_per_s: float
    ) -> None:
        super().__init__(world, n)
        self._rates_bps, self._usual = rates_bps, np.full(n, usual_flops_per_s)

    def _now(self, row: int) -> OperatingConditions:
        step = min(max(row - 1, 0), len(self._rates_bps) - 1)
        rate_bps = np.full(self.n, self._rates_bps[step])
        now = super()._now(row)
        return replace(now, link_bps=rate_bps, usual_server_flops_per_s=self._usual)


def live_figures(found: dict[str, Any]) -> Figures:
    """Of what `benchmarks.live.cell` printed."""
    steps = found["steps"][WARM_UP_STEPS:]
    requests = [r for r in found["requests"] if r["step"] >= WARM_UP_STEPS]
    dropped = sum(step["dropped"] for step in steps)
    asked = max(len(requests) + dropped, 1)
    latencies_s = latencies(found)
    return Figures(
        latency_s=float(np.mean(latencies_s)),
        p95_s=float(np.quantile(latencies_s, 0.95)),
        in_time=sum(request["met_deadline"] for request in requests) / asked,
        energy_j=float(np.mean([step["energy_j"] for step in steps])),
        cost=float(np.mean([step["cost"] for step in steps])),
        fell_back=float(np.mean([request["fell_back"] for request in requests])),
        requests=asked,
    )


def latencies(found: dict[str, Any]) -> Floats:
    """Of all requests of a run that count, s."""
    return np.array([r["latency_s"] for r in found["requests"] if r["step"] >= WARM_UP_STEPS])


@dataclass(frozen=True, slots=True)
class SeenServer:
    """A server by the computing times of its replies.

    Attributes:
        gflop_per_s: all work over all time: compared are means, and slow replies are in them.
        fastest_gflop_per_s: of its quickest reply.
        held_up: ascending shares that others seem to have of it, at equally spaced probabilities.
    """

    gflop_per_s: float
    fastest_gflop_per_s: float
    held_up: tuple[float, ...] = (0.0,)

    @classmethod
    def of(
        cls, found: dict[str, Any], folder: ModelFolder, usual: float = USUAL_GFLOP_PER_S
    ) -> SeenServer:
        """As a live run met it; the usual one if it met none."""
        flops = [option.cloud_flops for option in folder.routes]
        seen = [
            (flops[found["steps"][request["step"]]["route"]], request["compute_s"])
            for request in found["requests"]
            if request["compute_s"] and request["step"] >= WARM_UP_STEPS
        ]
        # The time of a short tail is rather that of copying and waking up.
        telling = [each for each in seen if each[0] >= TELLING_SHARE * flops[0]] or seen
        work, times_s = np.array(telling).T if telling else (np.zeros(1), np.zeros(1))
        if not work.sum():
            return cls(usual, usual)
        slowness = np.quantile(times_s / work, np.linspace(0.0, 1.0, N_QUANTILES))
        held_up = np.minimum(1.0 - slowness[0] / slowness, MOST_HELD_UP)
        return cls(
            float(work.sum() / times_s.sum() / 1e9),
            float(1e-9 / slowness[0]),
            tuple(float(share) for share in held_up),
        )


def world_of(
    device: str,
    folder: ModelFolder,
    course: Course,
    gflop_per_s: float,
    *,
    held_up: tuple[float, ...] = (0.0,),
    changing: bool = False,
) -> SimConfig:
    """The world in which a course is simulated, as `Course.scenario` writes it."""
    with tempfile.TemporaryDirectory() as directory:
        scenario = course.scenario(Path(directory), gflop_per_s, held_up=held_up, changing=changing)
        return build_sim_config(device, folder, [str(scenario)])


def predicted(
    world: SimConfig, course: Course, decider: Decider, seconds: float, server: SeenServer
) -> Prediction:
    """The same requests over the same link in the simulator.

    Args:
        world: of `world_of`.
        course: link and requests.
        decider: for boards of that world.
        seconds: of the run.
        server: of the run.
    """
    n_steps = max(round(seconds / STEP_S), WARM_UP_STEPS + 1)
    world = replace(world, n_steps=n_steps)
    rates_bps = PAYLOAD * course.rates_bps(STEP_S * np.arange(n_steps))
    boards = KnownLink(world, N_BOARDS, rates_bps, 1e9 * server.gflop_per_s)
    objective = world.objective()
    encoder = ObservationEncoder(observation_fields(world.layout))
    readings = boards.reset(np.arange(N_BOARDS, dtype=np.uint64))
    decider.begin(boards, N_BOARDS)
    steps, costs, seen = [], [], []
    for t in range(n_steps):
        outcome = boards.step(decider.decide(encoder.encode(readings)))
        account(decider, outcome)
        if t >= WARM_UP_STEPS:
            steps.append(outcome)
            costs.append(objective.cost(outcome, readings.eta))
            seen.append(_by_name(readings, rates_bps[t]))
        readings = boards.readings()
    served = np.array([outcome.requests for outcome in steps])
    quantiles_s = [[o.latency_quantile_s(share) for share in SHARES_OF_STEP] for o in steps]
    every_s = np.array(quantiles_s).swapaxes(0, 1)

    def mean(name: str, weights: Any = None) -> float:
        every = [np.broadcast_to(getattr(o, name), N_BOARDS) for o in steps]
        return float(np.average(every, weights=weights))

    weights = np.broadcast_to(served, every_s.shape)
    latencies_s = weighted_quantiles(every_s.ravel(), weights.ravel(), _ALIKE)
    figures = Figures(
        latency_s=mean("latency_s", served),
        p95_s=float(np.quantile(latencies_s, 0.95)),
        in_time=mean("deadline_hit_rate"),
        energy_j=mean("energy_j"),
        cost=float(np.mean(costs)),
        fell_back=mean("fell_back", served),
        requests=float(served.sum() / N_BOARDS),
    )
    shown = {name: np.concatenate([each[name] for each in seen]) for name in seen[0]}
    return Prediction(figures, latencies_s, shown)


def weighted_quantiles(values: Floats, weights: Floats, shares: Floats) -> Floats:
    """Smallest values below or at which these shares of the weight lie."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    places = np.searchsorted(total, shares * total[-1])
    found: Floats = values[order[np.minimum(places, len(order) - 1)]]
    return found


def _by_name(readings: Readings, rate_bps: float) -> dict[str, Floats]:
    found = {
        name: np.broadcast_to(getattr(readings, name), N_BOARDS)
        for name in readings.__dataclass_fields__
        if name != "clocks_hz"
    }
    return found | {LINK_RATIO: found["link_bps"] / rate_bps}


LINK_RATIO = "link_bps / true rate"


def live_readings(found: dict[str, Any], course: Course) -> dict[str, Floats]:
    """What a live run's decider saw, in the form of `Prediction.readings`."""
    steps = found["steps"]
    seen = {name: np.array([step["seen"][name] for step in steps]) for name in steps[0]["seen"]}
    rates_bps = PAYLOAD * course.rates_bps(STEP_S * np.arange(len(steps)))
    seen[LINK_RATIO] = seen["link_bps"] / rates_bps
    return {name: values[WARM_UP_STEPS:] for name, values in seen.items()}
