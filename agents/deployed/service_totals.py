"""What a deployment has come to: requests, energy and decisions, in constant memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from agents.deployed.driver import Driver
from agents.deployed.histogram import TimeHistogram
from envs.energy_per_request import EnergyTotal
from envs.live.plant import LivePlant
from envs.live.supervisor import ClockInForce

_REASONS = {
    "HopelessError": "hopeless",
    "DeadlineExceededError": "late",
    "CloudUnavailableError": "unavailable",
    "ServerBusyError": "busy",
    "CloudAccessError": "no access",
    "ModelMismatchError": "other model",
    "WireError": "cannot be sent",
}
_BAD_ANSWER = "bad answer"
"""Any other failure."""


class ServiceTotals:
    """Collects control steps.

    Attributes:
        latencies: of the requests that were answered.
        decisions: time from an observation to its action.
        cuts: requests answered, by the cut that the policy chose.
        fallbacks: requests that the board finished although they were meant for the cloud, by the
            kind of failure.
        energy: of the board, and of the server where the scenario counts it.
        power_w: mean of the last step, W, a modelled radio included.
        clocks_hz: as read back at the end of the last step, by name, Hz.
        clocks: what became of those that the last step asked for.
        duration_s: of the deployment.
        unmeasured_s: of that, during which the last measured power stood in.
        dropped: requests that were not answered.
        n_met, n_late: answered in time, and too late.
        n_known, n_agreeing: answered and the right label known; of these, the same as the unsplit
            network's.
        cost: sum of what training lowers, `envs.objective`.
        n_steps: control steps.
        failure: why the policy is stood in for at present; None while it decides.
        policy_failures: so far.
        stood_in_s: time for which the policy was stood in for.
    """

    def __init__(self, plant: LivePlant, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing.

        Args:
            plant: the board.
            clock: monotonic seconds.
        """
        self._plant, self._clock = plant, clock
        self.latencies, self.decisions = TimeHistogram(), TimeHistogram()
        self.cuts: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.energy = EnergyTotal()
        self.power_w = 0.0
        self.clocks_hz: dict[str, int] = {}
        self.clocks: list[ClockInForce] = []
        self.duration_s = self.unmeasured_s = 0.0
        self._until_s: float | None = None
        self.n_known = self.n_agreeing = 0
        self._accuracies = 0.0
        self._accuracy_is_known = True
        self.dropped = self.n_met = self.n_late = 0
        self.cost, self.n_steps = 0.0, 0
        self.failure: str | None = None
        self.policy_failures, self.stood_in_s = 0, 0.0

    def add(self, info: dict[str, Any], decision_s: float) -> None:
        """Add the plant's last step, and the time between it and the one before."""
        plant, now_s = self._plant, self._clock()
        self.decisions.add(decision_s)
        power = plant.last_power
        power_w = self.power_w = info["outcome"]["power_w"]
        measured_s = power.duration_s if power.is_measured else 0.0
        begun_s = now_s - power.duration_s if self._until_s is None else self._until_s
        elapsed_s, self._until_s = now_s - begun_s, now_s
        self.duration_s += elapsed_s
        unmeasured_s = max(elapsed_s - measured_s, 0.0)
        self.unmeasured_s += unmeasured_s
        # Of what was drawn unseen nothing is known, so that all of it may be wrong.
        uncertainty_j = power.uncertainty_w * measured_s + power_w * unmeasured_s
        energy_j = power_w * elapsed_s + plant.server_j
        self.energy.add(energy_j, len(plant.served), uncertainty_j)
        self.clocks_hz, self.clocks = dict(plant.clocks_hz), plant.clocks_in_force
        self.cost += sum(info["reward_terms"].values())
        self.n_steps += 1
        self.dropped += plant.dropped
        self.cuts[plant.route_name(info["route"])] += len(plant.served)
        for served in plant.served:
            self.latencies.add(served.latency_s)
            if served.result.failure is not None:
                self.fallbacks[served.result.failure.__name__] += 1
            accuracy = plant.accuracy_of(served)
            self._accuracies += accuracy or 0.0
            self._accuracy_is_known &= accuracy is not None
            if served.agrees is not None:
                self.n_known += 1
                self.n_agreeing += served.agrees
            self.n_met += served.met_deadline
            self.n_late += not served.met_deadline

    def follow(self, driver: Driver) -> None:
        """Take over how the policy fares."""
        self.failure = driver.failure
        self.policy_failures, self.stood_in_s = driver.n_failures, driver.stood_in_s

    @property
    def deadline_hit_rate(self) -> float | None:
        """Share of all requests that were answered in time; None where there were none."""
        n_asked = len(self.latencies) + self.dropped
        return self.n_met / n_asked if n_asked else None

    @property
    def route_accuracy(self) -> float | None:
        """What was measured of the routes beforehand; None where that is not known of all."""
        n = len(self.latencies)
        return self._accuracies / n if n and self._accuracy_is_known else None

    @property
    def fallbacks_by_reason(self) -> dict[str, int]:
        """Requests for the cloud that the board finished, for each reason that there is."""
        found = dict.fromkeys((*_REASONS.values(), _BAD_ANSWER), 0)
        for kind, n in dict(self.fallbacks).items():  # a copy: steps go on
            found[_REASONS.get(kind, _BAD_ANSWER)] += n
        return found
