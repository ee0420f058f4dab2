"""Candidates for a stage: one device of a class of identical ones, or several by turns.

Replicas take frames in turn (round robin) and a merge puts them in order, so r replicas are r times
as fast as one, and only devices of one kind are put together. A replica sends or receives one
frame in r; between r and r' replicas a link's end is busy 1 / min(r, r') of a transfer per frame.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np

from partition.placement.cluster import Floats
from partition.placement.errors import PlacementError
from partition.placement.solver.problem import Bools, Ints, Problem

MAX_GROUPS = 400
"""Most groups of replicas that a search looks at."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """C choices, each one or more devices of one kind.

    Attributes:
        problem: whose devices they are.
        members: per choice its classes, as often as it takes a device of each.
        uses: (C, classes) devices that a choice takes of a class.
        counts: (classes,) devices that there are.
        stage_s: (flavours, L + 1, L + 1) period of a stage; inf where it cannot be.
        flavour: (C,) row of `stage_s`.
        s_per_byte: (C, C) from row to column; inf where it cannot be.
        entry_s: (C,) period of the input's way to a choice, its encoding included.
        exit_s: (C,) period of the output's way from it.
    """

    problem: Problem
    members: tuple[tuple[int, ...], ...]
    uses: Ints
    counts: Ints
    stage_s: Floats
    flavour: Ints
    s_per_byte: Floats
    entry_s: Floats
    exit_s: Floats

    def __len__(self) -> int:
        """Number of choices."""
        return len(self.members)

    @cached_property
    def largest_s(self) -> float:
        """No period is longer."""
        transfers_s = self.s_per_byte[np.isfinite(self.s_per_byte)]
        cut_bytes = self.problem.cut_bytes[1:-1].max(initial=0)
        ends_s = [*self.entry_s[np.isfinite(self.entry_s)], *self.exit_s[np.isfinite(self.exit_s)]]
        stages_s = self.stage_s[np.isfinite(self.stage_s)]
        return float(
            max(stages_s.max(initial=0.0), cut_bytes * transfers_s.max(initial=0.0), *ends_s, 0.0)
        )

    def candidates_s(self, low_s: float, high_s: float) -> Floats:
        """Every value that a period can have in [low_s, high_s], ascending."""

        def within(seconds: Floats) -> Floats:
            return np.unique(seconds[(seconds >= low_s) & (seconds <= high_s)])

        links = np.unique(self.s_per_byte[np.isfinite(self.s_per_byte)])
        cuts = np.unique(self.problem.cut_bytes[1:-1])
        found = [within(self.stage_s), within(self.entry_s), within(self.exit_s)]
        return np.unique(np.concatenate([*found, *(within(cut * links) for cut in cuts)]))

    def conflicts(self) -> Bools:
        """(C, C) pairs that cannot both run a stage."""
        over = self.uses[:, None, :] + self.uses[None, :, :] > self.counts
        return np.asarray(over.any(axis=2))


def list_choices(problem: Problem, max_replicas: int = 1) -> Choices:
    """Everything that may run a stage.

    Raises:
        PlacementError: there are too many ways to group replicas.
    """
    classes = problem.classes
    kind = [int(problem.kinds[0][group[0]]) for group in classes]
    counts = np.array([len(group) for group in classes], dtype=np.int64)
    members = list(_groups(kind, counts, max_replicas))
    if max_replicas > 1 and len(members) > MAX_GROUPS + len(classes):
        raise PlacementError(
            f"{max_replicas} replicas can be grouped in {len(members)} ways here, {MAX_GROUPS} are "
            "looked at: allow fewer replicas, or give alike devices alike links"
        )
    flavours = sorted({(kind[group[0]], len(group)) for group in members})
    row = {flavour: i for i, flavour in enumerate(flavours)}
    uses = np.array([[group.count(k) for k in range(len(classes))] for group in members])
    devices = [_devices(classes, group) for group in members]
    r = np.array([len(group) for group in members])
    return Choices(
        problem=problem,
        members=tuple(members),
        uses=uses,
        counts=counts,
        stage_s=np.array([problem.kind_stage_s[k] / n for k, n in flavours]),
        flavour=np.array([row[kind[group[0]], len(group)] for group in members]),
        s_per_byte=_links(problem, classes, members) / np.minimum(r[:, None], r[None, :]),
        entry_s=np.array([problem.entry_period_s[list(group)].max() for group in devices]),
        exit_s=np.array([problem.exit_s[list(group)].max() for group in devices]),
    )


def _groups(kind: list[int], counts: Ints, max_replicas: int) -> list[tuple[int, ...]]:
    groups: list[tuple[int, ...]] = [(k,) for k in range(len(kind))]
    for size in range(2, max_replicas + 1):
        for one in sorted(set(kind)):
            alike = [k for k in range(len(kind)) if kind[k] == one]
            for group in combinations_with_replacement(alike, size):
                if all(n <= counts[k] for k, n in Counter(group).items()):
                    groups.append(group)
            if len(groups) > 100 * MAX_GROUPS:
                return groups
    return groups


def _devices(classes: tuple[tuple[int, ...], ...], group: tuple[int, ...]) -> tuple[int, ...]:
    """One set of devices that a group may stand for."""
    return tuple(classes[k][nth] for k, n in Counter(group).items() for nth in range(n))


def _links(
    problem: Problem, classes: tuple[tuple[int, ...], ...], members: list[tuple[int, ...]]
) -> Floats:
    """Slowest link from any member of one choice to any of another; inf where they clash."""
    first = [group[0] for group in classes]
    between = problem.s_per_byte[np.ix_(first, first)]
    for k, group in enumerate(classes):
        between[k, k] = problem.s_per_byte[group[0], group[1]] if len(group) > 1 else np.inf
    if all(len(group) == 1 for group in members):
        return between
    counts = [len(group) for group in classes]
    slowest = np.empty((len(members), len(members)))
    for a, group in enumerate(members):
        worst = between[list(set(group))].max(axis=0)
        for b, other in enumerate(members):
            both = Counter(group) + Counter(other)
            clash = any(both[k] > counts[k] for k in both)
            slowest[a, b] = np.inf if clash else worst[list(set(other))].max()
    return slowest
