"""The nominal model's advice on a portfolio as it is, before anything is learned."""

from __future__ import annotations

import numpy as np

from agents.advised.policy import PolicyFeatures
from agents.advised.portfolio import PORTFOLIO, collect_states, complementary
from agents.advised.rule import advised_rule
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Fit, Rule
from agents.seeds import search_seeds
from envs.plant import Readings
from envs.sim.sim_config import SimConfig


def advice_rule(known: NominalModel, states: Readings) -> Rule:
    """The rule of a network whose corrections are all 0.

    Args:
        known: about the plant.
        states: in which the portfolio is chosen.
    """
    actions = complementary(known, states, PORTFOLIO)
    n_inputs = PolicyFeatures(known, actions).n_inputs
    weight = np.zeros((len(actions), n_inputs), dtype=np.float32)
    return advised_rule(actions, [(weight, np.zeros(len(actions), dtype=np.float32))])


def fit(world: SimConfig, seed: int) -> Fit:
    """Choose the portfolio on search episodes, and learn nothing."""
    seeds = search_seeds(seed)
    rule = advice_rule(NominalModel.of(world), collect_states(world, seeds))
    return Fit(rule.parameters, len(seeds) * world.n_steps, "nothing is learned")
