"""Rules: deciders that are saved as a name and parameters, and built again without learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.deciders.base import Decider
from agents.deciders.nominal import NominalModel
from agents.deciders.under_governors import UnderGovernors
from envs.governed.governing import Governing
from envs.sim.sim_config import SimConfig

Parameters = dict[str, Any]
"""Plain values, as JSON holds them, and arrays."""
LARGEST = 1e12
"""Indices, seeds, seconds, joules and bits per second of rules all stay far below it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What fitting a rule to a world came to.

    Attributes:
        parameters: of the rule.
        n_steps: simulated control steps it took, over all boards.
        note: what a reader of its results should know, one sentence or none.
    """

    parameters: Parameters
    n_steps: int = 0
    note: str = ""


Fitting = Callable[[SimConfig, int], Fit]
"""Fits a rule to a world, by a seed."""


def _accept(_parameters: Parameters) -> None:
    """Ask nothing of parameters."""


@dataclass(frozen=True, slots=True)
class RuleKind:
    """A kind of rule.

    Attributes:
        name: that it is saved under.
        build: makes a decider for a plant, of parameters.
        fit: fits the decider of the same name; None where deciders of other names are such rules.
        searched: whether that takes simulated control steps.
        governing: the stock governors, where the clocks are their business.
        check: refuses parameters before there is a plant; raises what `Rule.check` does.
        takes_promise: whether `promise` is a parameter: the share of requests in time that it
            keeps.
        reads_scaled: whether it was learned, or written, for observations between their bounds,
            and not for the physical values that they stand for.
    """

    name: str
    build: Callable[[NominalModel, Parameters], Decider]
    fit: Fitting | None = None
    searched: bool = False
    governing: Governing | None = None
    check: Callable[[Parameters], None] = _accept
    takes_promise: bool = False
    reads_scaled: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and its parameters.

    Attributes:
        kind: of rule.
        parameters: of that kind.
    """

    kind: RuleKind
    parameters: Parameters

    @property
    def name(self) -> str:
        """Name of the kind."""
        return self.kind.name

    @property
    def leaves_clocks(self) -> bool:
        """Whether the clocks are the stock governors' business."""
        return self.kind.governing is not None

    def with_parameters(self, **changed: Any) -> Rule:
        """The same rule with some parameters changed or added."""
        return replace(self, parameters=self.parameters | changed)

    def check(self) -> None:
        """Refuse parameters that no fit comes to, before a board is opened.

        Raises:
            KeyError: a parameter of a network is missing.
            TypeError: one is of another kind.
            ValueError: one is absurd.
        """
        self.kind.check(self.parameters)
        for value in _numbers(self.parameters):
            if not abs(value) <= LARGEST:
                raise ValueError(f"a parameter is {value:.2g}")

    def build(self, known: NominalModel) -> Decider:
        """Make the decider.

        Raises:
            KeyError: a parameter is missing.
            TypeError: a parameter too many.
        """
        return self.kind.build(known, self.parameters)

    def simulated(self, world: SimConfig) -> Decider:
        """Make the decider for simulated boards, whose governors are modelled."""
        decider = self.build(NominalModel.of(world))
        governing = self.kind.governing
        return decider if governing is None else UnderGovernors(decider, governing)


def _numbers(value: object) -> Iterator[float]:
    """Every number in plain values, and the largest one of an array."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, np.ndarray):
        yield float(np.abs(value).max(initial=0))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
