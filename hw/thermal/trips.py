"""Trip points of a thermal zone, and which of them slow a clock down.

A trip of the type "passive" does not say what happens there: on Jetson Orin with JetPack 5 and 6
one at 70 degrees C is bound to nothing but `hot-surface-alert`, which only warns, and clocks fall
at 99. So it counts where a cooling device that slows a clock is bound to it. Public notes agree on
this; no recorded board was at hand (`python -m hw.doctor --record` saves the bindings).

Source: Documentation/driver-api/thermal/sysfs-api.rst.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from hw.left_out import Search
from hw.sysfs import Sysfs
from hw.thermal.cooling import slows_a_clock

ZONES = "sys/class/thermal"
STOPPING_TRIPS = ("hot", "critical")
"""Trip points at which the machine stops, whatever is bound; "active" ones only start a fan."""
PASSIVE = "passive"
UNKNOWN = "unknown"
"""Type of a cooling device that does not report its own."""
SENSIBLE_TRIPS_C = (30.0, 150.0)
"""Trip points outside are switched off, or not of a chip."""


class Trip(NamedTuple):
    """A trip point.

    Attributes:
        kind: "passive", "hot", "critical" or "active".
        temperature_c: where it is, degrees C.
        bound: types of the cooling devices that act there.
    """

    kind: str
    temperature_c: float
    bound: tuple[str, ...]

    @property
    def slows_or_stops(self) -> bool:
        """Whether clocks fall there, or the machine stops."""
        low_c, high_c = SENSIBLE_TRIPS_C
        acts = self.kind == PASSIVE and any(slows_a_clock(kind) for kind in self.bound)
        return (acts or self.kind in STOPPING_TRIPS) and low_c <= self.temperature_c <= high_c


def read_trips(sysfs: Sysfs, zone: Path, search: Search) -> list[Trip]:
    """All trip points of a zone that can be read; those that cannot are reported in words."""
    bindings = _bindings(sysfs, zone, search)
    trips = []
    for file in sysfs.glob(f"{ZONES}/{zone.name}/trip_point_*_type"):
        number = file.name.split("_")[2]
        with search.leaving_out():
            kind = search.name(sysfs, file)
            where = zone / f"trip_point_{number}_temp"
            raw_millicelsius = search.ask(partial(sysfs.read_int, where))
            trips.append(Trip(kind, raw_millicelsius * 1e-3, tuple(bindings.get(number, ()))))
    return trips


def _bindings(sysfs: Sysfs, zone: Path, search: Search) -> dict[str, list[str]]:
    """Types of the cooling devices at each trip, by the trip's number as text."""
    bound: dict[str, list[str]] = {}
    for file in sysfs.glob(f"{ZONES}/{zone.name}/cdev*_trip_point"):
        device = zone / file.name.removesuffix("_trip_point")
        kind = UNKNOWN
        with search.leaving_out():
            kind = search.name(sysfs, device / "type")
        with search.leaving_out():
            bound.setdefault(str(search.ask(partial(sysfs.read_int, file))), []).append(kind)
    return bound
