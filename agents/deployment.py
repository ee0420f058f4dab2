"""What a deployment tells: a line while it runs and a summary at its end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from envs.live import LivePlant
from envs.supervisor import ClockInForce


def live_line(plant: LivePlant, info: dict[str, Any]) -> str:
    """One line about the last control step."""
    outcome = info["outcome"]
    link = plant.link_bps / 1e6
    return (
        f"link {link:7.1f} Mbit/s | {_clocks(plant)} | cut {plant.route_name(info['route'])} | "
        f"{outcome['power_w']:5.2f} W{_mark(plant)} | {1e3 * outcome['latency_s']:5.1f} ms | "
        f"in time {100 * outcome['in_time']:3.0f} %"
    )


def _clocks(plant: LivePlant) -> str:
    """Clocks in force and, where they are not what the policy asked for, that and why."""
    clocks = plant.clocks_in_force
    if not clocks:
        return "clocks left to the board's governors"
    if plant.dry_run:
        wanted = " ".join(f"{clock.name} {clock.requested_hz / 1e9:.2f}" for clock in clocks)
        return f"would set {wanted} GHz"
    return f"set {' '.join(_clock(clock) for clock in clocks)} GHz"


def _clock(clock: ClockInForce) -> str:
    in_force = f"{clock.name} {clock.applied_hz / 1e9:.2f}"
    if clock.cause is None:
        return in_force
    return f"{in_force} (asked {clock.requested_hz / 1e9:.2f}: {clock.cause})"


def _mark(plant: LivePlant) -> str:
    """Sets a power that was not measured apart."""
    return "" if plant.last_power.is_measured else " (not measured)"


class Summary:
    """Collects control steps."""

    def __init__(self, algorithm: str, plant: LivePlant) -> None:
        """Begin with nothing."""
        self._algorithm, self._plant = algorithm, plant
        self._latencies_s: list[float] = []
        self._decisions_s: list[float] = []
        self._cuts: Counter[str] = Counter()
        self._energy_j = self._duration_s = self._unmeasured_s = 0.0
        self._agreeing: list[bool] = []  # of the requests whose right answer is known
        self._dropped = self._fallbacks = self._in_time = 0

    def add(self, info: dict[str, Any], decision_s: float) -> None:
        """Add the plant's last step."""
        plant = self._plant
        self._decisions_s.append(decision_s)
        self._duration_s += plant.last_duration_s
        self._energy_j += info["outcome"]["power_w"] * plant.last_duration_s
        if not plant.last_power.is_measured:
            self._unmeasured_s += plant.last_duration_s
        self._dropped += plant.dropped
        self._cuts[plant.route_name(info["route"])] += len(plant.served)
        for served in plant.served:
            self._latencies_s.append(served.latency_s)
            self._fallbacks += served.result.fallback is not None
            if served.agrees is not None:
                self._agreeing.append(served.agrees)
            self._in_time += served.in_time

    def document(self) -> dict[str, Any]:
        """Plain values, keys with units; None where nothing was served.

        During `unmeasured_s` of `duration_s` the last measured power stood in.
        """
        n = len(self._latencies_s)
        percentiles: list[float | None] = [None] * 3
        if n:
            percentiles = [float(p) for p in np.percentile(self._latencies_s, [50, 95, 99])]
        layout = self._plant.layout
        return {
            "policy": self._algorithm,
            "board": layout.board,
            "board_is_modelled": self._plant.is_modelled,
            "model": layout.model,
            "dry_run": self._plant.dry_run,
            "duration_s": self._duration_s,
            "unmeasured_s": self._unmeasured_s,
            "failures": dict(self._plant.n_failures),
            "requests": n,
            "dropped": self._dropped,
            "fallbacks": self._fallbacks,
            "energy_j": self._energy_j,
            "energy_per_request_j": self._energy_j / n if n else None,
            "latency_p50_s": percentiles[0],
            "latency_p95_s": percentiles[1],
            "latency_p99_s": percentiles[2],
            "in_time": self._in_time / (n + self._dropped) if n else None,
            "top1_agreement": float(np.mean(self._agreeing)) if self._agreeing else None,
            "decision_median_s": float(np.median(self._decisions_s)) if self._decisions_s else None,
            "requests_per_cut": dict(self._cuts.most_common()),
        }

    def text(self) -> str:
        """The document for people."""
        d = self.document()
        if not d["requests"]:
            return "no request was served"
        modelled = " (board modelled)" if d["board_is_modelled"] else ""
        cuts = ", ".join(f"{name} {count}" for name, count in d["requests_per_cut"].items())
        agrees = ""
        if d["top1_agreement"] is not None:
            agrees = f"top-1 as the unsplit network: {100 * d['top1_agreement']:.1f} %; "
        return (
            f"{d['requests']} requests in {d['duration_s']:.1f} s{modelled}, "
            f"{d['fallbacks']} fallbacks, {d['dropped']} dropped\n"
            f"energy {d['energy_per_request_j']:.3f} J per request; latency p50 "
            f"{1e3 * d['latency_p50_s']:.1f} ms, p95 {1e3 * d['latency_p95_s']:.1f} ms; "
            f"in time {100 * d['in_time']:.1f} %\n"
            f"{agrees}decision {1e6 * d['decision_median_s']:.0f} us median\ncuts: {cuts}"
        )
