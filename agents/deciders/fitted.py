"""What comes of fitting a decider, and how to fit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agents.deciders.base import Decider
from agents.deciders.rules import Rule
from envs.world import World

Kind = Literal["learned", "searched", "rule", "privileged"]


@dataclass(frozen=True, slots=True)
class Fitted:
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
class Entry:
    """How to get a decider.

    Attributes:
        kind: "learned" from experience, "searched" before use, a "rule" that needs neither, or
            "privileged" to look at what no sensor shows.
        build: makes it for a world and a seed; `fit` fills the time in.
    """

    kind: Kind
    build: Callable[[World, int], Fitted]
