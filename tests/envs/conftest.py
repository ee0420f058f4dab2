"""Scenarios without randomness, a network with easy numbers, and worlds made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from envs.scenarios.scenario import Scenario
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.clocks import Clocks
from envs.sim.finishing import finish, top_clocks
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts
from hw.device.model import DeviceModel
from partition.model.cost import Cost
from partition.model.routes import Route, RouteOption

CONSTANT = {
    "schema_version": "2",
    "description": '"Nothing changes."',
    "eta": "0.5",
    "link.rate_mbps": "50.0",
    "link.rtt_ms": "2.5",  # 4 ms with CALL_S
    "link.radio_w": "1.0",
    "link.radio_w_per_mbps": "0.01",
    "server.gflop_per_s": "150.0",
    "server.load": "0.0",
    "arrivals.rate_hz": "10.0",
    "arrivals.kind": '"periodic"',
    "ambient.temperature_c": "25.0",
    "requests.latency_target_ms": "100.0",
    "board.slowdown": "1.0",
    "board.decision_ms": "0.0",
}


class Point(NamedTuple):
    """Sizes of a split point."""

    name: str
    wire_bytes: int
    head_flops: float
    head_traffic_bytes: float
    head_kernels: int

    @property
    def head(self) -> Cost:
        return Cost(int(self.head_flops), 0, int(self.head_traffic_bytes), self.head_kernels)


POINTS = (
    Point("input", 60_000, 0.0, 0.0, 0),
    Point("early", 40_000, 2e8, 1e7, 20),
    Point("late", 10_000, 6e8, 2e7, 40),
    Point("output", 0, 8e8, 3e7, 60),
)
ACCURACY = (0.9, 0.95, 0.98, 1.0)


def _option(index: int) -> RouteOption:
    """The route that cuts at a split point; whoever falls back loses nothing."""
    here, whole = POINTS[index].head, POINTS[-1].head
    return RouteOption(
        route=Route(index),
        name=POINTS[index].name,
        wire_bytes=POINTS[index].wire_bytes,
        edge=here,
        fallback=whole - here,
        cloud_flops=whole.flops - here.flops,
        accuracy=ACCURACY[index],
        interval=None,
        fallback_accuracy=1.0,
    )


@pytest.fixture(scope="session")
def device() -> DeviceModel:
    return DeviceModel.load("tx2")


@pytest.fixture(scope="session")
def cpu_only(device) -> DeviceModel:
    """The TX2 as if only its CPU clock could be set."""
    fixed = {
        name: replace(domain, available_hz=domain.available_hz[-1:]) if name != "cpu" else domain
        for name, domain in device.domains.items()
    }
    return replace(device, domains=fixed)


@pytest.fixture(scope="session")
def costs(device) -> SplitCosts:
    return SplitCosts.of(device, [_option(i) for i in range(len(POINTS))])


@pytest.fixture(scope="session")
def finish_s(device, costs) -> Callable[..., float]:
    """Time that the board needs for the rest of a route's request, at clocks that are held."""

    def at(route: int, *held_hz: float) -> float:
        row, one = SplitCosts.from_rows(costs.rows()[:, [route]]), np.ones(1)
        clocks = Clocks(*(hz * one for hz in held_hz))
        found = finish(device, row.tail, clocks, top_clocks(device, one), one, 0.0 * one)
        return float(found.total_s[0])

    return at


@pytest.fixture
def scenario_file(tmp_path) -> Callable[..., Path]:
    """Write a constant scenario with some keys changed, or left out where the value is None."""

    def write(changes: Mapping[str, str | None] | None = None) -> Path:
        keys = {**CONSTANT, **(changes or {})}
        path = tmp_path / "made-up.toml"
        lines = [f"{key} = {value}" for key, value in keys.items() if value is not None]
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture
def constant(scenario_file) -> Callable[..., Scenario]:
    return lambda changes=None: Scenario.load(str(scenario_file(changes)))


@pytest.fixture
def fleet(device, costs, constant) -> Callable[..., BatchedSimulator]:
    """Boards in a constant scenario with some keys changed, reset."""

    def build(
        changes: Mapping[str, str] | None = None, n: int = 1, n_steps: int = 40, **settings: object
    ) -> BatchedSimulator:
        world = SimConfig(
            device=device,
            model="made-up",
            cut_list_fingerprint="0" * 16,
            costs=costs,
            route_names=tuple(map(str, range(len(costs.wire_bytes)))),
            scenarios=(constant(changes),),
            n_steps=n_steps,
            **settings,
        )
        boards = BatchedSimulator(world, n)
        boards.reset(np.arange(n, dtype=np.uint64))
        return boards

    return build
