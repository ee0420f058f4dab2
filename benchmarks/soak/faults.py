"""Faults: drawn at random, begun, and ended again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.applications import Applications
from benchmarks.soak.cloud import Cloud, RoughLink
from benchmarks.soak.machine import Machine
from benchmarks.soak.programs import Program


@dataclass
class SoakSurroundings:
    """Everything around a daemon that faults can get at.

    Attributes:
        can_fill: whether the journal's folder is a file system of its own that can be filled.
    """

    machine: Machine
    daemon: Program
    cloud: Cloud
    link: RoughLink
    applications: Applications
    can_fill: bool


def nothing() -> None:
    """For what has no end of its own."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault that was drawn.

    Attributes:
        what: it does, in words.
        seconds: from `begin` to `end`.
        begin, end: make it and undo it; what is to stay is left.
        group: two of one group never overlap.
    """

    what: str
    seconds: float
    begin: Callable[[], object]
    end: Callable[[], object] = nothing
    group: str = ""
    kind: str = field(default="", compare=False)


Draw = Callable[[random.Random, SoakSurroundings], Fault]
"""Draws what a kind of fault does this time."""


def fill(folder: Path, ballast: str = "ballast") -> None:
    """Leave no byte free in a small file system."""
    block = b"\0" * 512
    with (folder / ballast).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:  # full
            return
