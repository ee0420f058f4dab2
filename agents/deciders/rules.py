"""Deciders that are saved as a name and JSON parameters, and built again without any learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.deciders.advised import Advised, check_layers, unpack
from agents.deciders.appealnet import AppealNet
from agents.deciders.bandit import Arms, Bandit
from agents.deciders.base import Decider
from agents.deciders.dynamic_split import DynamicSplitting
from agents.deciders.dynasplit import DynaSplit, PublishedDynaSplit
from agents.deciders.governor import FixedRoute, Governed, Router
from agents.deciders.known import Known
from agents.deciders.model_search import ModelSearch, SearchSettings
from agents.deciders.neurosurgeon import Neurosurgeon
from agents.deciders.static import Random, Static
from envs.plant import Indices

Parameters = dict[str, Any]
"""What JSON can hold."""
LARGEST = 1e12
"""Indices, seeds, seconds, joules and bits per second of rules all stay far below it."""

_ROUTERS: dict[str, Callable[[Known, Parameters], Router]] = {
    "fixed-route": lambda _known, p: FixedRoute(int(p["route"])),
    "neurosurgeon": lambda known, p: Neurosurgeon(known, p["goal"]),
    "dynamic-split": lambda known, _p: DynamicSplitting(known),
    "appealnet": lambda _known, p: AppealNet(
        int(p["edge_route"]), int(p["appeal_route"]), float(p["share"])
    ),
}
_CLOCKED: dict[str, Callable[[Known, Parameters], Decider]] = {
    "static": lambda _known, p: Static(tuple(int(i) for i in p["action"])),
    "random": lambda _known, p: Random(int(p["seed"])),
    "dynasplit": lambda known, p: DynaSplit(known, _actions(p["front"])),
    "dynasplit-published": lambda known, p: PublishedDynaSplit(
        known, _actions(p["front"]), np.array(p["latency_s"])
    ),
    "advised": lambda known, p: Advised(
        known,
        _actions(p["actions"]),
        unpack(p["layers"]),
        offsets=p.get("offsets"),
        least_in_time=float(p.get("least_in_time", 0.0)),
    ),
    "bandit": lambda known, p: Bandit(known, Arms(**p)),
    "model-search": lambda known, p: ModelSearch(known, SearchSettings(**p)),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and its parameters.

    Attributes:
        name: one of `rule_names`.
        parameters: of that rule.
    """

    name: str
    parameters: Parameters

    @property
    def leaves_clocks(self) -> bool:
        """Whether the clocks are the stock governors' business."""
        return self.name in _ROUTERS

    def check(self) -> None:
        """Refuse parameters that no fit comes to, before a board is opened.

        Raises:
            KeyError: a parameter of a network is missing.
            TypeError: one is of another kind.
            ValueError: one is absurd.
        """
        for value in _numbers(self.parameters):
            if not abs(value) <= LARGEST:
                raise ValueError(f"a parameter is {value:.2g}")
        if self.name == "advised":
            check_layers(unpack(self.parameters["layers"]))

    def build(self, known: Known) -> Decider:
        """Make the decider.

        Raises:
            KeyError: unknown name, or a parameter is missing.
            TypeError: a parameter too many.
        """
        if self.leaves_clocks:
            return Governed(known, _ROUTERS[self.name](known, self.parameters))
        return _CLOCKED[self.name](known, self.parameters)


def rule_names() -> tuple[str, ...]:
    """Names that a `Rule` may have."""
    return (*_ROUTERS, *_CLOCKED)


def _numbers(value: object) -> Iterator[float]:
    """Every number in plain values."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


def _actions(rows: list[list[int]]) -> Indices:
    return np.array(rows, dtype=np.int64)
