"""A modelled board in real time: runs a real pipeline under modelled clocks, power and heat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from hw.base import Applied, Board, Cause, EnergyReading
from hw.boards.sim_state import SimState, SimWork
from hw.device.latency import HostScaling
from hw.device.model import Demand, DeviceModel
from hw.errors import SensorReadError, UnsupportedError
from hw.sensors.energy_meter import check_duration, shortest_modelled_window_s

TOO_SLOW = 1.1
"""Times the modelled latency; what takes longer is counted as too slow for the model."""
LEAST_S = 1e-3
"""A piece of work that is later by less is late by chance."""


class SimBoard(Board):
    """A `DeviceModel` coupled to a clock; everything it reports is modelled.

    State advances when it is looked at: power and temperature are integrated since the last look
    at the clocks and the utilisation of that time. One piece of work runs at a time.

    Args:
        device: the device to model.
        ambient_c: temperature around it, degrees C, until `set_ambient` is called.
        clock: present time, s.
        sleep: waits for a number of seconds.
        dry_run: leave the clocks alone, whatever is requested.
        is_governed: what is requested of a clock caps it, and the device's governor moves it below.
    """

    name = "sim"
    device: DeviceModel
    modelled: tuple[str, ...] = ("clocks", "power", "temperature")
    lacks_radio = True

    def __init__(
        self,
        device: DeviceModel,
        *,
        ambient_c: float = 25.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        dry_run: bool = False,
        is_governed: bool = False,
    ) -> None:
        super().__init__()
        self.device = self._as_loaded = device
        self.known_max_power_w = device.max_power_w
        self.domains = {name: _SimDomain(self, name) for name in device.settable}
        self.power_sensors = {_SimSensor.name: _SimSensor(self)}
        self.thermal_zones = {_SimZone.name: _SimZone(self)}
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.RLock()
        self._is_governed = is_governed
        self._state = self._state_at(ambient_c, clock())
        self.dry_run = dry_run
        self._found_hz: dict[str, int] = {}
        self._n_works = self._n_slow = 0
        self._window: tuple[float, dict[str, float]] | None = None

    def _state_at(self, ambient_c: float, now_s: float) -> SimState:
        return SimState(self.device, ambient_c, now_s, is_governed=self._is_governed)

    @property
    def temperature_limit_c(self) -> float:
        """Temperature at which the modelled device begins to throttle, degrees C."""
        return self.device.thermal.throttle_c

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the device's power monitor would resolve, s."""
        return shortest_modelled_window_s(self.device)

    @contextmanager
    def present(self) -> Iterator[SimState]:
        """Hold the state, integrated up to now, against other threads."""
        with self._lock:
            self._state.advance(self._clock())
            yield self._state

    def begin_window(self) -> None:
        """Start measuring modelled energy."""
        with self.present() as state:
            self._window = (state.now_s, dict(state.energy_j))

    def end_window(self) -> EnergyReading:
        """Return the exact integral of the modelled power since `begin_window`.

        Raises:
            SensorReadError: no window was begun.
            WindowTooShortError: the device's power monitor could not resolve so short a time.
        """
        with self.present() as state:
            if self._window is None:
                raise SensorReadError("no energy window of board sim is open; begin one first")
            (start_s, start_j), self._window = self._window, None
            duration_s = state.now_s - start_s
            used_j = {rail: joule - start_j[rail] for rail, joule in state.energy_j.items()}
        check_duration(duration_s, self.shortest_window_s)
        mean_w = {rail.removesuffix("_w"): joule / duration_s for rail, joule in used_j.items()}
        return EnergyReading(used_j["total_w"], duration_s, mean_w, n_samples=0, uncertainty_j=0.0)

    def run(self, demand: Demand, *, traffic_bytes: float = 0.0) -> AbstractContextManager[SimWork]:
        """Do some work: the body does it for real, the board takes as long as the model says.

        The board is busy while the body runs; afterwards the rest of the modelled latency is
        slept. Clock changes on the way count. A body that takes longer than modelled is not
        shortened, and the modelled board idles meanwhile.

        Args:
            demand: the work, scalars.
            traffic_bytes: memory traffic of the work; adds to the power of the memory rails.

        Yields:
            The run; its `modelled_s` is the modelled latency once this context is left.

        Raises:
            UnsupportedError: other work is running.
        """
        return self._do(SimWork(demand, traffic_bytes))

    @contextmanager
    def _do(self, work: SimWork) -> Iterator[SimWork]:
        with self.present() as state:
            began_s = state.now_s
            if state.work is not None:
                raise UnsupportedError(
                    f"board {self.name} does one piece of work at a time and is busy; wait for the "
                    "other"
                )
            state.start(work)
        try:
            yield work
            self._compare(work, began_s)
            while (remaining_s := self._remaining_s(work)) > 0:
                self._sleep(remaining_s)
        finally:
            with self.present() as state:
                state.work = None

    @property
    def too_slow_share(self) -> float:
        """Share of the work that took this machine longer than the modelled board takes."""
        return self._n_slow / max(self._n_works, 1)

    def _compare(self, work: SimWork, began_s: float) -> None:
        with self.present() as state:
            took_s = state.now_s - began_s
            self._n_works += 1
            self._n_slow += work.done and took_s > TOO_SLOW * work.modelled_s + LEAST_S

    def runs(self, flops: float, traffic_bytes: float, kernels: float) -> None:
        """Give the modelled power the network's activity."""
        device = self._as_loaded
        self.device = device.running(device.network.demand(flops, traffic_bytes, kernels))
        self.known_max_power_w = self.device.max_power_w
        with self.present() as state:
            state.draw_as(self.device)

    def pace(
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> AbstractContextManager[SimWork]:
        """Make a piece of a network take as long as the model says."""
        return self.run(
            self.device.network.demand(flops, traffic_bytes, kernels), traffic_bytes=traffic_bytes
        )

    @property
    def models_host(self) -> bool:
        """Whether the device's file says what the processor does beside the network."""
        return self.device.host != HostScaling()

    def play_host(self, sent_bytes: float) -> None:
        """Take the time of what the processor does beside the network for one request."""
        if self.models_host:
            cycles = self.device.host.cycles(sent_bytes)
            with self.run(Demand(0.0, cycles, 0.0, 0.0)):
                pass

    def set_ambient(self, ambient_c: float) -> None:
        """Set the modelled temperature around the board, degrees C."""
        with self.present() as state:
            state.ambient_c = ambient_c

    def _give_clocks_back(self) -> None:
        self._release()
        with self.present() as state:
            state.govern(True)

    def _take_clocks_again(self) -> None:
        with self.present() as state:
            state.govern(self._is_governed)

    def _acquire(self) -> None:
        with self.present() as state:
            self._found_hz = {name: state.requested_hz(name) for name in self.domains}

    def _release(self) -> None:
        for name, freq_hz in self._found_hz.items():
            self.domains[name].request(freq_hz)

    def _remaining_s(self, work: SimWork) -> float:
        """Time until the work is done or a clock changes, whichever comes first, s."""
        with self.present() as state:
            return 0.0 if work.done else state.until_event_s()


class _SimDomain:
    """A modelled clock."""

    def __init__(self, board: SimBoard, name: str) -> None:
        self.name = name
        self.available_hz = board.device.domains[name].available_hz
        self._board = board

    def read_hz(self) -> int:
        """Read the clock in effect, Hz."""
        with self._board.present() as state:
            if self._board.clocks_are_given_back:
                return state.governed_hz(self.name)
            return state.clock_hz(self.name)

    def request(self, freq_hz: int) -> Applied:
        """Request the nearest operating point; what is applied is in force after the delay."""
        with self._board.present() as state:
            if self._board.dry_run:
                return Applied(freq_hz, state.clock_hz(self.name))
            applied_hz = state.request(self.name, freq_hz)
            return self._applied(state.requested_hz(self.name), applied_hz)

    def verify(self) -> Applied | None:
        """Compare the last request with the thermal cap."""
        with self._board.present() as state:
            requested_hz = state.requested_hz(self.name)
            return self._applied(requested_hz, state.capped_hz(self.name, requested_hz))

    def _applied(self, requested_hz: int, applied_hz: int) -> Applied:
        cause = None if applied_hz == requested_hz else Cause.THERMAL
        return Applied(requested_hz, applied_hz, cause)


class _SimSensor:
    """The power monitor at the input of a modelled board."""

    name = "VDD_IN"

    def __init__(self, board: SimBoard) -> None:
        self._board = board
        self.step_w = board.device.sensor.step_w
        self.period_s = board.device.sensor.period_s

    def read_w(self) -> float:
        """Read the modelled power as the sensor would show it, W."""
        with self._board.present() as state:
            return float(self._board.device.quantise_w(state.rails.total_w))


class _SimZone:
    """The hottest zone of a modelled board."""

    name = "modelled"

    def __init__(self, board: SimBoard) -> None:
        self._board = board

    def read_c(self) -> float:
        """Read the modelled temperature, degrees C."""
        with self._board.present() as state:
            return state.temperature_c
