"""Recorded links in the place of a scenario's own, some held out and some that it was fitted to.

Learning and searching only see random processes, those of `lte-driving` and `umts-fringe` fitted to
how often each rate occurs in four of the recordings. How rates follow one another nothing has seen
of these; of the other links, neither that nor the rates.

The recordings are read where they are and no part of this project: Mahimahi's (Netravali et al.,
USENIX ATC 2015) are GPL-3.0, "Starlink on the Autobahn" CC BY-SA 4.0, FjordLink CC BY 4.0.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agents.errors import AgentError
from agents.evaluation.rows import ALL
from envs.scenarios.scenario import Scenario
from envs.scenarios.signals import Recording

HELD_OUT, FITTED_TO = "held-out links", "links fitted to"
"""Groups of recordings: those that nothing has seen, and those that scenarios were fitted to."""


@dataclass(frozen=True, slots=True)
class Series:
    """One recording in a CSV that holds several.

    Attributes:
        file: its name.
        where: value of the columns that tell recordings apart.
        column: of the values, one for each second.
        factor: makes the column's unit one of SI.
    """

    file: str
    where: tuple[tuple[str, str], ...]
    column: str
    factor: float


@dataclass(frozen=True, slots=True)
class RecordedLink:
    """A link as it was recorded.

    Attributes:
        name: of the recording.
        base: scenario whose link it takes the place of.
        group: `HELD_OUT` or `FITTED_TO`.
        rate: of the uplink.
        rtt: round trip, where it was recorded.
    """

    name: str
    base: str
    group: str
    rate: Series
    rtt: Series | None = None


def _cellular(trace: str, direction: str) -> Series:
    where = (("trace", trace), ("direction", direction))
    return Series("mahimahi_cellular_1s.csv", where, "mbps", 1e6)


def _starlink(segment: str, capture: str) -> RecordedLink:
    """Uplink of a car and round trip of a ship, which were not recorded together."""
    rate = Series("starlink_autobahn_1s.csv", (("segment", segment),), "up_mbps", 1e6)
    rtt = Series("starlink_fjordlink_rtt_1s.csv", (("capture", capture),), "pop_ping_ms", 1e-3)
    return RecordedLink(f"starlink-{segment}", "lte-driving", HELD_OUT, rate, rtt)


CELLULAR = {
    "ATT-LTE-driving-2016": "lte-driving",
    "TMobile-LTE-short": "lte-driving",
    "Verizon-LTE-short": "lte-driving",
    "TMobile-UMTS-driving": "umts-fringe",
}
"""The scenario that was fitted to each recording's uplink, alone or with others."""
LINKS = (
    _starlink("4", "2024-12-12-10-07-00"),
    _starlink("6", "2025-01-09-10-24-25"),
    _starlink("23", "2025-01-30-12-00-29"),
    *(
        RecordedLink(f"{name}-down", base, HELD_OUT, _cellular(name, "down"))
        for name, base in CELLULAR.items()
    ),
    *(
        RecordedLink(name, base, FITTED_TO, _cellular(name, "up"))
        for name, base in CELLULAR.items()
    ),
)
"""The three longest Starlink drives; the downlinks of the cellular drives, as if they led up."""
_GROUPS = {link.name: link.group for link in LINKS}


def group(scenario: str) -> str:
    """Which mean a scenario's rows count for: that of all shipped ones, or of what was changed."""
    changed, is_changed, _ = scenario.rpartition("@")
    return _GROUPS.get(changed, changed) if is_changed else ALL


def recorded_scenarios(folder: Path) -> tuple[Scenario, ...]:
    """Shipped scenarios with the links of `LINKS`, called RECORDING@SCENARIO.

    Args:
        folder: of the CSV files.

    Raises:
        AgentError: a file is missing, cannot be read or lacks a recording.
    """
    names = {s.file for link in LINKS for s in _series(link)}
    tables = {name: _table(folder / name) for name in sorted(names)}
    return tuple(_recorded(link, folder, tables) for link in LINKS)


def _series(link: RecordedLink) -> Iterator[Series]:
    yield link.rate
    if link.rtt:
        yield link.rtt


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        raise AgentError(
            f"there is no {path}: give the folder of the recorded links, or leave --traces out"
        ) from None
    except (OSError, csv.Error, ValueError) as error:
        raise AgentError(
            f"recorded links {path} cannot be read ({type(error).__name__}); give another folder"
        ) from None


def _recorded(
    link: RecordedLink, folder: Path, tables: Mapping[str, list[dict[str, str]]]
) -> Scenario:
    base = Scenario.load(link.base)
    signals = {**base.signals, "link_bps": _recording(link.rate, folder, tables)}
    if link.rtt:
        signals["rtt_s"] = _recording(link.rtt, folder, tables)
    return replace(base, name=f"{link.name}@{base.name}", signals=signals)


def _recording(
    series: Series, folder: Path, tables: Mapping[str, list[dict[str, str]]]
) -> Recording:
    try:
        values = tuple(
            series.factor * float(row[series.column])
            for row in tables[series.file]
            if all(row[name] == value for name, value in series.where)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AgentError(
            f"{folder / series.file} is no table of recorded links "
            f"({type(error).__name__} in column {series.column}); give another folder"
        ) from None
    if not values:
        wanted = ", ".join(f"{name} {value}" for name, value in series.where)
        raise AgentError(
            f"{folder / series.file} lacks the recording of {wanted}; give another folder"
        )
    return Recording(series=values)
