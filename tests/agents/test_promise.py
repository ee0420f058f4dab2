"""A promised share of requests in time: the control of the risk, and what it makes of a policy."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.advised.policy import CAUTION, PolicyFeatures
from agents.advised.promised import Promised
from agents.advised.risk_control import CERTAIN, STEP, RiskControl
from agents.advised.rule import advised_rule, own_policy
from agents.deciders.base import top_clocks
from agents.deciders.nominal import Actions, NominalModel, every_action
from agents.deciders.nominal_outcome import expect
from agents.deployed.promise_watch import PromiseWatch
from agents.evaluation.episodes import run_episodes
from agents.seeds import held_out_seeds
from envs.scenarios.signals import Signal
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import ObservationEncoder, observation_fields

PROMISES = st.floats(0.5, 0.999)


class Adversary:
    """Requests in flight, late as it likes unless they were decided on with certainty."""

    def __init__(self, promise: float, n_in_flight: int) -> None:
        self.control = RiskControl(promise, 1)
        self._in_flight = [True] * n_in_flight
        """Whether each was decided on with certainty."""
        self.n_asked = self.n_late = 0

    def request(self, *, wants_late: bool) -> None:
        self._in_flight.append(bool(self.control.caution[0] >= CERTAIN))
        is_certain = self._in_flight.pop(0)
        is_late = wants_late and not is_certain
        self.n_asked, self.n_late = self.n_asked + 1, self.n_late + is_late
        self.control.account(np.ones(1), np.array([float(is_late)]))


class TestRiskControl:
    @settings(max_examples=300)
    @given(PROMISES, st.integers(0, 40), st.lists(st.booleans(), max_size=2000), st.data())
    def test_whatever_comes_the_share_is_kept_up_to_the_bound(self, promise, n, wishes, data):
        """The bound of the class's docstring, at every moment."""
        repeats = data.draw(st.integers(1, 10))
        adversary = Adversary(promise, n)
        for wants_late in wishes * repeats:
            adversary.request(wants_late=wants_late)
            most = (1.0 - promise) * adversary.n_asked + 1.0 / STEP + n + 1.0
            assert adversary.n_late <= most + 1e-6

    @settings(max_examples=100)
    @given(PROMISES, st.integers(0, 40), st.integers(0, 500), st.integers(1, 2000))
    def test_whatever_was_before_the_bound_of_a_stretch_holds(self, promise, n, n_good, n_bad):
        adversary = Adversary(promise, n)
        for _ in range(n_good):
            adversary.request(wants_late=False)
        before = adversary.n_late
        for number in range(1, n_bad + 1):
            adversary.request(wants_late=True)
            most = (1.0 - promise) * number + 2.0 / STEP + n + 1.0
            assert adversary.n_late - before <= most + 1e-6

    @given(PROMISES, st.integers(0, 40))
    def test_the_bound_is_not_idle(self, promise, n):
        """Who is late whenever possible comes close to it: it could be no smaller by much."""
        adversary = Adversary(promise, n)
        for _ in range(3000):
            adversary.request(wants_late=True)
        least = (1.0 - promise) * (adversary.n_asked - n) + 1.0 / STEP - 2.0
        assert adversary.n_late >= least

    def test_counts_at_once_are_as_one_by_one(self):
        one, many = RiskControl(0.9, 1), RiskControl(0.9, 1)
        for late in (0.0, 1.0, 0.0, 0.0):
            one.account(np.ones(1), np.array([late]))
        many.account(np.array([4.0]), np.ones(1))
        np.testing.assert_allclose(one.caution, many.caution)

    def test_what_nothing_helps_is_told_and_over_as_soon_as_something_does(self):
        control = RiskControl(0.9, 2)
        for _ in range(400):
            control.account(np.ones(2), np.array([1.0, 0.0]))
        assert control.is_broken.tolist() == [True, False]
        for late in [1.0, 0.0] * 50:  # not told anew with every other request
            control.account(np.ones(2), np.full(2, late) * [1.0, 0.0])
            assert control.is_broken.tolist() == [True, False]
        for _ in range(3000):
            control.account(np.ones(2), np.zeros(2))
        assert not control.is_broken.any()

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.1, float("nan")])
    def test_a_promise_is_a_share(self, share):
        with pytest.raises(ValueError, match="share"):
            RiskControl(share, 1)


TARGET_S = 0.03
"""That the board misses by itself at its lowest clocks."""


@pytest.fixture(scope="module")
def tight(swinging):
    (scenario,) = swinging.scenarios
    signals = {**scenario.signals, "latency_target_s": Signal(quantiles=(TARGET_S,))}
    return replace(swinging, scenarios=(replace(scenario, signals=signals),), n_steps=480)


@pytest.fixture(scope="module")
def known(tight):
    return NominalModel.of(tight)


@pytest.fixture(scope="module")
def careless(tight, known):
    """A policy that keeps everything on the board, at its lowest clocks."""
    actions = every_action(tight.layout)[::3]
    n_inputs = PolicyFeatures(known, actions).n_inputs
    layers = [(np.zeros((len(actions), n_inputs), np.float32), np.zeros(len(actions), np.float32))]
    layers[0][1][actions[:, -1].argmax()] = 1e4
    return advised_rule(actions, layers).parameters


@pytest.fixture
def promised(known, careless):
    return lambda share: Promised(known, own_policy(known, careless), share)


@pytest.fixture(scope="module")
def runs(tight, known, careless):
    seeds = held_out_seeds(0, 4)
    found = {"free": run_episodes(tight, own_policy(known, careless), seeds)}
    for share in (0.5, 0.9):
        decider = Promised(known, own_policy(known, careless), share)
        found[share] = run_episodes(tight, decider, seeds)
    return found


class TestPromised:
    def test_a_share_is_kept_whatever_the_policy_prefers(self, runs):
        hits = {name: run.deadline_hit_rate.min() for name, run in runs.items()}
        assert hits["free"] < 0.1
        assert hits[0.9] > 0.9, hits
        assert 0.5 < hits[0.5] < hits[0.9] - 0.1, hits

    def test_caution_leaves_ever_fewer_actions_and_in_the_end_the_safest(
        self, tight, known, careless, promised
    ):
        fleet, decider = BatchedSimulator(tight, 4), promised(0.95)
        readings = fleet.reset(held_out_seeds(0, 4))
        seen = ObservationEncoder(observation_fields(tight.layout)).encode(readings)
        chosen, hits = [], []
        for caution in (-1.0, -0.5, 0.0, 0.5, CERTAIN):
            decider.begin(fleet, 4)
            decider._control.caution = np.full(4, caution)
            action = decider.decide(seen)
            weighed = Actions(known, action[:, None])
            outcome = expect(known, weighed, readings, top_clocks(tight.layout, 4), CAUTION)
            chosen.append(action)
            hits.append(outcome.deadline_hit_rate.mean())
        assert hits == sorted(hits)
        assert hits[0] < 0.1
        assert hits[1] > 0.4
        assert hits[2] > 0.95
        free = own_policy(known, careless)
        free.begin(fleet, 4)
        assert (chosen[0] == free.decide(seen)).all()
        assert hits[-1] == pytest.approx(1.0)

    def test_a_watch_tells_the_price_and_when_nothing_helps(self, promised, tight):
        decider, fleet = promised(0.95), BatchedSimulator(tight, 1)
        decider.begin(fleet, 1)
        told = []
        watch = PromiseWatch(SimpleNamespace(promised=decider, failure=None), tell=told.append)
        decider.extra_j = np.array([0.5])
        watch.add(3)
        decider.extra_j = np.array([0.1])
        watch.add(1)
        assert watch.document() == {"share": 0.95, "expected_extra_j": pytest.approx(0.4)}
        decider.account(np.array([500.0]), np.array([500.0]))
        for _ in range(2):
            watch.add(0)
        assert told[0].startswith("even the safest action keeps less than 95 % of the")
        decider.account(np.array([9000.0]), np.array([0.0]))
        watch.add(0)
        assert told[1:] == ["95 % of the requests in time can be kept again"]
