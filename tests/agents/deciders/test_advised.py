"""The corrected advice on a portfolio."""

from __future__ import annotations

import numpy as np
import pytest

from agents.advised.policy import (
    LARGEST_REGRET,
    LONGEST_S,
    MEMORY_S,
    REMEMBERED,
    Advised,
    PolicyFeatures,
)
from agents.advised.portfolio import collect_states, complementary
from agents.advised.rule import advised_rule
from agents.baselines.model_search import ModelSearch, SearchSettings
from agents.baselines.rollout import mean_cost
from agents.deciders.base import top_clocks
from agents.deciders.nominal import NominalModel, every_action
from agents.deciders.pareto import useful_actions
from agents.seeds import seeds_for
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import ObservationEncoder, observation_fields

SEEDS = seeds_for(99, 0, 4)


@pytest.fixture(scope="module")
def known(swinging) -> NominalModel:
    return NominalModel.of(swinging)


@pytest.fixture(scope="module")
def actions(swinging):
    return every_action(swinging.layout)[::20]


def silent(known, actions):
    """Layers that correct nothing."""
    n_inputs = PolicyFeatures(known, actions).n_inputs
    shapes = [(8, n_inputs), (len(actions), 8)]
    return [(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)) for shape in shapes]


def test_a_portfolio_is_what_each_action_adds(swinging, known):
    states = collect_states(swinging, SEEDS)
    chosen = complementary(known, states, 10_000)
    assert 2 <= len(chosen) == len(np.unique(chosen, axis=0)) < len(useful_actions(known))
    np.testing.assert_array_equal(complementary(known, states, 1), chosen[:1])


def test_uncorrected_advice_is_nearly_the_search_over_everything(swinging, known):
    portfolio = complementary(known, collect_states(swinging, SEEDS), 48)
    advised = mean_cost(swinging, Advised(known, portfolio, silent(known, portfolio)), SEEDS)
    searched = mean_cost(swinging, ModelSearch(known, SearchSettings()), SEEDS)
    assert advised == pytest.approx(searched, rel=0.02)


def test_corrections_outweigh_the_advice(swinging, known, actions):
    layers = silent(known, actions)
    layers[-1][1][4] = 1e4
    decider = Advised(known, actions, layers)
    decider.begin(BatchedSimulator(swinging, 3), 3)
    fleet, encoder = (
        BatchedSimulator(swinging, 3),
        ObservationEncoder(observation_fields(swinging.layout)),
    )
    decided = decider.decide(encoder.encode(fleet.reset(SEEDS[:3])))
    np.testing.assert_array_equal(decided, np.tile(actions[4], (3, 1)))


def test_memory_by_hand(swinging, known, actions):
    advice = PolicyFeatures(known, actions)
    held = top_clocks(swinging.layout, 1)
    names = [f.name for f in observation_fields(swinging.layout)]
    column, n = names.index("rtt_s"), REMEMBERED.index("rtt_s")
    first = np.zeros((1, len(names)), np.float32)
    second = first.copy()
    second[0, column] = 0.5
    advice.begin()

    def kept(observations):
        """How much it has changed, how long it has stood, and how far the averages lag."""
        seen = advice.see(observations, held)[0, len(names) :]
        return seen[: len(REMEMBERED) * (2 + len(MEMORY_S))].reshape(-1, len(REMEMBERED))[:, n]

    step_s = known.step_s
    still = np.log1p([step_s, 0.0, step_s, 2 * step_s]) / np.log1p(LONGEST_S)
    assert kept(first) == pytest.approx([0.0, still[0], 0.0, 0.0])
    lags = [-0.5 * (1.0 - step_s / memory_s) for memory_s in MEMORY_S]
    assert kept(second) == pytest.approx([0.5, still[1], *lags])
    assert kept(second)[:2] == pytest.approx([0.0, still[2]])
    assert kept(second)[:2] == pytest.approx([0.0, still[3]])
    for _ in range(int(2 * LONGEST_S / step_s)):
        last = kept(second)
    assert last == pytest.approx([0.0, 1.0, 0.0, 0.0], abs=1e-3)


def test_the_best_action_has_no_regret_and_none_has_too_much(swinging, known):
    advice = PolicyFeatures(known, every_action(swinging.layout))
    encoder = ObservationEncoder(observation_fields(swinging.layout))
    fleet = BatchedSimulator(swinging, 4)
    advice.begin()
    inputs = advice.see(encoder.encode(fleet.reset(SEEDS)), top_clocks(swinging.layout, 4))
    regrets = inputs[:, -len(advice.actions) :]
    assert inputs.shape == (4, advice.n_inputs)
    assert (regrets.min(axis=1) == 0.0).all()
    assert (regrets <= LARGEST_REGRET).all()


@pytest.mark.parametrize("damage", ["shape", "nan", "outputs", "bias", "kind", "none"])
def test_damaged_layers_are_refused(known, actions, damage):
    layers = silent(known, actions)
    if damage == "shape":
        layers = layers[1:]
    if damage == "nan":
        layers[0][0][0, 0] = np.nan
    if damage == "outputs":
        layers[-1] = (layers[-1][0][:-1], layers[-1][1][:-1])
    if damage == "bias":
        layers[0] = (layers[0][0], layers[0][1][:, None])
    if damage == "kind":
        layers[0] = (layers[0][0].astype(np.float64), layers[0][1])
    with pytest.raises(ValueError, match=r"layer|finite|outputs"):
        advised_rule(actions, [] if damage == "none" else layers).build(known)
