"""What a run meets from outside: a link whose rate changes as written, and requests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.arrays import Floats
from envs.errors import EnvError
from envs.scenarios.episodes import MIN_LINK_BPS
from envs.scenarios.scenario_file import BACK_TO_BACK

PAYLOAD = 1448 / 1500
"""Of what the link carries; a scenario's rate is that at which messages get there."""
RECORDING, SEGMENT = Path("../shared/data/traces/starlink_autobahn_1s.csv"), "14"
"""A dish on a moving car, of sys-uos/Starlink-on-the-Autobahn; no scenario was fitted to it."""
SHORTEST_SEARCHED_S = 10
"""Of a trace; shorter ones go round."""
RECORDED_S = 40
"""Stretch of the recording that a repeat takes; the next repeat takes the next one."""
ETA = 0.5
HELD_UP_S = 10.0
"""Correlation time of that. Replies are slow one by one; simulated values are drawn each second and
are linear between, and only if neighbours are alike they are as often slow as replies."""
_SCENARIO = """schema_version = 2
description = "A link that is known beforehand, for live runs."
eta = {eta}
[link]
{link}
rtt_ms = {rtt_ms}
radio_w = 1.0
radio_w_per_mbps = 0.01
[server]
gflop_per_s = {gflop_per_s}
load = 0.0
hidden_load = {{ quantiles = {held_up}, correlation_time_s = {held_up_s} }}
[arrivals]
{arrivals}
[ambient]
temperature_c = 25.0
[requests]
latency_target_ms = {target_ms}
[board]
slowdown = 1.0
decision_ms = 0.1
"""


@dataclass(frozen=True, slots=True)
class Course:
    """A link and the requests of a run.

    Attributes:
        name: for tables.
        rates_mbps: of the uplink, one per second; the first again after the last.
        rtt_ms: round trip of an empty packet.
        arrival_hz: request rate, unless requests come back to back.
        arrivals: kind of them, as scenarios name it.
        target_ms: latency target.
    """

    name: str
    rates_mbps: tuple[float, ...]
    rtt_ms: float
    arrival_hz: float = 10.0
    arrivals: str = "periodic"
    target_ms: float = 100.0

    def rates_bps(self, moments_s: npt.NDArray[Any]) -> Floats:
        """Rate of the uplink at some moments."""
        series = np.maximum(np.array(self.rates_mbps) * 1e6, MIN_LINK_BPS)
        found: Floats = series[moments_s.astype(np.intp) % len(series)]
        return found

    def schedule(self, seconds: float) -> list[tuple[float, float]]:
        """Changes of the rate, each with the second at which it comes; the first one at 0."""
        moments_s = np.arange(max(round(seconds), 1), dtype=np.float64)
        every = list(zip(moments_s.tolist(), self.rates_bps(moments_s).tolist(), strict=True))
        return every[:1] + [later for before, later in pairwise(every) if later[1] != before[1]]

    def from_second(self, second: int) -> Course:
        """The same, begun later."""
        first = second % len(self.rates_mbps)
        return replace(self, rates_mbps=self.rates_mbps[first:] + self.rates_mbps[:first])

    def scenario(
        self,
        folder: Path,
        gflop_per_s: float,
        *,
        held_up: tuple[float, ...] = (0.0,),
        changing: bool = False,
    ) -> Path:
        """Its conditions as a file, for the simulator and for a live board.

        Args:
            folder: for the file, and for one of the link's rates.
            gflop_per_s: of the server.
            held_up: share of it that others seem to have, ascending quantiles.
            changing: whether the link changes in the file as it does here, from any moment on, for
                a search; else it stays what it is at first, for who sets its rate by himself.
        """
        path = folder / f"{self.name.replace(' ', '-').replace('/', '-')}.toml"
        link = f"rate_mbps = {max(self.rates_mbps[0] * PAYLOAD, MIN_LINK_BPS / 1e6)}"
        if changing and len(self.rates_mbps) > 1:
            trace = path.with_suffix(".csv")
            rounds = -(-SHORTEST_SEARCHED_S // len(self.rates_mbps))
            series = PAYLOAD * np.array(self.rates_mbps * rounds)
            lines = (f"{second},{mbps}" for second, mbps in enumerate(series))
            trace.write_text("second,mbps\n" + "\n".join(lines) + "\n", encoding="utf-8")
            link = f'trace = "{trace.name}"'
        arrivals = f'kind = "{self.arrivals}"'
        if self.arrivals != BACK_TO_BACK:
            arrivals += f"\nrate_hz = {self.arrival_hz}"
        values = {"rtt_ms": self.rtt_ms, "arrivals": arrivals}
        values |= {"held_up": list(held_up), "held_up_s": HELD_UP_S}
        values |= {"target_ms": self.target_ms, "gflop_per_s": gflop_per_s, "eta": ETA}
        path.write_text(_SCENARIO.format(link=link, **values), encoding="utf-8")
        return path


def courses() -> dict[str, Callable[[], Course]]:
    """Those that policies meet, by name; making one may raise `EnvError`."""
    return {
        "steady": lambda: Course("steady 50 Mbit/s", (50.0,), 3.5),
        "poisson": lambda: Course("wifi, Poisson", (45.0,), 3.5, 7.0, "poisson", 120.0),
        "alternating": lambda: Course("50 and 0.5 Mbit/s", (50.0,) * 10 + (0.5,) * 10, 3.5),
        "recorded": lambda: Course("recorded Starlink", recorded_mbps(), 45.0, 7.0, target_ms=150),
    }


def recorded_mbps(path: Path = RECORDING) -> tuple[float, ...]:
    """Uplink of a recording, one rate per second.

    Raises:
        EnvError: it is not there, or does not hold the segment.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if row["segment"] == SEGMENT]
        found = tuple(float(row["up_mbps"]) for row in rows)
    except FileNotFoundError:
        raise EnvError(
            f"the recorded link {path} is not there: put starlink_autobahn_1s.csv of measured data "
            f"(columns segment, t_s, up_mbps) there, or leave the recorded link out with --links"
        ) from None
    except (OSError, KeyError, ValueError) as error:
        raise EnvError(f"the recorded link {path} cannot be read: {error!r}") from None
    if not found:
        raise EnvError(f"the recorded link {path} has no segment {SEGMENT}")
    return found
