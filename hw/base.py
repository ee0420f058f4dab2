"""Interface of every board: clocks to set, power and temperature to read, and a restore."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, TypeAlias, TypeVar

from hw.device.fingerprint import fingerprint
from hw.device.model import DeviceModel
from hw.errors import HardwareError, UnsupportedError

logger = logging.getLogger(__name__)

BoardT = TypeVar("BoardT", bound="Board")

OperatingPoint: TypeAlias = Mapping[str, int]
"""Domain name -> clock, Hz."""


class Hold(Enum):
    """How a clock is held.

    CAP lowers the upper limit alone and leaves the choice below it to the governor; it fails
    safest. PIN sets both limits. USERSPACE takes the governor's place.
    """

    CAP = "cap"
    PIN = "pin"
    USERSPACE = "userspace"


class Cause(Enum):
    """Who won, where a clock is not what was asked for."""

    GUARD = "the thermal guard"
    THERMAL = "a thermal cap"
    FIRMWARE = "the firmware"
    POWER_MODE = "the power mode"
    PROGRAM = "another program"
    LIMIT = "another limit of the kernel"
    OFFLINE = "its processors are offline"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a request.

    Attributes:
        requested_hz: operating point that was asked for, Hz.
        applied_hz: what was read back, Hz.
        cause: who won where they differ; None where they do not.
    """

    requested_hz: int
    applied_hz: int
    cause: Cause | None = None


class FrequencyDomain(Protocol):
    """A clock that can be set."""

    @property
    def name(self) -> str:
        """Domain name: "cpu", "gpu", "emc", or "cpu0" where a board has several."""

    @property
    def available_hz(self) -> tuple[int, ...]:
        """Ascending operating points, Hz."""

    def read_hz(self) -> int:
        """Read the clock in force, Hz."""

    def request(self, freq_hz: int) -> Applied:
        """Ask for the operating point nearest to a frequency and read back what it became.

        Raises:
            HardwareError: the kernel refused the write.
        """

    def verify(self) -> Applied | None:
        """Compare the last request with what is in force now; None if there was none."""


class PowerSensor(Protocol):
    """A sensor of one power rail."""

    @property
    def name(self) -> str:
        """Rail name."""

    @property
    def step_w(self) -> float:
        """Smallest difference that it shows, W."""

    @property
    def period_s(self) -> float:
        """Time between two new readings, s."""

    def read_w(self) -> float:
        """Read the power, W."""


class ThermalZone(Protocol):
    """A temperature sensor."""

    @property
    def name(self) -> str:
        """Zone name."""

    def read_c(self) -> float:
        """Read the temperature, degrees C."""


class EnergyCounter(Protocol):
    """A counter of the energy of one rail."""

    @property
    def name(self) -> str:
        """Rail name."""

    @property
    def step_j(self) -> float:
        """Smallest difference that it shows, J."""

    @property
    def period_s(self) -> float:
        """Time between two new readings, s."""

    def read_j(self) -> float:
        """Read the energy since some moment before the first reading, J; never falls."""


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """Energy of one window.

    Attributes:
        energy_j: energy at the board's input, J.
        duration_s: length of the window, s.
        mean_w: mean power per rail, W.
        n_samples: power readings that went into it; 0 where energy is counted.
        uncertainty_j: largest error of `energy_j` by quantisation, by the time that the sensors
            take for a new reading, by late readings and by those that failed, J; a sensor's gain
            is not in it.
        n_failed: readings that failed and were dropped.
    """

    energy_j: float
    duration_s: float
    mean_w: Mapping[str, float]
    n_samples: int
    uncertainty_j: float
    n_failed: int = 0


class Guard(Protocol):
    """Something that lowers what is asked for."""

    def limit(self, board: Board, point: OperatingPoint) -> OperatingPoint:
        """The operating point to ask for instead."""


class Board(ABC):
    """A machine whose clocks can be set; a context manager that gives it back as it was.

    What can be set and read is known once the board is open: what it lacks is absent from
    `domains`, `power_sensors` and `thermal_zones`.

    Attributes:
        applied: what became of the last request of each domain.
        failed: clocks that the last `apply` or `verify` could not set or read, and why.
        guard: lowers requests; None for none.
        clocks_are_given_back: whether the machine has them for now, see `clocks_given_back`.
        device: model that it is driven by, or that it is taken for; None where it has none.
        modelled: what is modelled instead of real, in words.
        dry_run: whether clocks are left alone, whatever is asked for.
        known_max_power_w: power with everything busy at the highest clocks, W; None where it has
            to be measured.
        lacks_radio: whether its power leaves the radio out, so that a modelled one is to be added.
        prepares_inputs: whether pictures are to be prepared for each request, as work of `host`.
    """

    name: str
    device: DeviceModel | None = None
    modelled: tuple[str, ...] = ()
    dry_run: bool = False
    known_max_power_w: float | None = None
    lacks_radio: bool = False
    prepares_inputs: bool = False
    domains: Mapping[str, FrequencyDomain]
    power_sensors: Mapping[str, PowerSensor]
    thermal_zones: Mapping[str, ThermalZone]
    guard: Guard | None = None
    clocks_are_given_back: bool = False
    _is_open = False

    def __init__(self) -> None:
        self.applied: dict[str, Applied] = {}
        self.failed: dict[str, HardwareError] = {}
        self._told: set[tuple[str, Cause]] = set()

    @property
    def fingerprint(self) -> str:
        """Hash of the device's or the board's name and operating points, 16 hexadecimal digits."""
        if self.device is not None:
            return self.device.fingerprint
        return fingerprint(self.name, {d.name: d.available_hz for d in self.domains.values()})

    @property
    @abstractmethod
    def temperature_limit_c(self) -> float:
        """Temperature at which the board begins to slow itself down, degrees C."""

    def open(self) -> None:
        """Find the hardware and make ready to give it back; nothing if it is open already.

        Raises:
            HardwareError: this machine is not such a board, or a sensor or clock is unreadable.
        """
        if not self._is_open:
            self._acquire()
            self._is_open = True

    def close(self) -> None:
        """Give the machine back as `open` found it; nothing if it is not open.

        Raises:
            HardwareError: names everything that could not be restored.
        """
        if self._is_open:
            self._is_open = False
            self.applied.clear()
            self._told.clear()
            self._release()

    @property
    def evidence(self) -> Mapping[str, str]:
        """What each figure is, measured, fitted or modelled; empty where `modelled` says it."""
        return {}

    @property
    def shortest_window_s(self) -> float:
        """Shortest energy window that the sensors resolve, s."""
        return 0.0

    @abstractmethod
    def _acquire(self) -> None:
        """Find the hardware and make ready to give it back."""

    @abstractmethod
    def _release(self) -> None:
        """Put back what was changed, last first, and keep going when something fails."""

    @contextmanager
    def clocks_given_back(self) -> Iterator[None]:
        """Leave the clocks to the machine within, as before it was opened; sensors go on.

        Requests meanwhile are not made: `apply` returns the clocks in force. Afterwards they stay
        as they are until the next request.

        Raises:
            HardwareError: names everything that could not be put back; it is tried again at the
                end.
        """
        self.applied.clear()
        self.failed = {}
        try:
            self._give_clocks_back()
            self.clocks_are_given_back = True
            yield
        finally:
            self.clocks_are_given_back = False
            self._take_clocks_again()

    def _give_clocks_back(self) -> None:
        """Let the machine have its clocks; the highest ones, where it has no governor."""
        for domain in self.domains.values():
            domain.request(domain.available_hz[-1])

    def _take_clocks_again(self) -> None:  # noqa: B027 - most boards need not get ready
        """Get ready for requests."""

    @abstractmethod
    def begin_window(self) -> None:
        """Start measuring energy.

        Raises:
            UnsupportedError: the board has no power sensor.
        """

    @abstractmethod
    def end_window(self) -> EnergyReading:
        """Stop measuring energy and return what was used since `begin_window`.

        Raises:
            WindowTooShortError: the sensors cannot resolve so short a time.
        """

    def pace(
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> AbstractContextManager[object]:
        """Make a piece of a network, the body, take as long as it takes on the board.

        Whatever runs on the board itself does so already.

        Args:
            flops: floating-point operations, two per multiply-add.
            traffic_bytes: bytes of weights, layer inputs and layer outputs.
            kernels: launched kernels after fusion.
        """
        return nullcontext()

    def host(self) -> AbstractContextManager[object]:
        """Make work of the processor beside the network, the body, take as long as on the board.

        That is pictures, codec and messages. Whatever runs on the board itself does so already.
        """
        return nullcontext()

    @property
    def models_host(self) -> bool:
        """Whether `play_host` takes the time of the work that `host` would run."""
        return False

    def play_host(self, sent_bytes: float) -> None:  # noqa: B027 - others do it for real
        """Take the time of what the processor does beside the network, where that is modelled.

        Args:
            sent_bytes: that the request sends.
        """

    def runs(  # noqa: B027 - what a real board draws is measured
        self, flops: float, traffic_bytes: float, kernels: float
    ) -> None:
        """Tell a modelled board which network it runs, as networks differ in what they draw.

        Args:
            flops: floating-point operations of the whole network, two per multiply-add.
            traffic_bytes: bytes of weights, layer inputs and layer outputs.
            kernels: launched kernels after fusion.
        """

    @property
    def too_slow_share(self) -> float:
        """Share of the paced work that took longer than on the board; 0 on the board itself."""
        return 0.0

    def set_ambient(self, ambient_c: float) -> None:  # noqa: B027 - a real board's air is not set
        """Set the temperature of the air around the board, degrees C, where it is modelled."""

    def look_again(self) -> None:  # noqa: B027 - few boards change while they are open
        """Take up clocks that came since the board was opened."""

    def apply(self, point: OperatingPoint) -> OperatingPoint:
        """Ask for clocks, as far as the guard allows, and return what each reports afterwards.

        Who won where a clock is not what was asked for stands in `applied`. A clock that refuses
        does not keep the others from being set.

        Raises:
            UnsupportedError: the board has no such domain.
            HardwareError: the kernel refused a write; the first error where it refused several.
        """
        if self.clocks_are_given_back:
            return {name: self.domains[name].read_hz() for name in point}
        self.look_again()
        for name in point:
            if name not in self.domains:
                raise UnsupportedError(
                    f"board {self.name} has no clock {name!r}; use {', '.join(self.domains)}"
                )
        allowed = point if self.guard is None else self.guard.limit(self, point)
        self.failed = {}
        for name, freq_hz in allowed.items():
            try:
                applied = self.seen(name, self.domains[name].request(freq_hz))
            except HardwareError as error:
                self.failed[name] = error
                continue
            if freq_hz < point[name] and applied.cause is None:
                applied = Applied(point[name], applied.applied_hz, Cause.GUARD)
            self._note(name, applied)
        self._raise_first()
        return {name: self.applied[name].applied_hz for name in point}

    def verify(self) -> OperatingPoint:
        """What the last requests have become by now, Hz; `applied` says who won.

        Raises:
            HardwareError: a clock cannot be read; the first error where several cannot. The others
                stand in `applied`.
        """
        self.failed = {}
        for name, applied in list(self.applied.items()):
            try:
                found = self.domains[name].verify()
                found = None if found is None else self.seen(name, found)
            except HardwareError as error:
                self.failed[name] = error
                continue
            if found is not None and not (found.cause is None and applied.cause is Cause.GUARD):
                self._note(name, found)
        self._raise_first()
        return {name: applied.applied_hz for name, applied in self.applied.items()}

    def seen(self, name: str, applied: Applied) -> Applied:
        """What became of a request, as far as more is known of a clock than its own files say."""
        return applied

    def temperature_c(self) -> float:
        """Read the hottest zone, degrees C.

        Raises:
            UnsupportedError: the board has no temperature sensor.
        """
        if not self.thermal_zones:
            raise UnsupportedError(
                f"board {self.name} has no temperature sensor; leave temperature out or use "
                "--board sim"
            )
        return max(zone.read_c() for zone in self.thermal_zones.values())

    def _raise_first(self) -> None:
        for error in self.failed.values():
            raise error

    def margin_c(self) -> float:
        """Read how far the board is below its temperature limit, degrees C.

        Raises:
            UnsupportedError: the board has no temperature sensor.
        """
        return self.temperature_limit_c - self.temperature_c()

    def _note(self, name: str, applied: Applied) -> None:
        """Remember what became of a request, and log the first time that another program wins."""
        self.applied[name] = applied
        if applied.cause is not None and (name, applied.cause) not in self._told:
            self._told.add((name, applied.cause))
            logger.warning(
                "%s: asked for %.0f MHz, got %.0f MHz: %s",
                name,
                applied.requested_hz * 1e-6,
                applied.applied_hz * 1e-6,
                applied.cause.value,
            )

    def __enter__(self: BoardT) -> BoardT:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
