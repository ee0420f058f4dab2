"""A modelled board in virtual time, as `deploy.py` opens one, and arms for it."""

from __future__ import annotations

import numpy as np
import pytest

from agents.comparison.arms import Arm
from agents.comparison.schedule import BlockLength
from agents.deployed.board_decider import BoardDecider
from envs.edge_env import EdgeSplitEnv
from envs.live.cloud_link import CloudLink
from envs.live.pacer import BoardPacer
from envs.live.plant import LivePlant, live_layout
from envs.live.requests import ScenarioRequests
from envs.objective import Objective
from envs.scenarios.scenario import Scenario
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from hw.errors import SensorReadError
from partition.edge.pipeline import SplitPipeline
from partition.model.runtime import SplitRuntime, random_inputs
from tests.hw.fake.clock import FakeClock

LENGTH = BlockLength(washout=2, counted=4)


class WatchedBoard(SimBoard):
    """Keeps what is asked of it, and fails to measure when told to."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.steps = []
        self.failing = 0

    def set_ambient(self, ambient_c):  # called once a step
        self.steps.append(self.clocks_are_given_back)
        super().set_ambient(ambient_c)

    def end_window(self):
        reading = super().end_window()
        if self.failing > 0:
            self.failing -= 1
            raise SensorReadError("the sensor is silent")
        return reading


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def live(tiny, small_device, clock):
    """An environment in virtual time, the board opened."""
    env = open_live(tiny, small_device, clock, LENGTH.n_steps)
    yield env
    env.close()


def open_live(tiny, small_device, clock, n_steps):
    """A board of three operating points per clock, with the tiny network and no cloud."""
    device = DeviceModel.load(str(small_device))
    board = WatchedBoard(device, clock=clock, sleep=clock.sleep)
    board.open()
    pacer = BoardPacer(board, tiny.routes)
    inputs = [random_inputs(tiny) for _ in range(3)]
    plant = LivePlant(
        board,
        SplitPipeline(tiny, SplitRuntime(tiny), None, pacer, clock=clock),
        live_layout(board, tiny, device.max_power_w),
        tiny,
        ScenarioRequests(inputs, [None] * 3, clock, clock.sleep),
        Scenario.load("weibull-targets"),
        CloudLink(None, clock),
        n_steps=n_steps,
        clock=clock,
        sleep=clock.sleep,
    )
    return EdgeSplitEnv(plant, Objective(max_power_w=10.0, reference_latency_s=0.01))


def fixed(name: str, action, *, leaves_clocks=False) -> Arm:
    """An arm that decides the same always; negative indices count from the end."""

    def ready(env):
        sizes = [len(axis.values) for axis in env.plant.layout.axes]
        chosen = np.array([i % n for i, n in zip(action, sizes, strict=True)])
        return BoardDecider(lambda _: chosen)

    return Arm(name, f"the {name}", leaves_clocks, lambda _: None, ready, None)
