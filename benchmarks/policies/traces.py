"""Recorded link rates as held-out scenarios.

Learning and searching only see random processes that were fitted to how often each rate occurs; how
the rates follow one another in a recording, nothing has seen.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from agents.errors import AgentError
from envs.scenarios.scenario import Scenario
from envs.scenarios.signals import Recording

BASES = {
    "ATT-LTE-driving-2016": "lte-driving",
    "TMobile-LTE-short": "lte-driving",
    "Verizon-LTE-short": "lte-driving",
    "TMobile-UMTS-driving": "umts-fringe",
}
"""The scenario that each recording takes its link's place in."""


def recorded_scenarios(path: Path) -> tuple[Scenario, ...]:
    """Shipped scenarios with recorded uplinks, called RECORDING@SCENARIO.

    Args:
        path: CSV with the columns trace, direction, second and mbps.

    Raises:
        AgentError: the file cannot be read or lacks a recording.
    """
    rates_bps: dict[str, list[float]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if row["direction"] == "up":
                    rates_bps[row["trace"]].append(1e6 * float(row["mbps"]))
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise AgentError(
            f"link traces {path} cannot be read ({type(error).__name__}: {error}); "
            "give another file"
        ) from None
    missing = [name for name in BASES if not rates_bps[name]]
    if missing:
        raise AgentError(f"link traces {path} lack {', '.join(missing)}; give another file")
    return tuple(
        _recorded(name, Scenario.load(base), rates_bps[name]) for name, base in BASES.items()
    )


def _recorded(name: str, base: Scenario, rates_bps: list[float]) -> Scenario:
    signals = {**base.signals, "link_bps": Recording(series=tuple(rates_bps))}
    return replace(base, name=f"{name}@{base.name}", signals=signals)
