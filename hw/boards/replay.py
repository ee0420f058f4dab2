"""A board that answers from a measured table instead of from a fitted model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hw.boards.measured_table import MeasuredTable, load
from hw.boards.sim import SimBoard
from hw.boards.sim_state import SimState, SimWork
from hw.device.latency import Demand
from hw.device.model import DeviceModel
from hw.device.power import RailPower
from hw.errors import UnsupportedError

logger = logging.getLogger(__name__)

PIECES = 0.3
"""How far off the latency of a piece may be that is the whole's times its share of operations."""
SAME = 0.25
"""Of operations, which are not counted alike everywhere; what differs more is another network."""
NOTHING = Demand(0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class ReplayWork(SimWork):
    """A piece of the measured network.

    Attributes:
        share: of the network's operations.
    """

    share: float = 1.0


class ReplayState(SimState):
    """Integrates measured latencies, and measured power where there is any.

    Args:
        device: for all that was not measured.
        table: what was.
        ambient_c: temperature around it, degrees C.
        now_s: time of the initial state, s.

    Attributes:
        is_measured: whether the measured network runs, rather than another one.
    """

    def __init__(
        self, device: DeviceModel, table: MeasuredTable, ambient_c: float, now_s: float
    ) -> None:
        super().__init__(device, ambient_c, now_s)
        self._table = table
        self.is_measured = True

    @property
    def rails(self) -> RailPower:
        """Power of each rail, W: measured where the table has it, otherwise the device's model."""
        clocks_hz = self._clocks_hz()
        is_busy = self.work is not None and not self.work.done
        measured = self._table.rails.get(self._table.at(*clocks_hz))
        if is_busy and self.is_measured and measured is not None:
            return measured
        util = float(is_busy)
        return self._device.power.rails_w(
            *clocks_hz, cpu_util=0.0, gpu_util=util, traffic_bytes_per_s=0.0
        )

    def _latency_s(self, work: SimWork) -> float:
        if not isinstance(work, ReplayWork):  # of the processor, which was not measured
            return super()._latency_s(work)
        return work.share * self._table.latency_s[self._table.at(*self._clocks_hz())]


class ReplayBoard(SimBoard):
    """A board as it was measured, for judging policies by what no fit has seen.

    Its clocks are those of the table; heads and tails of the network take the measured latency
    times their share of its operations.

    Args:
        device: with a `replay`, see `python -m hw.replay`.
        ambient_c, clock, sleep, dry_run: as of `SimBoard`.

    Raises:
        UnsupportedError: the device replays nothing.
        DeviceFileError: what it replays is not there or damaged.
    """

    name = "replay"
    _ratio = 1.0

    def __init__(
        self,
        device: DeviceModel,
        *,
        ambient_c: float = 25.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        dry_run: bool = False,
    ) -> None:
        if device.replay is None:
            raise UnsupportedError(
                f"board replay answers from a measured table, and {device.name} has none; write a "
                "device file with one: python -m hw.replay --data DIR --network NAME --out FILE"
            )
        self.table = load(Path(device.replay.data), device.replay.network)
        super().__init__(device, ambient_c=ambient_c, clock=clock, sleep=sleep, dry_run=dry_run)
        self.modelled = tuple(f"{what} ({kind})" for what, kind in self.evidence.items())

    @property
    def evidence(self) -> dict[str, str]:
        """What each figure is: measured, fitted or modelled."""
        power = "fitted to VGG19 and a light load"
        if self.table.rails and self._is_own:
            power = "measured at the highest memory clock while it computes, fitted elsewhere"
        latency = {
            f"latency of all of {self.table.network}": "measured",
            "latency of heads and tails": f"modelled, +-{PIECES:.0%}",
        }
        if not self._is_own:
            latency = {
                "latency": f"modelled, the network that runs has {self._ratio:.2g} times the "
                f"operations of {self.table.network}, which was measured"
            }
        return {
            **latency,
            "power and energy": power,
            "temperature": "modelled",
        }

    def runs(self, flops: float, traffic_bytes: float, kernels: float) -> None:
        """Tell by its operations whether it is the measured network that runs."""
        self._ratio = flops / self.table.flops
        with self.present() as state:
            if isinstance(state, ReplayState):
                state.is_measured = self._is_own

    @property
    def _is_own(self) -> bool:
        return abs(self._ratio - 1.0) <= SAME

    def pace(
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> AbstractContextManager[SimWork]:
        """Make a piece of the network take its share of the measured latency."""
        share = flops / self.table.flops
        return self._do(ReplayWork(NOTHING, traffic_bytes, share=share))

    def _state_at(self, ambient_c: float, now_s: float) -> SimState:
        return ReplayState(self.device, self.table, ambient_c, now_s)

    def _acquire(self) -> None:
        super()._acquire()
        told = "; ".join(f"{what}: {kind}" for what, kind in self.evidence.items())
        logger.warning("board replay: %s", told)
