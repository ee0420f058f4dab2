"""Speeds of devices as their stages show them, next to what the cluster file says."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from partition.model.folder import ModelFolder
from partition.placement.cluster import Cluster, Floats
from partition.placement.plan import Plan, PlannedStage
from partition.placement.run.drift import COMPUTE_NOISE_S, is_other
from partition.placement.run.shelf_life import ShelfLife
from partition.placement.solver.problem import build_problem, codec_s


class DeviceSpeeds:
    """Factors by which devices take longer than the cluster file says.

    Devices that the file gives the same speed count as equally fast, so that they can be replicas,
    except for those that measurably are not.

    Args:
        folder: the network.
        cluster: as its file describes it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: ModelFolder,
        cluster: Cluster,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = {device.name: i for i, device in enumerate(cluster.devices)}
        self._block_s = build_problem(folder, cluster).block_s
        self._codec_s = codec_s(folder, cluster)
        rows = np.column_stack([self._block_s, self._codec_s])
        self._kind = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        self._usual: dict[int, float] = {}
        """Of each kind that was measured, when it was so first: before anything had happened."""
        self._own: dict[str, float] = {}
        """Of devices that are not as fast as their kind."""
        self._looks: dict[str, tuple[PlannedStage, float]] = {}
        """What each device took when it was last looked at, and in which stage."""
        self._life = ShelfLife[str](clock)

    def factors(self, names: Sequence[str]) -> Floats:
        """(n,) times of what the file says, of each of some devices."""
        # A file that is wrong about those that were measured is as wrong about the others.
        others = statistics.median(self._usual.values()) if self._usual else 1.0
        usual = [self._usual.get(self._kind_of(name), others) for name in names]
        return np.array([self._own.get(*each) for each in zip(names, usual, strict=True)])

    def measured(self, plan: Plan, busy_s: Mapping[str, float]) -> tuple[str, ...]:
        """Take note of what stages take a frame, from the second look at each on.

        Args:
            plan: that they run.
            busy_s: by device, from a frame's arrival at its stage to the message for the next one.

        Returns:
            The devices that are not as fast as was counted on.
        """
        stages = {name: stage for stage in plan.stages for name in stage.devices if name in busy_s}
        busy_s = self._quicker_of_two(stages, busy_s)
        filed_s = {name: self._filed_s(name, stages[name]) for name in busy_s}
        filed_s = {name: each_s for name, each_s in filed_s.items() if each_s > 0}
        changed = [
            name for name, each_s in filed_s.items() if self._is_other(name, each_s, busy_s[name])
        ]
        new = {self._kind_of(name) for name in filed_s} - set(self._usual)
        for kind in new:
            alike = [name for name in filed_s if self._kind_of(name) == kind]
            self._usual[kind] = statistics.median_low(
                busy_s[name] / filed_s[name] for name in alike
            )
        for name, each_s in filed_s.items():
            if name in changed or self._kind_of(name) in new:
                self._own[name] = self._factor_for(name, each_s, busy_s[name])
        self._life.renew(filed_s)
        return tuple(changed)

    def forgotten(self) -> tuple[str, ...]:
        """Let go of what is long ago: of devices that have not had a stage since.

        Returns:
            Those of them that count with another speed from now on.
        """
        names = self._life.ended()
        before = self.factors(names)
        for name in names:
            self._own.pop(name, None)
        known = {self._kind_of(name) for name in self._life.known}
        self._usual = {kind: usual for kind, usual in self._usual.items() if kind in known}
        others = np.flatnonzero(self.factors(names) != before)
        return tuple(names[i] for i in others)

    def _quicker_of_two(
        self, stages: Mapping[str, PlannedStage], busy_s: Mapping[str, float]
    ) -> dict[str, float]:
        """The lesser of each device's times in this look and in the one before.

        A process that starts beside a stage takes the processor for some seconds, and nothing
        makes a stage quicker than it is.
        """
        before, self._looks = self._looks, {name: (stages[name], busy_s[name]) for name in stages}
        return {
            name: min(before[name][1], busy_s[name])
            for name, stage in stages.items()
            if name in before and before[name][0] == stage
        }

    def _filed_s(self, name: str, stage: PlannedStage) -> float:
        """What the file says of all that a stage's own process does with a frame.

        That decodes the network's input, on the source too, and does not encode it, which another
        process of the source does: neither is as the planner counts a device's time.
        """
        at = self._index[name]
        ends_s = self._codec_s[at, stage.start] + self._codec_s[at, stage.end]
        return float(self._block_s[at, stage.start : stage.end].sum() + ends_s)

    def _is_other(self, name: str, filed_s: float, busy_s: float) -> bool:
        return is_other(float(self.factors([name])[0]) * filed_s, busy_s, COMPUTE_NOISE_S)

    def _factor_for(self, name: str, filed_s: float, busy_s: float) -> float:
        """The factor of the kind, or of another device of it, if that explains the time."""
        kind = self._kind_of(name)
        others = [own for other, own in self._own.items() if self._kind_of(other) == kind]
        for factor in (self._usual[kind], *others):
            if not is_other(factor * filed_s, busy_s, COMPUTE_NOISE_S):
                return factor
        return busy_s / filed_s

    def _kind_of(self, name: str) -> int:
        return int(self._kind[self._index[name]])
