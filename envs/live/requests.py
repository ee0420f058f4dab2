"""Requests of a live board: drawn as a scenario says, or those of an application."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.response import MAX_BACKLOG
from hw.outage import Outage
from partition.edge.local_queue import LocalRequest
from partition.edge.local_service import LocalService
from partition.edge.pipeline import InferenceResult
from partition.errors import ModelRunError, PartitionError

logger = logging.getLogger(__name__)

Inputs = NDArray[Any] | tuple[NDArray[Any], ...] | Callable[[], tuple[NDArray[Any], ...]]
"""Of a network with one input, or with several; or what prepares them for one request."""
MAX_WAITING = int(MAX_BACKLOG)
_MIN_RATE_HZ = 0.1
"""Shown of an application that is silent; the bottom of the observation."""
_MIN_GAPS, _SHORTEST_S = 3, 1e-6
_RECENT = 16
"""Requests that tell the rate of those that come back to back."""
_PAUSE = 8.0
"""Gaps between requests; of random ones 1 in 3000 is as long."""


class PendingRequest(Protocol):
    """A request whose sender waits for the network's answer."""

    @property
    def inputs(self) -> Inputs:
        """Of the network."""

    @property
    def arrived_s(self) -> float:
        """When it came."""

    @property
    def due_s(self) -> float:
        """When an answer is of no use any more; infinity if the sender did not say."""

    @property
    def label(self) -> int | None:
        """The unsplit network's answer; None if it is unknown."""

    def answer(self, result: InferenceResult) -> bool:
        """Give the network's answer; returns whether the sender still waits for it."""

    def refuse(self, error: Exception) -> None:
        """Say why there is no answer."""


class Requests(Protocol):
    """Where requests come from.

    Attributes:
        addresses: that an application asks at; none without one.
    """

    addresses: tuple[str, ...]

    def reset(self, seeds: NDArray[np.uint64]) -> None:
        """Begin again."""

    def around(self, expected: OperatingConditions) -> OperatingConditions:
        """A scenario's operating conditions with the requests as they are."""

    def announced_hz(self, expected_hz: Floats) -> Floats:
        """The rate that is known beforehand, where a scenario announces `expected_hz`."""

    def take(self, around: OperatingConditions, until_s: float) -> PendingRequest | None:
        """Wait for the next request; None if there is none until then."""

    def waiting(self, around: OperatingConditions) -> float:
        """Requests that have come and were not taken yet."""

    def dropped(self) -> int:
        """Requests since the last call that came when too many waited."""

    def close(self) -> None:
        """Take no more."""


class Failures:
    """Follows whether the network runs on requests whose sender has stopped waiting.

    Args:
        clock: present time, s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._has_worked = False
        self._outage = Outage(
            "running the network",
            "such requests count as dropped",
            tell=logger.warning,
            clock=clock,
        )

    def worked(self) -> None:
        """A request was answered."""
        self._has_worked = True
        self._outage.worked()

    def failed(self, error: Exception) -> None:
        """A request has no answer.

        Raises:
            PartitionError: none ever had one, so that there is no reason to go on.
        """
        if self._has_worked:
            self._outage.failed(error)
        elif isinstance(error, PartitionError):
            raise error
        else:
            raise ModelRunError(f"the network does not run: {error}") from error


@dataclass(frozen=True, slots=True)
class Example:
    """An input of which the unsplit network's label is known."""

    inputs: Inputs
    arrived_s: float
    label: int | None
    failures: Failures
    due_s: float = math.inf

    def answer(self, result: InferenceResult) -> bool:
        """No sender waits for a report."""
        self.failures.worked()
        return True

    def refuse(self, error: Exception) -> None:
        """Report it once; see `Failures.failed`."""
        self.failures.failed(error)


class ScenarioRequests:
    """Some inputs in turn, at moments that are drawn as the scenario says.

    Args:
        inputs: of the network, one sample each.
        labels: the unsplit network's, of each; None where it does not name a class.
        clock: present time, s.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        inputs: Sequence[Inputs],
        labels: Sequence[int | None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        self._inputs, self._labels = inputs, labels
        self._clock, self._sleep = clock, sleep
        self._n_taken = self._n_dropped = 0
        self._failures = Failures(clock)

    def reset(self, seeds: NDArray[np.uint64]) -> None:
        """Begin again with the first input, which comes now; what waited is forgotten."""
        self._n_taken = self._n_dropped = 0
        self._generator = np.random.default_rng(seeds)
        self._next_s = self._clock()

    def around(self, expected: OperatingConditions) -> OperatingConditions:
        """As the scenario says."""
        return expected

    def announced_hz(self, expected_hz: Floats) -> Floats:
        """As the scenario says."""
        return expected_hz

    def take(self, around: OperatingConditions, until_s: float) -> Example | None:
        """The next input when its time has come."""
        while self._next_s < until_s:
            arrived_s = self._next_s
            is_dropped = self.waiting(around) > MAX_BACKLOG
            if not is_dropped:
                self._sleep(max(arrived_s - self._clock(), 0.0))
            self._next_s += self._interval_s(around)
            if not is_dropped:
                turn = self._n_taken % len(self._inputs)
                self._n_taken += 1
                return Example(self._inputs[turn], arrived_s, self._labels[turn], self._failures)
            self._n_dropped += 1
        return None

    def waiting(self, around: OperatingConditions) -> float:
        """Requests that have come by now, were they evenly spaced."""
        return max(self._clock() - self._next_s, 0.0) * float(around.arrival_hz[0])

    def dropped(self) -> int:
        """Since the last call."""
        n, self._n_dropped = self._n_dropped, 0
        return n

    def close(self) -> None:
        """Nothing to do."""

    def _interval_s(self, around: OperatingConditions) -> float:
        """Time to the next arrival; gamma distributed, so that any variability is possible."""
        rate_hz, scv = float(around.arrival_hz[0]), float(around.arrival_scv[0])
        if scv == 0.0:
            return 1.0 / rate_hz
        return float(self._generator.gamma(1.0 / scv, scv / rate_hz))


class BackToBackRequests(ScenarioRequests):
    """Some inputs in turn, each when the one before has its answer."""

    def reset(self, seeds: NDArray[np.uint64]) -> None:
        """Begin again with the first input."""
        super().reset(seeds)
        self._taken_s: deque[float] = deque(maxlen=_RECENT)

    def around(self, expected: OperatingConditions) -> OperatingConditions:
        """With the rate at which they came."""
        return replace(expected, arrival_hz=self.announced_hz(expected.arrival_hz))

    def announced_hz(self, expected_hz: Floats) -> Floats:
        """The rate at which they came."""
        gaps_s = np.diff(np.array(self._taken_s))
        return 1.0 / np.array([max(gaps_s.mean(), _SHORTEST_S)]) if len(gaps_s) else expected_hz

    def take(self, around: OperatingConditions, until_s: float) -> Example | None:
        """The next input, now."""
        self._next_s = self._clock()
        taken = super().take(around, until_s)
        if taken is not None:
            self._taken_s.append(taken.arrived_s)
        return taken

    def waiting(self, around: OperatingConditions) -> float:
        """None ever does."""
        return 0.0


class ApplicationRequests:
    """Requests of an application; rate and variability are measured.

    Of the latest ones those count that came without a pause between them. After a pause the rate
    is believed to be as before, until enough have come; while one lasts, it falls.

    Args:
        service: that the application talks to, started.
        clock: the service's, s.
    """

    def __init__(self, service: LocalService, clock: Callable[[], float] = time.monotonic) -> None:
        self.addresses: tuple[str, ...] = service.addresses
        self._service, self._clock = service, clock
        self._began_s = clock()
        self._n_refused = 0

    def reset(self, seeds: NDArray[np.uint64]) -> None:
        """Go on: nothing is drawn, and what waits goes on waiting."""

    def around(self, expected: OperatingConditions) -> OperatingConditions:
        """With measured arrivals."""
        rate_hz, scv = self._measured(expected.arrival_hz)
        found = expected.arrival_scv if scv is None else np.array([scv])
        return replace(expected, arrival_hz=np.array([rate_hz]), arrival_scv=found)

    def announced_hz(self, expected_hz: Floats) -> Floats:
        """The measured rate: applications announce nothing."""
        return np.array([self._measured(expected_hz)[0]])

    def take(self, around: OperatingConditions, until_s: float) -> LocalRequest | None:
        """The next request."""
        return self._service.take(until_s)

    def waiting(self, around: OperatingConditions) -> float:
        """Requests in the queue."""
        return float(self._service.waiting())

    def dropped(self) -> int:
        """Since the last call; those that were given up by who asked, too."""
        before, self._n_refused = self._n_refused, self._service.refused
        return self._n_refused - before

    def close(self) -> None:
        """Refuse who waits, and stop listening."""
        self._service.stop()

    def _measured(self, expected_hz: Floats) -> tuple[float, float | None]:
        """Rate, Hz, and squared coefficient of variation; None before it is known."""
        arrivals_s = np.array(self._service.arrivals_s())
        rate_hz, scv = float(expected_hz[0]), None
        gaps_s = _without_pauses(np.diff(arrivals_s))
        if len(gaps_s):
            rate_hz = 1.0 / max(gaps_s.mean(), _SHORTEST_S)
            scv = min(float(gaps_s.var()) * rate_hz**2, 1.0)
        silent_s = self._clock() - max(arrivals_s.max(initial=-np.inf), self._began_s)
        if silent_s * rate_hz > _PAUSE:
            rate_hz = 1.0 / silent_s
        return max(rate_hz, _MIN_RATE_HZ), scv


def _without_pauses(gaps_s: Floats) -> Floats:
    """The latest gaps between requests without a pause among them; none if they are too few."""
    if len(gaps_s) < _MIN_GAPS:
        return gaps_s[:0]
    longest = int(gaps_s.argmax())
    others_s = np.delete(gaps_s, longest)
    if gaps_s[longest] <= _PAUSE * max(others_s.mean(), _SHORTEST_S):
        return gaps_s
    since = _without_pauses(gaps_s[longest + 1 :])
    return since if len(since) else _without_pauses(gaps_s[:longest])
