"""Recorded link rates as held-out scenarios: nothing was fitted to them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from agents.errors import AgentError
from envs.scenario import Scenario
from envs.signals import Recording

HELD_OUT = "TMobile-UMTS-driving"
"""The LTE recordings of the set are what `lte-driving` was fitted to; this one was not used."""
REPLACED = "lte-driving"


def recorded_scenarios(path: Path) -> tuple[Scenario, ...]:
    """`lte-driving` with its link replaced by the held-out recording.

    Args:
        path: CSV with the columns trace, direction, second and mbps.

    Raises:
        AgentError: the file cannot be read or lacks the recording.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rates_bps = tuple(
                1e6 * float(row["mbps"])
                for row in csv.DictReader(stream)
                if row["trace"] == HELD_OUT and row["direction"] == "up"
            )
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise AgentError(
            f"link traces {path} cannot be read ({error!r}); give another file"
        ) from None
    if not rates_bps:
        raise AgentError(f"link traces {path} hold no uplink of {HELD_OUT}; give another file")
    base = Scenario.load(REPLACED)
    signals = {**base.signals, "link_bps": Recording(series=rates_bps)}
    return (replace(base, name=f"recorded-umts@{REPLACED}", signals=signals),)
