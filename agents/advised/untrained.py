"""The nominal model's advice on a portfolio as it is, before anything is learned."""

from __future__ import annotations

import numpy as np

from agents.advised.policy import PolicyFeatures, advised_rule
from agents.advised.portfolio import PORTFOLIO, complementary
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Rule
from envs.plant import Readings


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
