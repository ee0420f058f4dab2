"""What every board offers: clocks to pin, power and temperature to read, and a way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeAlias, TypeVar

from hw.errors import UnsupportedError
from hw.fingerprint import fingerprint

BoardT = TypeVar("BoardT", bound="Board")

OperatingPoint: TypeAlias = Mapping[str, int]
"""Domain name -> clock, Hz."""


class FrequencyDomain(Protocol):
    """A clock that can be pinned."""

    @property
    def name(self) -> str:
        """Domain name: "cpu", "gpu", "emc", or "cpu0" where a board has several."""

    @property
    def available_hz(self) -> tuple[int, ...]:
        """Ascending operating points, Hz."""

    def read_hz(self) -> int:
        """Read the present clock, Hz."""

    def pin(self, freq_hz: int) -> int:
        """Hold the clock at a frequency and return what was read back, Hz.

        Raises:
            FrequencyRejectedError: the hardware did something else.
        """


class PowerSensor(Protocol):
    """A sensor of one power rail."""

    @property
    def name(self) -> str:
        """Rail name."""

    def read_w(self) -> float:
        """Read the power, W."""


class ThermalZone(Protocol):
    """A temperature sensor."""

    @property
    def name(self) -> str:
        """Zone name."""

    def read_c(self) -> float:
        """Read the temperature, degrees C."""


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """Energy of one window.

    Attributes:
        energy_j: energy at the board's input, J.
        duration_s: length of the window, s.
        mean_w: mean power per rail, W.
        n_samples: power readings that went into it; 0 where power is integrated exactly.
    """

    energy_j: float
    duration_s: float
    mean_w: Mapping[str, float]
    n_samples: int


class Board(ABC):
    """A machine whose clocks can be set; a context manager that gives it back as it was.

    What can be set and read is known once the board is open: what it lacks is absent from
    `domains`, `power_sensors` and `thermal_zones`.
    """

    name: str
    domains: Mapping[str, FrequencyDomain]
    power_sensors: Mapping[str, PowerSensor]
    thermal_zones: Mapping[str, ThermalZone]
    _is_open = False

    @property
    def fingerprint(self) -> str:
        """Hash of the board's name and operating points, 16 hexadecimal digits."""
        return fingerprint(self.name, {d.name: d.available_hz for d in self.domains.values()})

    @property
    @abstractmethod
    def temperature_limit_c(self) -> float:
        """Temperature at which the board begins to slow itself down, degrees C."""

    def open(self) -> None:
        """Find the hardware and save what `close` restores; nothing if it is open already.

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
            self._release()

    @abstractmethod
    def _acquire(self) -> None:
        """Find the hardware and save what `_release` restores."""

    @abstractmethod
    def _release(self) -> None:
        """Restore what `_acquire` saved, last first, and keep going when something fails."""

    @abstractmethod
    def begin_window(self) -> None:
        """Start measuring energy.

        Raises:
            UnsupportedError: the board has no power sensor.
        """

    @abstractmethod
    def end_window(self) -> EnergyReading:
        """Stop measuring energy and return what was used since `begin_window`."""

    def apply(self, point: OperatingPoint) -> OperatingPoint:
        """Pin the named domains and return what each reports afterwards.

        Raises:
            UnsupportedError: the board has no such domain.
            FrequencyRejectedError: a domain did not take its clock.
        """
        for name in point:
            if name not in self.domains:
                raise UnsupportedError(
                    f"board {self.name} has no clock {name!r}; use {', '.join(self.domains)}"
                )
        return {name: self.domains[name].pin(freq_hz) for name, freq_hz in point.items()}

    def read_point(self) -> OperatingPoint:
        """Read the present clocks, Hz."""
        return {name: domain.read_hz() for name, domain in self.domains.items()}

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
