"""Checks of thermal zones: temperatures, trip points, and the clocks that these slow down."""

from __future__ import annotations

from collections import Counter

from hw.base import Hold
from hw.errors import HardwareError, ImplausibleReadingError
from hw.left_out import Search
from hw.selftest.bench import SelfTestBench
from hw.selftest.findings import Verdict, ZoneFacts
from hw.thermal.trips import ZONES, Trip, read_trips
from hw.thermal.zones import SysfsThermalZone, all_zones


def check_heat(bench: SelfTestBench) -> None:
    """Look at every zone, and at the limit that the board is kept below.

    Raises:
        HardwareError: the board cannot be opened, or not be given back.
    """
    search = Search(sleep=bench.sleep)
    for zone in all_zones(bench.sysfs, search).values():
        bench.wait()
        _check_zone(bench, zone, search)
    for text in search.unread:
        bench.note("trip points", Verdict.UNTOLD, text)
    with bench.open(Hold.CAP) as board:
        try:
            text = f"clocks only go down near {board.temperature_limit_c:.0f} C"
            bench.note("heat guard", Verdict.PASSED, text)
        except HardwareError as error:
            bench.note("heat guard", Verdict.UNTOLD, str(error))


def _check_zone(bench: SelfTestBench, zone: SysfsThermalZone, search: Search) -> None:
    folder = bench.sysfs.path(ZONES) / zone.name.partition(".")[0]
    trips = read_trips(bench.sysfs, folder, search)
    temperature_c, verdict, text = None, Verdict.PASSED, ""
    try:
        temperature_c = zone.read_c()
        text = f"{temperature_c:.1f} C"
    except ImplausibleReadingError as error:
        verdict, text = Verdict.FAILED, str(error)
    except HardwareError as error:  # its unit sleeps
        verdict, text = Verdict.UNTOLD, str(error)
    facts = ZoneFacts(zone.name, temperature_c, zone.limit_c, [trip._asdict() for trip in trips])
    bench.findings.zones.append(facts)
    limit = "no limit" if zone.limit_c is None else f"limit {zone.limit_c:.0f} C"
    told = ", ".join(map(_words, trips)) or "none"
    bench.note(f"zone {zone.name}", verdict, f"{text}, {limit}; trips: {told}")


def _words(trip: Trip) -> str:
    """A trip point with what is bound to it."""
    kinds = [f"{n} x {kind}" if n > 1 else kind for kind, n in Counter(trip.bound).items()]
    bound = f" -> {', '.join(kinds)}" if kinds else ""
    return f"{trip.kind} {trip.temperature_c:.0f} C{bound}"
