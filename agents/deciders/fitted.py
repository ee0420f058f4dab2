"""Deciders by name: how each is fitted, and what fitting returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from agents.deciders.base import Decider
from agents.deciders.rule import Rule
from agents.errors import AgentError
from envs.sim.sim_config import SimConfig

Kind = Literal["learned", "searched", "rule", "privileged", "frozen"]


@dataclass(frozen=True, slots=True)
class FittedDecider:
    """A decider that is ready for a world.

    Attributes:
        decider: to be judged or deployed.
        fit_s: time that learning or searching took.
        fit_steps: simulated control steps it took, over all boards.
        note: what a reader of its results should know, one sentence or none.
        rule: how to build it again from what can be saved; None unless it is a rule.
    """

    decider: Decider
    fit_s: float = 0.0
    fit_steps: int = 0
    note: str = ""
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class DeciderEntry:
    """How to get a decider.

    Attributes:
        kind: "learned" from experience, "searched" before use, a "rule" that needs neither,
            "privileged" to look at what no sensor shows, or "frozen" as a run folder holds it.
        build: makes it for a world and a seed; `Deciders.fit` fills the time in.
        modules: that hold its code, whatever they import besides.
    """

    kind: Kind
    build: Callable[[SimConfig, int], FittedDecider]
    modules: tuple[str, ...] = ()


class Deciders:
    """Deciders by name, in the order they are listed in."""

    def __init__(self, entries: Mapping[str, DeciderEntry]) -> None:
        """List `entries`."""
        self.entries = dict(entries)

    def names(self, *kinds: Kind) -> tuple[str, ...]:
        """Names of all, or of those of some kinds."""
        return tuple(n for n, entry in self.entries.items() if not kinds or entry.kind in kinds)

    def entry(self, name: str) -> DeciderEntry:
        """Look one up.

        Raises:
            AgentError: unknown name.
        """
        if name not in self.entries:
            raise AgentError(f"unknown algorithm {name!r}; choose one of {', '.join(self.entries)}")
        return self.entries[name]

    def fit(self, name: str, world: SimConfig, seed: int) -> FittedDecider:
        """Learn, search or just build one for a world.

        Raises:
            AgentError: unknown name.
        """
        chosen = self.entry(name)
        began_s = time.monotonic()
        fitted = chosen.build(world, seed)
        return replace(fitted, fit_s=time.monotonic() - began_s)
