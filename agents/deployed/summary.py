"""Reports of a deployment: a line while it runs and a summary at its end."""

from __future__ import annotations

from typing import Any

from agents.deployed.promise_watch import PromiseWatch
from agents.deployed.service_totals import ServiceTotals
from envs.live.plant import LivePlant
from envs.live.supervisor import ClockInForce

TOLD_SHARE = 0.05
"""Of the time without measured power, or of work that came late, from which on that is said."""


def live_line(plant: LivePlant, info: dict[str, Any]) -> str:
    """One line about the last control step."""
    outcome = info["outcome"]
    link = plant.link.rate_bps / 1e6
    return (
        f"link {link:7.1f} Mbit/s | {_clocks(plant)} | cut {_cut(plant, info)} | "
        f"{_energy(plant, outcome)} | {1e3 * outcome['latency_s']:5.1f} ms | "
        f"in time {100 * outcome['deadline_hit_rate']:3.0f} %"
    )


def live_attributes(
    plant: LivePlant, info: dict[str, Any], totals: ServiceTotals
) -> dict[str, Any]:
    """The same for a collector of logs: plain values, keys with units, None for the unknown.

    What ends on `_total` counts from the start, the rest is of the last control step.
    """
    outcome, link = info["outcome"], plant.known_link
    is_measured, n = plant.last_power.is_measured, len(plant.served)
    return {
        "answered_total": len(totals.latencies),
        "in_time_total": totals.n_met,
        "dropped_total": totals.dropped,
        "fallbacks_total": totals.fallbacks.total(),
        "energy_j_total": totals.energy.energy_j,
        "energy_uncertainty_j_total": totals.energy.uncertainty_j,
        "answered": n,
        "cut": plant.route_name(info["route"]),
        "latency_s": outcome["latency_s"] if n else None,
        "latency_target_s": plant.latency_target_s,
        "deadline_hit_rate": outcome["deadline_hit_rate"] if n + plant.dropped else None,
        "power_w": outcome["power_w"],
        "power_is_measured": is_measured,
        "power_is_modelled": plant.is_modelled,
        "temperature_margin_c": plant.known_margin_c,
        "link_bps": None if link is None else link.rate_bps,
        "rtt_s": None if link is None else link.rtt_s,
        "server_load": None if link is None else link.server_load,
        "clocks_hz": dict(plant.clocks_hz),
        "clocks_asked_hz": {each.name: each.requested_hz for each in plant.clocks_in_force},
        "clocks_overruled_by": {
            each.name: each.cause for each in plant.clocks_in_force if each.cause
        },
        "stood_in_for": totals.failure,
        "dry_run": plant.dry_run,
    }


def _cut(plant: LivePlant, info: dict[str, Any]) -> str:
    """Where the policy cut, and how much of it the board had to finish all the same."""
    name, here = plant.route_name(info["route"]), info["outcome"]["fell_back"]
    return f"{name} ({100 * here:.0f} % finished here)" if here else name


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


def _energy(plant: LivePlant, outcome: dict[str, float]) -> str:
    """Power, and energy per request with its largest error, where they were measured."""
    power, per_request = f"{outcome['power_w']:5.2f} W", f"{outcome['energy_j']:.3f}"
    if not plant.last_power.is_measured:
        return f"{power} (not measured), {per_request} J per request"
    return f"{power}, {per_request} +- {plant.energy_uncertainty_j:.3f} J per request"


class Summary:
    """What a deployment was, for people and for programs."""

    def __init__(
        self,
        algorithm: str,
        plant: LivePlant,
        totals: ServiceTotals,
        promise: PromiseWatch | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            algorithm: that drives the board.
            plant: the board.
            totals: what it has come to.
            promise: on what it keeps, if anything.
        """
        self._algorithm, self._plant, self._totals = algorithm, plant, totals
        self._promise = promise

    def document(self) -> dict[str, Any]:
        """Plain values, keys with units; None where nothing was served.

        During `unmeasured_s` of `duration_s` the last measured power stood in: between the
        energy windows of two steps, and where power could not be measured. The uncertainties are
        largest errors: what the energy windows admit, and all energy of that time.
        `route_accuracy` is what was measured of the routes beforehand, None where it was not.
        `too_slow_share` is of the work that took longer here than the modelled board takes.
        `cost_per_step` is the mean of what training lowers, `envs.objective`. `promise` is there
        where one is kept, with the energy per request that the models expect it to cost.
        """
        totals, layout = self._totals, self._plant.layout
        n = len(totals.latencies)
        return {
            "policy": self._algorithm,
            "board": layout.board,
            "board_is_modelled": self._plant.is_modelled,
            **({"evidence": dict(evidence)} if (evidence := self._plant.evidence) else {}),
            "model": layout.model,
            "runs_on": self._plant.placement,
            "dry_run": self._plant.dry_run,
            "duration_s": totals.duration_s,
            "unmeasured_s": totals.unmeasured_s,
            "too_slow_share": self._plant.too_slow_share,
            "failures": dict(self._plant.n_failures),
            "policy_failures": totals.policy_failures,
            "stood_in_s": totals.stood_in_s,
            "requests": n,
            "dropped": totals.dropped,
            "fallbacks": totals.fallbacks.total(),
            "energy_j": totals.energy.energy_j,
            "energy_uncertainty_j": totals.energy.uncertainty_j,
            "energy_per_request_j": totals.energy.per_request_j,
            "energy_per_request_uncertainty_j": totals.energy.per_request_uncertainty_j,
            "latency_p50_s": totals.latencies.quantile_s(0.50),
            "latency_p95_s": totals.latencies.quantile_s(0.95),
            "latency_p99_s": totals.latencies.quantile_s(0.99),
            "deadline_hit_rate": totals.deadline_hit_rate,
            **({"promise": self._promise.document()} if self._promise else {}),
            "top1_agreement": totals.n_agreeing / totals.n_known if totals.n_known else None,
            "route_accuracy": totals.route_accuracy,
            "cost_per_step": totals.cost / totals.n_steps if totals.n_steps else None,
            "decision_median_s": totals.decisions.quantile_s(0.5),
            "requests_per_cut": dict(totals.cuts.most_common()),
        }

    def text(self) -> str:
        """The document for people."""
        d = self.document()
        if not d["requests"]:
            dropped = f"; {d['dropped']} were dropped" if d["dropped"] else ""
            return f"no request was served in {d['duration_s']:.1f} s{dropped}"
        modelled = " (board modelled)" if d["board_is_modelled"] else ""
        cuts = ", ".join(f"{name} {count}" for name, count in d["requests_per_cut"].items())
        agrees = "accuracy unknown (python -m partition.profile measures it); "
        if d["top1_agreement"] is not None:
            agrees = f"top-1 as the unsplit network: {100 * d['top1_agreement']:.1f} %; "
        elif d["route_accuracy"] is not None:
            agrees = f"accuracy of the routes as measured: {100 * d['route_accuracy']:.1f} %; "
        return (
            f"{d['requests']} requests in {d['duration_s']:.1f} s{modelled}, "
            f"{d['fallbacks']} fallbacks, {d['dropped']} dropped\n"
            f"energy {d['energy_per_request_j']:.3f} "
            f"+- {d['energy_per_request_uncertainty_j']:.3f} J per request{_share_unmeasured(d)}; "
            f"latency p50 {1e3 * d['latency_p50_s']:.1f} ms, "
            f"p95 {1e3 * d['latency_p95_s']:.1f} ms; "
            f"in time {100 * d['deadline_hit_rate']:.1f} %{_promise(d)}; "
            f"cost {d['cost_per_step']:.3f} a step\n"
            f"{agrees}decision {1e6 * d['decision_median_s']:.0f} us median\ncuts: {cuts}"
            f"{_failures(d)}{_stood_in(d)}{_too_slow(d)}{_evidence(d)}"
        )


def _share_unmeasured(document: dict[str, Any]) -> str:
    share = document["unmeasured_s"] / document["duration_s"]
    return f" ({share:.0%} of the time by the last measured power)" if share >= TOLD_SHARE else ""


def _promise(document: dict[str, Any]) -> str:
    if "promise" not in document:
        return ""
    promise = document["promise"]
    return (
        f" ({100 * promise['share']:g} % promised, at an expected price of "
        f"{promise['expected_extra_j']:+.3f} J per request)"
    )


def _evidence(document: dict[str, Any]) -> str:
    kinds = "; ".join(f"{what}: {kind}" for what, kind in document.get("evidence", {}).items())
    return f"\n{kinds}" if kinds else ""


def _too_slow(document: dict[str, Any]) -> str:
    share = document["too_slow_share"]
    if share < TOLD_SHARE:
        return ""
    return (
        f"\nthis machine was too slow to play {document['board']} in {share:.0%} of its work: "
        "latencies and requests in time are this machine's; end other programs"
    )


def _stood_in(document: dict[str, Any]) -> str:
    n = document["policy_failures"]
    if not n:
        return ""
    times = "once" if n == 1 else f"{n} times"
    return f"\nthe policy failed {times} and was stood in for during {document['stood_in_s']:.0f} s"


def _failures(document: dict[str, Any]) -> str:
    failures = {name: n for name, n in document["failures"].items() if n}
    if not failures:
        return ""
    words = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in failures.items())
    return f"\nfailures that were bridged: {words}"
