"""Space of a learner's settings in a given number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)

from agents.errors import AgentError
from agents.learners.algorithm import Algorithm
from agents.learners.budget import setting, within
from agents.learners.search_space import Choices, Dimension, Multiples, Span
from agents.training.hyperparams import Hyperparams, Value, with_hyperparams

OF_RECIPE = ("n_envs", "ent_coef")
"""Settings that may stand beside a recipe's `settings`, not in them."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        distributions: of each setting, by name.
        shipped: what the learner has where nothing is searched, by name; a value that its own
            distribution leaves out is shown, not learned from.
    """

    distributions: dict[str, BaseDistribution]
    shipped: dict[str, Value]

    @classmethod
    def of(
        cls, name: str, recipe: Algorithm, given: Hyperparams, total_timesteps: int | None
    ) -> Space:
        """The space of a learner.

        Args:
            name: of the learner.
            recipe: as it ships.
            given: settings that a user chose, which stay as they are.
            total_timesteps: of a training; the learner's own number if None.

        Raises:
            AgentError: it has no such setting, or there is nothing to search.
        """
        recipe = with_hyperparams(name, recipe, given)
        asked = recipe.total_timesteps if total_timesteps is None else total_timesteps
        recipe = within(recipe, asked, given.keys())
        searched = {key: each for key, each in recipe.search.items() if key not in given}
        if not recipe.search:
            raise AgentError(
                f"nobody has said where to look for the settings of {name}; give its Algorithm a "
                f"search, as those in agents/learners/ have"
            )
        if not searched:
            raise AgentError(
                f"--hyperparams gives all of {name} that could be searched; leave some out"
            )
        shipped = {key: _shipped(recipe, key) for key in searched}
        spans = {key: _distribution(each, shipped[key]) for key, each in searched.items()}
        return cls(spans, shipped)

    def known(self, values: Mapping[str, Value]) -> dict[str, BaseDistribution]:
        """Distributions of those settings whose values they hold."""
        return {
            key: each
            for key, each in self.distributions.items()
            if key in values and _holds(each, values[key])
        }


def _shipped(recipe: Algorithm, key: str) -> Value:
    beside = getattr(recipe, key) if key in OF_RECIPE else None
    found = setting(recipe, key) if beside is None else beside
    value: Value = found(1.0) if callable(found) else found
    return value


def _distribution(dimension: Dimension, shipped: Value) -> BaseDistribution:
    if isinstance(dimension, Span):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    return CategoricalDistribution(_multiples(dimension, shipped))


def _multiples(dimension: Multiples, shipped: Value) -> tuple[int, ...]:
    if isinstance(shipped, str):
        raise TypeError(f"{shipped!r} has no multiples")
    return tuple(sorted({max(round(factor * shipped), 1) for factor in dimension.factors}))


def _holds(distribution: BaseDistribution, value: Value) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False
