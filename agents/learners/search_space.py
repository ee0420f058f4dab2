"""Where `train.py --tune` looks for a learner's settings; each recipe names its own.

Sizes are multiples of what ships, so that a space fits any number of steps: a recipe has fewer
boards and shorter rollouts where there are few (`agents.learners.budget`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers between two bounds, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        log: spread the decades evenly rather than the values.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values.

    Attributes:
        values: to choose from.
    """

    values: tuple[float | int | str, ...]


@dataclass(frozen=True, slots=True)
class Multiples:
    """Whole numbers, 1 or more.

    Attributes:
        factors: of what ships.
    """

    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)


Dimension: TypeAlias = Span | Choices | Multiples

_DISCOUNTS = Choices((0.0, 0.25, 0.5, 0.8))
"""An action's cost falls nearly all into its own step."""
ON_POLICY: dict[str, Dimension] = {
    "learning_rate": Span(3e-4, 1e-2, log=True),
    "n_envs": Multiples((0.25, 0.5, 1.0, 2.0)),
    "n_steps": Multiples((0.5, 1.0, 2.0)),
    "batch_size": Multiples(),
    "gamma": _DISCOUNTS,
    "gae_lambda": Span(0.5, 1.0),
}
PPO: dict[str, Dimension] = {
    **ON_POLICY,
    "n_epochs": Choices((1, 2, 3, 4, 6)),
    "clip_range": Span(0.1, 0.4),
    "ent_coef": Span(5e-3, 0.2, log=True),
}
OFF_POLICY: dict[str, Dimension] = {
    "learning_rate": Span(3e-4, 6e-3, log=True),
    "n_envs": Multiples((0.25, 0.5, 1.0, 2.0)),
    "buffer_size": Multiples(),
    "learning_starts": Multiples((0.5, 1.0, 2.0)),
    "batch_size": Multiples((0.5, 1.0, 2.0, 4.0)),
    "gradient_steps": Choices((1, 2, 4)),
    "gamma": _DISCOUNTS,
    "tau": Span(2e-3, 0.1, log=True),
}
SAC: dict[str, Dimension] = {
    **OFF_POLICY,
    "gradient_steps": Choices((2, 4, 8)),
    "ent_coef": Choices(("auto_0.02", "auto_0.05", "auto_0.2")),
    "target_entropy": Span(-12.0, -2.0),
}
SAC_DISCRETE: dict[str, Dimension] = {
    **OFF_POLICY,
    "temperature": Span(0.01, 0.3, log=True),
    "final_temperature": Span(5e-4, 0.01, log=True),
}
Q_LEARNING: dict[str, Dimension] = {
    **OFF_POLICY,
    "exploration_fraction": Span(0.1, 0.9),
    "exploration_final_eps": Span(0.005, 0.1, log=True),
}
