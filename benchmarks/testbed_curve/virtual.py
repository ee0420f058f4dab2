"""A live board whose time passes only when it is waited for, so that hours pass in minutes.

Everything between an agent and the device model is what runs on a board: the environment, the
plant, the pipeline with its deadlines and fallbacks, the supervisor, the bounds of exploration.
Left out are the network's numbers, which cost most of the time and change nothing here, and gRPC: a
link that is 50 and 0.5 Mbit/s by turns stands for it. Its rate is known as often as the real client
measures it, and without error.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from benchmarks.testbed_curve.recorded import RecordedEnv
from benchmarks.testbed_curve.task import RTT_S, SERVER_FLOPS_PER_S, rate_bps
from envs.live.cloud_link import CloudLink
from envs.live.pacer import BoardPacer
from envs.live.plant import LivePlant, live_layout
from envs.live.requests import ScenarioRequests
from envs.sim.sensors import PROBE_PERIOD_S
from envs.sim.sim_config import SimConfig
from hw.boards.sim import SimBoard
from hw.boards.sim_state import SimWork
from hw.device.model import DeviceModel
from partition.edge import offload_rule
from partition.edge.client import LinkEstimate
from partition.edge.pipeline import SplitPipeline
from partition.errors import HopelessError
from partition.model.folder import ModelFolder
from partition.model.runtime import random_inputs
from partition.model.split_point import SplitPoint
from partition.transport.wire import Reply

Arrays = tuple[NDArray[Any], ...]
EPISODE_STEPS = 240
LATENCY_SD, POWER_SD = 0.1, 0.2
"""Of the board against its device file, as logarithms: what a fit of a strange board leaves, twice
as wide as in training."""
_UNSURE = (
    *("cpu_idle_w_per_hz3", "cpu_busy_w_per_hz3", "gpu_idle_w_per_hz3"),
    *("gpu_busy_w", "gpu_busy_w_per_hz", "soc_w_per_emc_hz", "ddr_w_per_emc_hz"),
)


class VirtualClock:
    """Time that passes only when it is slept."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Present time, s."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


class UnlikeBoard(SimBoard):
    """A modelled board that computes and draws otherwise than its device file says.

    Args:
        device: the file.
        seed: of how it differs; 0 does not.
        clock: present time, s.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        device: DeviceModel,
        seed: int,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        draw = np.random.default_rng(seed)
        self._slower = float(np.exp(LATENCY_SD * draw.normal())) if seed else 1.0
        self._more = np.exp(POWER_SD * draw.normal(size=len(_UNSURE))) if seed else None
        super().__init__(device, clock=clock, sleep=sleep)

    def runs(self, flops: float, traffic_bytes: float, kernels: float) -> None:
        """Draw what this board draws; the device stays what its file says."""
        super().runs(flops, traffic_bytes, kernels)
        if self._more is None:
            return
        power = self.device.power
        changed = {
            name: getattr(power, name) * float(more)
            for name, more in zip(_UNSURE, self._more, strict=True)
        }
        true = structs.replace(power, **changed)
        with self.present() as state:
            state.draw_as(replace(self.device, power=true))

    def pace(
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> AbstractContextManager[SimWork]:
        """Take as long as this board takes."""
        k = self._slower
        return super().pace(k * flops, k * traffic_bytes, k * kernels)


class VirtualCloud:
    """Answers over the link of the task; in the place of `partition.edge.client.CloudClient`."""

    refusal = None

    def __init__(self, clock: VirtualClock, n_outputs: int = 1) -> None:
        self._clock, self._n_bytes = clock, 0
        self._outputs = (np.zeros((1, n_outputs), np.float32),)
        self._see(rate_bps(0.0))

    @property
    def link(self) -> LinkEstimate:
        """As it was last measured."""
        return LinkEstimate(self._rate_bps, RTT_S, self._clock() - self._seen_s, server_load=0.0)

    def check(self, point: SplitPoint, message_bytes: int, deadline_s: float) -> None:
        """Refuse at once what would come much too late.

        Raises:
            HopelessError: it would.
        """
        self._n_bytes = message_bytes
        if offload_rule.is_hopeless(self.expected_s(point, message_bytes), deadline_s):
            raise HopelessError("it would take too long")

    def expected_s(self, point: SplitPoint, message_bytes: int) -> float:
        """Time until the answer by the last estimate, s."""
        return self.link.transfer_s(message_bytes) + point.tail.flops / SERVER_FLOPS_PER_S

    def infer(
        self, point: SplitPoint, _encoded: object, deadline_s: float, _host: object = None
    ) -> Reply:
        """Answer the request that was just checked.

        Raises:
            HopelessError: not in time.
        """
        bits = 8.0 * self._n_bytes
        sending_s = self._sending_s(bits)
        compute_s = point.tail.flops / SERVER_FLOPS_PER_S
        needed_s = RTT_S + sending_s + compute_s
        if needed_s > deadline_s:
            self._clock.sleep(max(deadline_s, 0.0))
            self._see(rate_bps(self._clock()))  # as a client does whose answer was late
            raise HopelessError("no answer in time")
        self._clock.sleep(needed_s)
        self._see(bits / sending_s if sending_s else self._rate_bps)
        return Reply(self._outputs, compute_s, 0.0, 0)

    def server_flops_per_s(self, usual: float) -> float:
        """As the scenario says."""
        return usual

    def refresh(self) -> None:
        """Measure the link, once a second at most."""
        if self._clock() - self._seen_s >= PROBE_PERIOD_S:
            self._see(rate_bps(self._clock()))

    def close(self) -> None:
        """Nothing to do."""

    def _see(self, rate: float) -> None:
        self._rate_bps, self._seen_s = rate, self._clock()

    def _sending_s(self, bits: float) -> float:
        """Time that so many bits take from now on, in steps of a tenth of a second, s."""
        now_s = self._clock()
        passed_s, left = 0.0, bits
        while left > (most := 0.1 * rate_bps(now_s + passed_s)):
            left, passed_s = left - most, passed_s + 0.1
        return passed_s + left / rate_bps(now_s + passed_s)


class VirtualRuntime:
    """Computes nothing; in the place of `partition.model.runtime.SplitRuntime`."""

    is_on_processor, placement, threads, execution = True, "nowhere", 1, None

    def __init__(self) -> None:
        self._nothing = (np.linspace(0.0, 1.0, 8, dtype=np.float32)[None],)

    def head(self, _point: SplitPoint, _inputs: Arrays) -> Arrays:
        """What would cross."""
        return self._nothing

    def tail(self, _point: SplitPoint, _tensors: Arrays) -> Arrays:
        """What would be answered."""
        return self._nothing


def virtual_env(world: SimConfig, folder: ModelFolder, seed: int) -> RecordedEnv:
    """The task on a board that differs from the world's device by a seed; closed by its owner."""
    clock = VirtualClock()
    board = UnlikeBoard(world.device, seed, clock, clock.sleep)
    board.open()
    cloud: Any = VirtualCloud(clock)
    runtime: Any = VirtualRuntime()
    pacer = BoardPacer(board, folder.routes)
    plant = LivePlant(
        board,
        SplitPipeline(folder, runtime, cloud, pacer, clock=clock),
        live_layout(board, folder, world.layout.max_power_w),
        folder,
        ScenarioRequests([random_inputs(folder)], [None], clock, clock.sleep),
        world.scenarios[0],
        CloudLink(cloud, clock),
        n_steps=EPISODE_STEPS,
        clock=clock,
        sleep=clock.sleep,
    )
    return RecordedEnv(plant, world.objective())
