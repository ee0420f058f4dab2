"""Every decider by name, with what it takes to fit it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from agents.deciders.base import Decider
from agents.deciders.best_static import best_static, search_steps
from agents.deciders.governor import Governor
from agents.deciders.oracle import Oracle
from agents.deciders.static import Random, max_clocks
from agents.errors import AgentError
from agents.seeds import search_seeds
from envs.fleet import World

Kind = Literal["learned", "searched", "rule", "privileged"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A decider that is ready for a world.

    Attributes:
        decider: to be judged or deployed.
        fit_s: time that learning or searching took.
        fit_steps: simulated control steps it took, over all boards.
        note: what a reader of its results should know, one sentence or none.
    """

    decider: Decider
    fit_s: float = 0.0
    fit_steps: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """How to get a decider.

    Attributes:
        kind: "learned" from experience, "searched" before use, a "rule" that needs neither, or
            "privileged" to look at what no sensor shows.
        build: makes it for a world and a seed; `fit` fills the time in.
    """

    kind: Kind
    build: Callable[[World, int], Fitted]


def _best_static(world: World, seed: int) -> Fitted:
    seeds = search_seeds(seed)
    return Fitted(best_static(world, seeds), fit_steps=search_steps(world, len(seeds)))


DECIDERS: dict[str, Entry] = {
    "oracle": Entry("privileged", lambda _world, _seed: Fitted(Oracle())),
    "best-static": Entry("searched", _best_static),
    "governor": Entry("rule", lambda _world, _seed: Fitted(Governor())),
    "max-edge": Entry("rule", lambda world, _seed: Fitted(max_clocks(world.layout, -1))),
    "max-cloud": Entry("rule", lambda world, _seed: Fitted(max_clocks(world.layout, 0))),
    "random": Entry("rule", lambda _world, seed: Fitted(Random(seed))),
}


def names(*kinds: Kind) -> tuple[str, ...]:
    """Names of all deciders, or of those of some kinds."""
    return tuple(name for name, entry in DECIDERS.items() if not kinds or entry.kind in kinds)


def entry(name: str) -> Entry:
    """Look a decider up.

    Raises:
        AgentError: unknown name.
    """
    if name not in DECIDERS:
        raise AgentError(f"unknown algorithm {name!r}; choose one of {', '.join(DECIDERS)}")
    return DECIDERS[name]


def fit(name: str, world: World, seed: int) -> Fitted:
    """Learn, search or just build a decider for a world.

    Raises:
        AgentError: unknown name.
    """
    chosen = entry(name)
    began_s = time.monotonic()
    fitted = chosen.build(world, seed)
    return replace(fitted, fit_s=time.monotonic() - began_s)
