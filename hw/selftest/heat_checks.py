"""Thermal zones: temperatures, trip points, and what these slow down."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hw.base import Hold
from hw.errors import HardwareError
from hw.selftest.bench import Bench
from hw.selftest.findings import Binding, Verdict, ZoneFacts
from hw.sensors.thermal import ZONES, thermal_zones
from hw.sysfs import Sysfs

PLAUSIBLE_C = (-40.0, 150.0)
"""Range of silicon sensors."""


def check_heat(bench: Bench) -> None:
    """Look at every zone, and at the limit that the board is kept below.

    Raises:
        HardwareError: the board cannot be opened, or not be given back.
    """
    limits_c = {name: zone.limit_c for name, zone in thermal_zones(bench.sysfs).items()}
    for folder in bench.sysfs.glob(f"{ZONES}/thermal_zone*"):
        bench.wait()
        facts, problem = read_zone(bench.sysfs, folder, limits_c)
        bench.findings.zones.append(facts)
        _note_zone(bench, facts, problem)
    with bench.open(Hold.CAP) as board:
        try:
            text = f"clocks only go down near {board.temperature_limit_c:.0f} C"
            bench.note("heat guard", Verdict.PASSED, text)
        except HardwareError as error:
            bench.note("heat guard", Verdict.UNTOLD, str(error))


def read_zone(
    sysfs: Sysfs, folder: Path, limits_c: dict[str, float | None]
) -> tuple[ZoneFacts, str | None]:
    """Facts of a zone, and why it tells no temperature; None if it does.

    Args:
        sysfs: access to the kernel's files.
        folder: of the zone.
        limits_c: what zones are taken to slow down at, by name.
    """
    name = f"{folder.name}.{_text(sysfs, folder / 'type') or 'unknown'}"
    temperature_c, problem = None, None
    try:
        temperature_c = sysfs.read_int(folder / "temp") * 1e-3
    except HardwareError as error:
        problem = str(error)
    trips = {}
    for kind in sysfs.glob(f"{ZONES}/{folder.name}/trip_point_*_type"):
        number = int(kind.name.split("_")[2])
        raw_millicelsius = _int(sysfs, folder / kind.name.replace("_type", "_temp"))
        if raw_millicelsius is not None:
            trips[number] = (_text(sysfs, kind) or "unknown", raw_millicelsius * 1e-3)
    bindings = []
    for trip in sysfs.glob(f"{ZONES}/{folder.name}/cdev*_trip_point"):
        device = sysfs.real_path(folder / trip.name.removesuffix("_trip_point"))
        kind_text = _text(sysfs, device / "type") or "unknown"
        bindings.append(Binding(f"{device.name}.{kind_text}", _int(sysfs, trip)))
    facts = ZoneFacts(name, temperature_c, limits_c.get(name), trips, tuple(bindings))
    return facts, problem


def _note_zone(bench: Bench, facts: ZoneFacts, problem: str | None) -> None:
    title = f"zone {facts.name}"
    if facts.temperature_c is None:
        bench.note(title, Verdict.UNTOLD, problem or "no temperature")
        return
    trips = [
        f"{kind} {limit_c:.0f} C{_bound(facts, number)}"
        for number, (kind, limit_c) in sorted(facts.trips.items())
    ]
    limit = "no limit" if facts.limit_c is None else f"limit {facts.limit_c:.0f} C"
    low_c, high_c = PLAUSIBLE_C
    is_plausible = low_c <= facts.temperature_c <= high_c
    bench.note(
        title,
        Verdict.PASSED if is_plausible else Verdict.FAILED,
        f"{facts.temperature_c:.1f} C, {limit}; trips: {', '.join(trips) or 'none'}",
    )


def _bound(facts: ZoneFacts, number: int) -> str:
    kinds = [b.device.partition(".")[2] for b in facts.bindings if b.trip == number]
    words = [f"{n} x {kind}" if n > 1 else kind for kind, n in Counter(kinds).items()]
    return f" -> {', '.join(words)}" if words else ""


def _text(sysfs: Sysfs, path: Path) -> str | None:
    try:
        return sysfs.read_text(path)
    except HardwareError:
        return None


def _int(sysfs: Sysfs, path: Path) -> int | None:
    try:
        return sysfs.read_int(path)
    except HardwareError:
        return None
