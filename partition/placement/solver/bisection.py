"""The placement with the shortest period: bisection over every value that a period can have.

A period is answered yes (a placement within it), no (proved that there is none) or neither in time:

- few devices, or few kinds of them: an exhaustive search, `reach.py` with all of them tracked;
- more: prices, which refute it (a Lagrangian bound, `prices.py`), or leave so little that label
  setting looks at all of it, or lead a beam to a placement (`labels.py`);
- then, where few stages are needed, walks that take no device again soon, a relaxation like the
  ng-routes of vehicle routing (`recent.py`);
- then the search with only those devices tracked that walks take twice (decremental state-space
  relaxation). Between such rounds large neighbourhood search shortens the best placement
  (`improve.py`).

The longest period that was refuted is a bound on every placement, whatever was given up elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from partition.placement.cluster import Floats
from partition.placement.solver.choices import Choices, list_choices
from partition.placement.solver.label_setting import LabelSearch
from partition.placement.solver.lagrangian import Ascent
from partition.placement.solver.large_neighborhood_search import Improver
from partition.placement.solver.ng_routes import MAX_CHOICES, MAX_STAGES, NgRoutes
from partition.placement.solver.problem import Bools, Problem
from partition.placement.solver.stage_graph import Step, Threshold
from partition.placement.solver.subset_dp import Digits, Reach, n_states

Clock = Callable[[], float]
_FEW_STATES = 1 << 13
"""Sets of devices up to which all are told apart: 12 unlike ones, 120 cuts take half a second."""
_MORE_TRACKED = 3
"""Devices at a time: each doubles the sets, but after each time the search starts afresh."""
_COARSE = 1.3
"""Ratio of placement to bound above which it is halved; listing all values between takes longer."""
_NEAR = 0.985
"""Price of the cheapest walk from which on it pays to look at all that is left: with more slack
than this many partial placements survive, and most searches would give up."""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A placement and what is proved about it."""

    steps: tuple[Step, ...]
    """Empty where there is none, or none was found."""
    period_s: float
    """inf without a placement."""
    bound_s: float
    """No placement has a shorter period; inf: there is none at all."""
    choices: Choices

    @property
    def proved(self) -> bool:
        """Whether no placement is better."""
        return self.bound_s >= self.period_s


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was found out about one period."""

    steps: tuple[Step, ...]
    refuted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Effort:
    """How much is done before a period counts as answered neither way."""

    rounds: int
    """Changes of the prices."""
    labels: int
    """Partial placements that are looked at one and all."""
    width: int
    """Of the beam."""
    states: int
    """Sets of devices that are told apart."""
    depth: int
    """States of a search in depth, where few stages are needed."""
    fineness: float
    """Periods that are closer together are left to the next effort."""
    improve_s: float
    """Seconds for neighbourhoods of the best placement before that."""


# With 50 unlike devices and 100 cuts a period takes about 0.15, 0.2, 0.6 to 5 and 1 to 8 s: most
# periods are answered by the first two, so the costly ones are left for what stays open. Shortening
# takes as long as one to three such periods.
_EFFORTS = (
    _Effort(
        rounds=15,
        labels=50_000,
        width=60,
        states=1 << 11,
        depth=1000,
        fineness=0.02,
        improve_s=0.2,
    ),
    _Effort(
        rounds=25,
        labels=300_000,
        width=500,
        states=1 << 13,
        depth=4000,
        fineness=0.005,
        improve_s=0.5,
    ),
    _Effort(
        rounds=90,
        labels=3_000_000,
        width=3000,
        states=1 << 16,
        depth=15000,
        fineness=0.003,
        improve_s=2.0,
    ),
    _Effort(
        rounds=200,
        labels=6_000_000,
        width=5000,
        states=1 << 18,
        depth=60000,
        fineness=0.0,
        improve_s=10.0,
    ),
)


def solve_throughput(
    problem: Problem,
    *,
    max_replicas: int = 1,
    time_limit_s: float = 10.0,
    clock: Clock = time.monotonic,
) -> SearchResult:
    """Shortest period, with the best bound that fits into the time.

    Args:
        problem: network and cluster.
        max_replicas: devices that may share a stage.
        time_limit_s: when to stop, if not everything is proved before.
        clock: seconds that pass.
    """
    search = _Search(list_choices(problem, max_replicas), clock() + time_limit_s, clock)
    return search.run()


def fits(problem: Problem, time_limit_s: float) -> bool | None:
    """Whether there is any placement, however slow; None: not known in time."""
    clock = time.monotonic
    search = _Search(list_choices(problem), clock() + time_limit_s, clock)
    return search.find_any()


class _Search:
    """The bisection and what it has found so far."""

    def __init__(self, choices: Choices, deadline_s: float, clock: Clock) -> None:
        self._choices = choices
        self._deadline_s = deadline_s
        self._clock = clock
        self._few = n_states(choices.counts, _every(choices)) <= _FEW_STATES
        self._steps: tuple[Step, ...] = ()
        self._period_s = np.inf
        self._refuted_s = -np.inf
        self._prices: Floats | None = None
        self._improver = Improver(choices, period_of)
        self._tracked: list[int] = []
        self._tracking_answered = False
        self._open_s: list[float] = []  # periods that were answered neither yes nor no

    def find_any(self) -> bool | None:
        """Find a placement, however slow; False: there is none, None: not known in time."""
        effort = 0
        while self._ask(self._choices.largest_s, _EFFORTS[effort]) is None and self._in_time():
            effort = min(effort + 1, len(_EFFORTS) - 1)
        if self._steps:
            return True
        return False if self._refuted_s == np.inf else None

    def run(self) -> SearchResult:
        """Bisect until everything is proved, or time is up."""
        if self.find_any():
            self._open_s = []
            self._ask(0.0, _EFFORTS[0])
        effort = 0
        while self._refuted_s < self._period_s and self._steps and self._in_time():
            next_s = self._next_s(_EFFORTS[effort].fineness)
            if next_s is not None:
                self._ask(next_s, _EFFORTS[effort])
            elif self._open_s and self._refuted_s < self._period_s:
                self._improve(_EFFORTS[effort].improve_s)
                self._open_s = []
                effort = min(effort + 1, len(_EFFORTS) - 1)
        self._thin_out()
        return SearchResult(
            steps=self._steps,
            period_s=self._period_s,
            bound_s=min(max(self._refuted_s, 0.0), self._period_s),
            choices=self._choices,
        )

    def _improve(self, seconds: float) -> None:
        until_s = min(self._clock() + seconds, self._deadline_s)
        bound_s = max(self._refuted_s, 0.0)
        steps = self._improver.run(self._steps, bound_s, lambda: self._clock() < until_s)
        self._steps, self._period_s = steps, period_of(self._choices, steps)

    def _thin_out(self) -> None:
        """Do without devices that the period does not need."""
        while self._steps and self._in_time():
            n_devices = int(self._choices.uses[[c for c, _, _ in self._steps]].sum())
            # Where each costs 1 / (n - 1), n are too dear.
            prices = np.full(len(self._choices.counts), 1.0 / max(n_devices - 1, 0.5))
            threshold = Threshold(self._choices, self._period_s)
            answer = self._search(threshold, prices, _EFFORTS[0].labels, _EFFORTS[0].width)
            if not answer.steps:
                break
            self._steps = answer.steps
            self._period_s = period_of(self._choices, answer.steps)

    def _in_time(self) -> bool:
        return self._clock() < self._deadline_s

    def _next_s(self, fineness: float) -> float | None:
        """The period to ask for next; None where nothing is left that this effort could answer."""
        low_s, high_s = self._refuted_s, self._period_s
        if not self._open_s:
            if high_s > max(low_s, 0.0) * _COARSE:
                return float(np.sqrt(max(low_s, high_s * 1e-3) * high_s))
            values = self._between(low_s, high_s)
            if len(values):
                return float(values[(len(values) - 1) // 2])
            self._refuted_s = high_s
            return None
        for low, high in ((max(self._open_s), high_s), (low_s, min(self._open_s))):
            if high > low * (1 + fineness):
                values = self._between(low, high)
                if len(values):
                    return float(values[(len(values) - 1) // 2])
        return None

    def _between(self, low_s: float, high_s: float) -> Floats:
        """What a period can be, both ends left out."""
        values = self._choices.candidates_s(low_s, high_s)
        return np.asarray(values[(values > low_s) & (values < high_s)])

    def _ask(self, period_s: float, effort: _Effort) -> bool | None:
        """Whether there is a placement within a period; None: not known."""
        threshold = Threshold(self._choices, period_s)
        answer = self._exhaust(threshold) if self._few else self._explore(threshold, effort)
        if answer.steps:
            self._steps = answer.steps
            self._period_s = period_of(self._choices, answer.steps)
            self._open_s = [value for value in self._open_s if value < self._period_s]
            return True
        if answer.refuted:
            self._refuted_s = max(self._refuted_s, period_s)
            self._open_s = [value for value in self._open_s if value > period_s]
            if not self._steps and period_s >= self._choices.largest_s:
                self._refuted_s = np.inf
            return False
        self._open_s.append(period_s)
        return None

    def _exhaust(self, threshold: Threshold) -> _Answer:
        reach = Reach(threshold, self._digits(_every(self._choices)), self._alive(threshold))
        steps = reach.walk()
        return _Answer(steps, refuted=not steps)

    def _explore(self, threshold: Threshold, effort: _Effort) -> _Answer:
        ways = [self._by_prices, self._by_tracking]
        if self._tracking_answered:
            ways.insert(0, ways.pop())
        n_stages = threshold.stages_to_go()[0]
        if n_stages <= MAX_STAGES and len(self._choices) <= MAX_CHOICES:
            ways.insert(1, self._by_recent)
        for way in ways:
            answer = way(threshold, effort)
            if answer.steps or answer.refuted:
                self._tracking_answered = way == self._by_tracking
                return answer
        return answer

    def _is_low(self, threshold: Threshold) -> bool:
        """Whether a period is shorter than one within which no placement was found."""
        return bool(self._open_s) and threshold.period_s < min(self._open_s)

    def _by_recent(self, threshold: Threshold, effort: _Effort) -> _Answer:
        """Refute by what no device does again soon, or find a placement in depth."""
        recent = NgRoutes(threshold, self._alive(threshold))
        if not recent.ends_reached:
            return _Answer((), refuted=True)
        steps = recent.find(effort.depth, self._in_time)
        return _Answer(steps, refuted=not steps and not recent.gave_up)

    def _alive(self, threshold: Threshold) -> Bools:
        """(L + 1, C), where a walk can still get to the end."""
        after, _ = threshold.price_to_go(np.zeros(len(self._choices.counts)))
        return np.asarray(np.isfinite(after))

    def _digits(self, tracked: list[int]) -> Digits:
        return Digits(self._choices.uses, self._choices.counts, tracked)

    def _by_prices(self, threshold: Threshold, effort: _Effort) -> _Answer:
        """Prices refute it, or rule out so much that the rest can be looked at."""
        ascent = Ascent(threshold, self._prices)
        ascent.climb(effort.rounds, self._in_time)
        if ascent.answered:
            return _Answer(ascent.steps, ascent.refuted)
        self._prices = ascent.best
        most = effort.labels if ascent.value > _NEAR else effort.labels // 20
        width = 0 if self._is_low(threshold) else effort.width
        answer = self._search(threshold, ascent.best, most, width)
        if width and not answer.steps and not answer.refuted:
            answer = self._search(threshold, ascent.prices, 0, width)
        return answer

    def _search(self, threshold: Threshold, prices: Floats, most: int, width: int) -> _Answer:
        found = LabelSearch(threshold, prices, most, width, self._in_time).run()
        return _Answer(found.steps, refuted=found.complete and not found.steps)

    def _by_tracking(self, threshold: Threshold, effort: _Effort) -> _Answer:
        """Track the devices that walks take twice, more and more of them.

        Decremental state-space relaxation (Righini and Salani 2008).
        """
        counts = self._choices.counts
        alive = self._alive(threshold)
        tracked = list(self._tracked)
        while n_states(counts, tracked) > effort.states:
            tracked.pop()
        while self._in_time():
            reach = Reach(threshold, self._digits(tracked), alive, self._in_time)
            if reach.gave_up:
                break
            if not reach.ends_reached:
                return _Answer((), refuted=True)
            steps = reach.walk()
            over = threshold.overuse(steps)
            if (over <= 0).all():
                return _Answer(steps, refuted=False)
            more = [int(k) for k in np.argsort(-over)[:_MORE_TRACKED] if over[k] > 0]
            while more and n_states(counts, tracked + more) > effort.states:
                more.pop()
            if not more:
                break
            tracked += more
            self._tracked = tracked
        return _Answer((), refuted=False)


def period_of(choices: Choices, steps: tuple[Step, ...]) -> float:
    """The longest of all stages and transfers, s."""
    cut_bytes = choices.problem.cut_bytes
    stages_s = [float(choices.stage_s[choices.flavour[c], i, j]) for c, i, j in steps]
    links_s = [
        float(cut_bytes[i] * choices.s_per_byte[sender, c])
        for (sender, _, _), (c, i, _) in pairwise(steps)
    ]
    ends_s = [float(choices.entry_s[steps[0][0]]), float(choices.exit_s[steps[-1][0]])]
    return max(*stages_s, *links_s, *ends_s)


def _every(choices: Choices) -> list[int]:
    return list(range(len(choices.counts)))
