"""Dynamic split computing: the cut that is fastest under the present link and server load.

As Bakhtiarnia et al. do it (arXiv 2205.11269): head, transfer and tail of every cut are added up
and the least sum wins, but with times that were measured, bytes as they are on the wire, a rate
that is estimated all the time, and the time that requests wait in the server.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from partition.edge.pipeline import InferenceResult
from partition.model.routes import Route
from partition.transport.link_estimator import LinkEstimate

# A pause of the machine must not look like a slow head: medians of so many answers.
_N_ANSWERS = 5
# A server that is full when it says so is not waited for without end.
_MAX_LOAD = 0.98
_WAIT_FADES_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CutCost:
    """What one cut takes on both sides while nothing else runs there."""

    head_s: float
    """Head on the edge, encoding included; of the last cut the whole network."""
    tail_s: float
    """Tail in the cloud, decoding included; 0 for edge-only."""
    uplink_bytes: int
    """Bytes on the wire; 0 for edge-only."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A cut, and what it is expected to take."""

    split: int
    latency_s: float


def expected_s(cost: CutCost, link: LinkEstimate | None, wait_s: float = 0.0) -> float:
    """Latency of a cut, s; infinite where it needs a cloud that is not there.

    Args:
        cost: of the cut.
        link: as it is now; None when nobody answers.
        wait_s: time that a request waits in the server.
    """
    if not cost.uplink_bytes:
        return cost.head_s
    if link is None:
        return math.inf
    return cost.head_s + link.transfer_s(cost.uplink_bytes) + wait_s + cost.tail_s


def choose_split(
    costs: Sequence[CutCost], link: LinkEstimate | None, wait_s: float | None = None
) -> Choice:
    """The cut with the least expected latency.

    Args:
        costs: of every split point, in order.
        link: as it is now; None when nobody answers.
        wait_s: time that a request waits in the server; None guesses it from the load, as if
            requests like ours came at random.
    """
    if wait_s is None:
        wait_s = 0.0 if link is None else guessed_wait_s(costs, link.server_load)
    latencies_s = [expected_s(cost, link, wait_s) for cost in costs]
    split = min(range(len(costs)), key=latencies_s.__getitem__)
    return Choice(split, latencies_s[split])


def guessed_wait_s(costs: Sequence[CutCost], load: float) -> float:
    """Wait for a worker that is busy this share of the time with tails like ours (M/M/1), s."""
    load = min(load, _MAX_LOAD)
    tails_s = [cost.tail_s for cost in costs if cost.uplink_bytes]
    return median(tails_s) * load / (1.0 - load) if tails_s else 0.0


class DynamicSplit:
    """Chooses the cut of each request and learns from each answer.

    Args:
        costs: of every split point, in order, measured while nothing else ran.
        clock: monotonic seconds.
    """

    def __init__(
        self, costs: Sequence[CutCost], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.costs = list(costs)
        self._clock = clock
        self._waits_s: deque[float] = deque(maxlen=_N_ANSWERS)
        self._heads_s = [deque((cost.head_s,), _N_ANSWERS) for cost in costs]
        self._wait_at_s = 0.0

    def route(self, link: LinkEstimate | None) -> Route:
        """Where to cut the next request."""
        return Route(choose_split(self.costs, link, self.wait_s(link)).split)

    def wait_s(self, link: LinkEstimate | None) -> float:
        """Time that the next request is expected to wait in the server, s.

        What recent answers waited; as that grows old, more and more what the load suggests.
        """
        guess_s = guessed_wait_s(self.costs, link.server_load if link else 0.0)
        if not self._waits_s:
            return guess_s
        fresh = math.pow(0.5, (self._clock() - self._wait_at_s) / _WAIT_FADES_S)
        return fresh * median(self._waits_s) + (1.0 - fresh) * guess_s

    def observe(self, split: int, result: InferenceResult) -> None:
        """Learn from an answer: the head's time, and how long it waited in the server."""
        cost = self.costs[split]
        if result.served_by == "cloud":
            self._waits_s.append(max(result.cloud_s - cost.tail_s, 0.0))
            self._wait_at_s = self._clock()
        if result.fallback is None:
            self._heads_s[split].append(result.edge_s + result.codec_s)
            self.costs[split] = replace(cost, head_s=median(self._heads_s[split]))
