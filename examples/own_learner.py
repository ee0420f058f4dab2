"""A decider of one's own that learns: a linear policy, by the cross-entropy method.

python train.py --algo examples.own_learner:LinearPolicy
"""

import numpy as np

from agents.deciders.base import axis_sizes
from agents.deciders.nominal import NominalModel
from agents.deciders.own import OwnDecider
from agents.evaluation.episodes import run_episodes
from agents.seeds import search_seeds
from envs.spaces import observation_fields

ROUNDS, TRIED, BEST, EPISODES = 30, 24, 6, 4


class LinearPolicy(OwnDecider):
    """A number per axis, linear in the observation; what `fit` returns is saved with the run."""

    def __init__(self, known, weights):
        super().__init__(known)
        self._weights, self._sizes = weights, np.array(axis_sizes(known.layout))

    @classmethod
    def fit(cls, world, seed):
        draw, known, seeds = np.random.default_rng(seed), NominalModel.of(world), search_seeds(seed)
        shape = (len(observation_fields(world.layout)), len(world.layout.axes))
        mean, sd = np.zeros(shape), 1.0
        for _ in range(ROUNDS):
            tried = mean + sd * draw.normal(size=(TRIED, *shape))
            runs = [run_episodes(world, cls(known, w), seeds[:EPISODES]) for w in tried]
            best = np.argsort([run.cost.mean() for run in runs])[:BEST]
            mean, sd = tried[best].mean(axis=0), tried[best].std(axis=0) + 0.02
        return {"weights": mean}

    def decide(self, observations):
        shares = 1.0 / (1.0 + np.exp(-observations @ self._weights))
        return np.minimum(shares * self._sizes, self._sizes - 1).astype(np.int64)
