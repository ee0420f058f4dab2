"""DynaSplit's online phase: the least energy of the front that meets a request's threshold."""

from __future__ import annotations

import numpy as np

from agents.deciders.base import top_clocks
from agents.deciders.nominal import Actions, NominalModel
from agents.deciders.nominal_outcome import SafetyMargin, expect
from agents.deciders.rule import Parameters, RuleKind
from envs.arrays import Floats
from envs.plant import Indices, Plant
from envs.spaces import ObservationEncoder, Observations, observation_fields


class PublishedDynaSplit:
    """DynaSplit (May et al., 2024, arXiv 2410.23881) as described.

    Published: offline, NSGA-III tries 20 % of all configurations of clocks and cut for latency,
    energy and accuracy; online, the front is sorted by energy and a request takes the first
    configuration whose measured latency meets its threshold, or else the fastest. Link, server
    load and the cost of switching play no part.

    Chosen here: a configuration is measured for one episode; at most `front_search.MAX_TRIALS`
    are tried; only routes that lose at most a point of accuracy, as its cuts all do; the latency
    target of the control step is the threshold.
    """

    def __init__(self, known: NominalModel, front: Indices, latency_s: Floats) -> None:
        """Take the front by energy, ascending, with its measured latencies."""
        self._front, self._latency_s = front, latency_s
        self._encoder = ObservationEncoder(observation_fields(known.layout))

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Look the front up."""
        target_s = self._encoder.decode(observations).latency_target_s
        meets = self._latency_s <= target_s[:, None]
        chosen = np.where(meets.any(axis=1), meets.argmax(axis=1), self._latency_s.argmin())
        return self._front[chosen]


class DynaSplit:
    """DynaSplit with its weak points mended, as a fair baseline needs.

    Extremes are seeded, each third of the link rates has its own front, and the front is measured
    again on other episodes. Online, energy and latency of its members are those expected under
    the present link, load and queue by the nominal models; of those that are expected to reach
    `MIN_DEADLINE_HIT_RATE` the one of least energy is taken, else the one of the highest rate.
    What is in force stays unless that saves `HYSTERESIS`.
    """

    MIN_DEADLINE_HIT_RATE = 0.99
    HYSTERESIS = 0.03
    CAUTION = SafetyMargin(link_share=0.9, time_margin=1.03)

    def __init__(self, known: NominalModel, front: Indices) -> None:
        """Take the front."""
        self._known = known
        self._actions = Actions(known, front)
        self._encoder = ObservationEncoder(observation_fields(known.layout))

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what was in force."""
        self._held = top_clocks(self._known.layout, n)

    def decide(self, observations: Observations) -> Indices:
        """Weigh the front under the present readings."""
        readings = self._encoder.decode(observations)
        outcome = expect(self._known, self._actions, readings, self._held, self.CAUTION)
        shape = (len(observations), len(self._actions.indices))
        deadline_hit_rate = np.broadcast_to(outcome.deadline_hit_rate, shape)
        energy_j = np.broadcast_to(outcome.energy_j, shape)
        saved = 1.0 - self.HYSTERESIS * (outcome.switched == 0.0)
        feasible = deadline_hit_rate >= self.MIN_DEADLINE_HIT_RATE
        cheapest = np.where(feasible, energy_j * saved, np.inf).argmin(axis=1)
        # Of equal shares in time, the faster: energy per request hides how late the others are.
        soonest = np.lexsort((outcome.latency_s, -deadline_hit_rate), axis=1)[:, 0]
        self._held = self._actions.indices[np.where(feasible.any(axis=1), cheapest, soonest)]
        return self._held


def _front(parameters: Parameters) -> Indices:
    return np.array(parameters["front"], dtype=np.int64)


DYNASPLIT = RuleKind("dynasplit", lambda known, p: DynaSplit(known, _front(p)))
PUBLISHED = RuleKind(
    "dynasplit-published",
    lambda known, p: PublishedDynaSplit(known, _front(p), np.array(p["latency_s"])),
)
