"""Policy network that corrects the nominal model's advice on a portfolio of actions.

What the models of `agents.deciders.nominal_outcome` expect of each action goes in, and the network,
small and learned in simulation (`agents.advised.full_information`), says how much more or less each
is worth: it has a memory, and has seen what the readings leave open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import top_clocks
from agents.deciders.nominal import Actions, NominalModel, single
from agents.deciders.nominal_outcome import SafetyMargin, expect
from agents.policy.layers import Layers
from agents.reach import check_reach
from envs.arrays import Floats
from envs.objective import SMALLEST_COST
from envs.plant import Indices, Outcome, Plant, Readings
from envs.spaces import ObservationEncoder, Observations, observation_fields

REMEMBERED = (
    *("server_idle", "link_bps", "link_age_s", "rtt_s", "latency_s"),
    *("away_factor", "latency_factor", "busy", "backlog"),
)
MEMORY_S = (1.0, 5.0)
"""Time constants of the averages."""
LONGEST_S = 30.0
"""After which a reading that stands still says nothing more by doing so."""
CAUTION = SafetyMargin(link_share=1.0, time_margin=1.03)
"""The margin of the run-time search, and the simulator's `EXPECTED_SLOWDOWN` by background work."""
DWELL_STEPS = 8.0
"""A switch is weighed as if the state lasted so many steps, as the oracle weighs it."""
IDLE = (0.01, 1.0)
"""Shares of the server that may be foreseen to be idle."""
LARGEST_REGRET = 3.0
"""Of the advice, and the largest input of the network; readings lie within -1 and 1."""
LARGEST_OFFSET = 10.0
"""Logarithm of a factor of 22,000 by which no board differs from its model."""
SHARPNESS = 100.0
"""Score that an action loses by a logarithmic cost of 1 above the best one's."""
CHUNK = 20_000
"""Pairs of board and action that are weighed at once, so that arrays stay in the cache."""


class Expected(NamedTuple):
    """What actions are expected to do, arrays of shape (n, k).

    Attributes:
        energy_j: of a request.
        deadline_hit_rate: share of requests in time.
        quantile_s: of the latency.
    """

    energy_j: Floats
    deadline_hit_rate: Floats
    quantile_s: Floats

    @classmethod
    def of(cls, outcome: Outcome, share: float, shape: tuple[int, int]) -> Expected:
        """Take an outcome that broadcasts to `shape`; the quantile is that of `share`."""
        quantile_s = outcome.latency_quantile_s(share)
        values = (outcome.energy_j, outcome.deadline_hit_rate, quantile_s)
        return cls(*(np.broadcast_to(value, shape) for value in values))


class PolicyFeatures:
    """What the network sees: readings, how they change and how long they stand, and the advice.

    Attributes:
        actions: the portfolio, shape (k, n_axes).
        n_inputs: per board; the last k are the logarithms of the expected costs above the best.
        log_costs: logarithms of what each action is expected to cost, shape (n, k).
    """

    log_costs: Floats

    def __init__(self, known: NominalModel, actions: Indices) -> None:
        """Prepare the portfolio."""
        self.actions = actions
        self._known, self._weighed = known, Actions(known, actions)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        names = [f.name for f in self._encoder.fields]
        self._remembered = [names.index(name) for name in REMEMBERED]
        self._rates = [known.step_s / memory_s for memory_s in MEMORY_S]
        n_kept = len(REMEMBERED) * (2 + len(MEMORY_S))
        self.n_inputs = len(names) + n_kept + len(actions)

    def begin(self) -> None:
        """Forget what was seen."""
        self._last: Observations | None = None
        self._idle: Floats | None = None

    def see(self, observations: Observations, held: Indices) -> Observations:
        """Take the readings of a step in.

        A reading that stands still is an old one: nothing was sent, or a sensor is stuck.

        Args:
            observations: shape (n, n_fields).
            held: actions in force, shape (n, n_axes).

        Returns:
            Inputs of the network, shape (n, n_inputs).
        """
        seen = observations[:, self._remembered]
        if self._last is None:
            self._last, self._averages = seen, [seen for _ in self._rates]
            self._still_s = np.zeros_like(seen)
        change = seen - self._last
        self._last = seen
        self._still_s = np.where(change == 0.0, self._still_s + np.float32(self._known.step_s), 0.0)
        still = np.log1p(np.minimum(self._still_s, LONGEST_S)) / np.log1p(LONGEST_S)
        self._averages = [
            average + np.float32(rate) * (seen - average)
            for average, rate in zip(self._averages, self._rates, strict=True)
        ]
        apart = [average - seen for average in self._averages]
        regrets = self._regrets(self._foreseen(observations), held)
        return np.concatenate(
            [observations, change, still, *apart, regrets], axis=1, dtype=np.float32
        )

    def expected(self, share: float) -> Expected:
        """What each action is expected to do, arrays of shape (n, k).

        Args:
            share: of the requests, which the quantile of the latency is of.
        """
        n_actions = len(self.actions)
        parts = [Expected.of(o, share, (n, n_actions)) for o, n in self._outcomes]
        return Expected(*map(np.concatenate, zip(*parts, strict=True)))

    def _foreseen(self, observations: Observations) -> Readings:
        """Physical values, with the server's load taken on along its last change."""
        readings = self._encoder.decode(observations)
        idle = readings.server_idle
        before = idle if self._idle is None else self._idle
        self._idle = idle
        return replace(readings, server_idle=np.clip(2.0 * idle - before, *IDLE))

    def _regrets(self, readings: Readings, held: Indices) -> Any:
        """Logarithms of the expected costs above the best one, shape (n, k)."""
        rows = max(CHUNK // len(self.actions), 1)
        chunks = [slice(i, i + rows) for i in range(0, len(held), rows)]
        parts = [self._expected(readings.select(boards), held[boards]) for boards in chunks]
        costs = np.concatenate([cost for cost, _ in parts])
        self._outcomes = [(outcome, len(cost)) for cost, outcome in parts]
        self.log_costs = np.log(np.maximum(costs, SMALLEST_COST))
        best = self.log_costs.min(axis=1, keepdims=True)
        return np.minimum(self.log_costs - best, LARGEST_REGRET)

    def _expected(self, readings: Readings, held: Indices) -> tuple[Floats, Outcome]:
        """Costs, shape (n, k), and what they come from, which broadcasts to it."""
        outcome = expect(self._known, self._weighed, readings, held, CAUTION)
        outcome = replace(outcome, switched=outcome.switched / DWELL_STEPS)
        costs = self._known.objective.cost(outcome, single(readings.eta)[:, None])
        return np.broadcast_to(costs, (len(held), len(self.actions))), outcome


class Advised:
    """Takes the action with the best corrected score.

    Attributes:
        advice: what the models expect, as of the last observation.
        log_costs: the same for each action, shape (n, k), as the network and a board correct it.
            What the network leaves open, a constant for each board, is such that its corrections
            are 0 in the mean.
        held: actions in force, shape (n, n_axes).
    """

    log_costs: Floats
    held: Indices

    def __init__(
        self,
        known: NominalModel,
        actions: Indices,
        layers: Layers,
        *,
        offsets: Sequence[float] | Floats | None = None,
    ) -> None:
        """Check that the layers fit together.

        Args:
            known: about the plant.
            actions: the portfolio, shape (k, n_axes).
            layers: of the network; relu between them.
            offsets: what a board taught about the actions: how much more the logarithm of each
                one's cost is than expected, shape (k,).

        Raises:
            ValueError: they do not.
        """
        offsets = np.zeros(len(actions)) if offsets is None else offsets
        self._offsets = np.array(offsets, dtype=np.float32)
        if self._offsets.shape != (len(actions),):
            raise ValueError(f"there are no {len(actions)} offsets")
        if not (np.abs(self._offsets) <= LARGEST_OFFSET).all():
            raise ValueError(f"an offset is not within {-LARGEST_OFFSET} and {LARGEST_OFFSET}")
        self._known, self.advice, self._layers = known, PolicyFeatures(known, actions), layers
        check_layers(layers)
        n_inputs, n_outputs = layers[0][0].shape[1], len(layers[-1][1])
        if n_inputs != self.advice.n_inputs:
            raise ValueError(f"the first layer has {n_inputs} inputs, not {self.advice.n_inputs}")
        if n_outputs != len(actions):
            raise ValueError(f"the last layer has {n_outputs} outputs for {len(actions)} actions")

    def begin(self, plant: Plant, n: int) -> None:
        """Forget what was seen and in force."""
        self.advice.begin()
        self.held = top_clocks(self._known.layout, n)

    def decide(self, observations: Observations) -> Indices:
        """Take the best of the portfolio for each board."""
        return self.take(self.scores(observations).argmax(axis=1))

    def take(self, numbers: NDArray[np.int64]) -> Indices:
        """Look actions up by their numbers in the portfolio, and remember that they are taken."""
        self.held = self.advice.actions[numbers]
        return self.held

    def scores(self, observations: Observations) -> Any:
        """Score the portfolio for each board, shape (n, k)."""
        inputs = self.advice.see(observations, self.held)
        hidden = inputs
        for layer, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight.T + bias
            if layer < len(self._layers) - 1:
                np.maximum(hidden, 0.0, out=hidden)
        corrections = (hidden.mean(axis=1, keepdims=True) - hidden) / SHARPNESS
        self.log_costs = self.advice.log_costs + corrections + self._offsets
        regrets = inputs[:, -len(self._offsets) :] + self._offsets
        return hidden - np.float32(SHARPNESS) * regrets


def check_layers(layers: Layers) -> None:
    """Check that layers fit together and that their weights are no nonsense.

    Raises:
        ValueError: there is none, one does not fit to the one before, or a weight is absurd.
    """
    if not layers:
        raise ValueError("there is no layer")
    n_seen = layers[0][0].shape[1]
    for weight, bias in layers:
        if weight.shape != (len(bias), n_seen):
            raise ValueError(f"a layer has shape {weight.shape}, expected (.., {n_seen})")
        n_seen = len(bias)
    check_reach(layers, LARGEST_REGRET)
