"""Supervisor of stages on Ray nodes; places them again when nodes or links change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any

import ray

from partition.errors import PartitionError
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.placement.cluster import Cluster, LeftOut
from partition.placement.errors import PlacementError
from partition.placement.plan import Plan
from partition.placement.report import rate
from partition.placement.run.actors import (
    LABEL,
    LineActor,
    PlacedStage,
    StageActor,
    reason_of,
    sample_inputs,
)
from partition.placement.run.move_pace import MovePace
from partition.placement.run.replan import WORTH, Link, Replanner, devices_of
from partition.placement.run.stage_pool import START_TIMEOUT_S, StagePool

_LOOK_S = 1.0
_MEASURE_S = 3.0
_ANSWER_TIMEOUT_S = 5.0
_TELL_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 20.0
_MOST_TRIED = 6
"""Placements whose links are tried before stages move."""
_FEW_CPUS = 0.001
"""What an actor asks of Ray's book-keeping: the placement is ours."""


def _remedy(device: str) -> str:
    return f"start one on it with ray start --address HEAD:PORT --labels {LABEL}={device}"


def _refusal(device: str, reason: str) -> str:
    return f"device {device!r} cannot run a stage ({reason}): mend that, start its Ray node again"


@dataclass(frozen=True, slots=True)
class PlacementRecord:
    """A placement that was used, and why it was made."""

    plan: Plan
    reason: str
    frames: dict[str, int] = field(default_factory=dict)
    """That a device has worked on in its stage, when it was last asked."""
    busy_s: dict[str, float] = field(default_factory=dict)
    """Measured seconds per frame of a device's stage, as far as they are known."""
    rates_bps: dict[Link, float] = field(default_factory=dict)
    """Measured rates of links."""


class Supervisor:
    """Runs a network on the Ray cluster that was joined; a context manager that ends its actors.

    Args:
        folder: the network; it lies at the same path on every node.
        cluster: its devices are labels of Ray nodes; those that have none yet may join later.
        planner: of the same network and cluster.
        report: called with a line of progress.
        first: placement to begin with, which stays until one of its devices is gone; None: the
            best one, which stays as long as it is.
        spares: processes that wait on each device with a stage, to take over when it is killed.

    Raises:
        PlacementError: no device has a node, or one of `first` or an end of the line has none.
    """

    def __init__(
        self,
        folder: ModelFolder,
        cluster: Cluster,
        planner: Replanner,
        report: Callable[[str], None] = lambda _: None,
        *,
        first: Plan | None = None,
        spares: int = 0,
    ) -> None:
        self._folder = folder.plain
        self._names = {device.name for device in cluster.devices}
        self._codec, self._queue_depth = cluster.codec, cluster.queue_depth
        self._report = report
        self._processes = 1 + spares
        self._planner = planner
        self._first = first
        self._pool = StagePool(self._stages_on, self._refuse)
        self._measured_s = 0.0
        self._is_stuck = False
        self._pace = MovePace()
        self._changed: dict[str, None] = {}
        """What has changed since a better placement was last looked for, in words."""
        self.placed: list[PlacementRecord] = []
        there = self._names & self._alive()
        absent = sorted(self._names - there)
        needed = sorted(self._needed - there) if there else absent
        if needed:
            raise PlacementError(f"device {needed[0]!r} has no Ray node: {_remedy(needed[0])}")
        for name in absent:
            report(f"device {name!r} has no Ray node, it is used once it has: {_remedy(name)}")

    @property
    def _needed(self) -> set[str]:
        """Devices without which the line cannot start."""
        return self._planner.ends | set(devices_of(self._first) if self._first else ())

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Devices that have a Ray node and no stage, as they cannot run one."""
        return tuple(
            LeftOut(name=name, reason=f"cannot run a stage ({reason})")
            for name, reason in sorted(self._pool.refused.items())
        )

    def __enter__(self) -> Supervisor:
        """The supervisor itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the actors."""
        self._pool.close()

    def run(self, n_frames: int) -> dict[str, Any]:
        """Send frames through the network.

        Returns:
            What `LineActor.run` returns.

        Raises:
            PartitionError: the network does not fit, or a stage fails for good.
        """
        whole = SplitRuntime(self._folder)
        expected = tuple(whole.whole(inputs) for inputs in sample_inputs(self._folder))
        line = None
        try:
            plan = self._begin()
            line = self._actor(LineActor, self._planner.entry(plan), max_concurrency=8).remote(
                self._folder.path.resolve(), self._codec, self._queue_depth
            )
            self._place(line, plan, "first placement")
            running = line.run.remote(n_frames, expected)
            while not ray.wait([running], timeout=_LOOK_S)[0]:
                self._look(line)
            result: dict[str, Any] = ray.get(running)
            return result
        except ray.exceptions.RayTaskError as error:
            raise PlacementError(f"the run failed: {reason_of(error)}") from error
        except ray.exceptions.RayError as error:
            raise PlacementError(
                f"the device that feeds the line failed ({reason_of(error)}): start again"
            ) from error
        finally:
            if line is not None:
                ray.kill(line)

    def _begin(self) -> Plan:
        """The placement to begin with, once the devices that are there have answered."""
        self._pool.update(self._names & self._alive(), START_TIMEOUT_S)
        refused = self._pool.refused
        needed = self._needed if self._pool.usable else set(refused)
        unusable = sorted(needed & set(refused))
        if unusable:
            raise PlacementError(_refusal(unusable[0], refused[unusable[0]]))
        return self._first or self._planned()

    def _planned(self) -> Plan:
        """The best placement on devices that run a stage."""
        while True:
            plan = self._planner.place(self._names - self._there())
            if self._starts(plan):
                return plan

    def _replanned(self) -> Plan:
        """The best placement without a device that the line had, within the wish if possible."""
        while True:
            plan, short = self._planner.closest(self._names - self._there())
            if self._starts(plan):
                break
        if short is not None and not self._is_stuck:
            self._report(f"the line goes on, as near to the wish as it can: {short}")
        self._is_stuck = short is not None
        return plan

    def _there(self) -> set[str]:
        """Devices that have a node, and for all that is known can run a stage."""
        return self._pool.usable & self._alive()

    def _starts(self, *plans: Plan) -> bool:
        """Whether the first one's stages run; not waited for once a device of any is gone."""
        needed = {device for plan in plans for device in devices_of(plan)}
        return self._pool.require(devices_of(plans[0]), lambda: needed <= self._alive())

    def _place(self, line: Any, plan: Plan, reason: str) -> None:
        if not self.placed:  # spare ones that still start would slow the first frames down
            self._pool.keep(devices_of(plan))
            self._pool.wait()
        self.placed.append(PlacementRecord(plan, reason))
        stages = tuple(
            PlacedStage(
                each.devices, tuple(map(self._pool.actors, each.devices)), each.start, each.end
            )
            for each in plan.stages
        )
        ray.get(line.place.remote(stages, len(self.placed) - 1), timeout=START_TIMEOUT_S)
        self._pool.keep(devices_of(plan))  # what is ended before would break the line
        where = ", ".join(f"{' + '.join(s.devices)} {s.start}-{s.end}" for s in plan.stages)
        self._report(f"{reason}: {where}, {rate(plan.period_s)} expected")

    def _refuse(self, device: str, reason: str) -> None:
        self._report(f"left out: {_refusal(device, reason)}")

    def _stages_on(self, device: str) -> tuple[Any, ...]:
        make = self._actor(StageActor, device, max_restarts=-1, max_task_retries=-1)
        path, fingerprint = self._folder.path.resolve(), self._folder.fingerprint
        return tuple(make.remote(path, fingerprint) for _ in range(self._processes))

    def _actor(self, kind: type, device: str, **options: Any) -> Any:
        return ray.remote(kind).options(
            num_cpus=_FEW_CPUS, label_selector={LABEL: device}, **options
        )

    def _look(self, line: Any) -> None:
        """Place again if devices or links have changed; take replicas back."""
        line.rejoin.remote()
        current = self.placed[-1].plan
        joined = self._pool.update(self._names & self._alive())
        gone = [device for device in devices_of(current) if device not in self._pool.usable]
        if gone:
            self._first = None
            self._place(line, self._replanned(), f"{gone[0]} is gone")
            return
        reasons = [f"{name} has joined" for name in joined]
        if self._first is None and time.monotonic() >= self._measured_s + _MEASURE_S:
            self._measured_s = time.monotonic()
            # Each once, however often it is seen while stages rest.
            self._changed |= dict.fromkeys(self._changes(line, current))
        if self._pace.allows:
            reasons += list(self._changed)
        if not reasons:
            return
        self._changed = {}
        better = self._better(line, current) if self._first is None else None
        if better:
            if not joined:
                self._pace.moved()
            self._place(line, better, reasons[0])
        else:
            self._pool.keep(devices_of(current))

    def _changes(self, line: Any, current: Plan) -> list[str]:
        """What of links and devices is other than the planner counted on, in words."""
        placed = self.placed[-1]
        busy_s = self._measure(line, placed)
        links = self._planner.measured(current, placed.rates_bps)
        devices = self._planner.drifted(current, busy_s)
        return (
            [f"link {a} to {b} has changed" for a, b in links]
            + [f"{name} takes another time" for name in devices]
            + [f"{what} is tried again" for what in self._planner.forgotten()]
        )

    def _better(self, line: Any, current: Plan) -> Plan | None:
        """A placement that is worth moving to; None, too, where there is none within the wish."""
        try:
            better = self._worth_moving(line, current)
        except PartitionError as error:
            if not self._is_stuck:
                self._report(f"stages stay where they are: {error}")
            self._is_stuck = True
            return None
        self._is_stuck = False
        return better

    def _worth_moving(self, line: Any, current: Plan) -> Plan | None:
        """A better placement once the links that it would use have been tried."""
        tried = set(self.placed[-1].rates_bps)
        for _ in range(_MOST_TRIED):
            there = self._there()
            if not there.issuperset(devices_of(current)):
                return None  # the next look is for another placement anyhow
            absent = self._names - there
            plan = self._planner.place(absent)
            if plan.value >= (1 - WORTH) * self._planner.value(current, absent):
                return None
            if not self._starts(plan, current):
                continue
            untried = [link for link in self._planner.links(plan) if link not in tried]
            if not untried:
                return plan
            tried_bps = self._tried(line, untried, self._planner.entry(plan))
            self._planner.measured(plan, tried_bps, by_frames=False)
            tried.update(untried)
        return plan if self._starts(plan, current) else None

    def _tried(self, line: Any, links: Iterable[Link], entry: str) -> dict[Link, float]:
        """Rates of links by sending something, one after the other; none where no stage answers."""
        rates_bps = {}
        for a, b in links:
            senders = self._pool.actors(a)
            sender = line if a == entry and not senders else senders[0]
            receiver = self._pool.actors(b)[0]
            try:
                address = ray.get(receiver.address.remote(), timeout=_ANSWER_TIMEOUT_S)
                rate_bps = ray.get(sender.probe.remote(address), timeout=_PROBE_TIMEOUT_S)
            except ray.exceptions.RayError:
                continue
            rates_bps[a, b] = rate_bps
        return rates_bps

    def _measure(self, line: Any, placed: PlacementRecord) -> dict[str, float]:
        """Ask the stages how they are doing; one that does not answer is left out.

        Returns:
            Seconds per frame by device, of those that could tell now.
        """
        actors = {name: self._pool.actors(name) for name in devices_of(placed.plan)}
        asked = [
            (name, actor.statistics.remote()) for name, each in actors.items() for actor in each
        ]
        told = _answers([line.progress.remote(), *(answer for _, answer in asked)])
        first = told[0]
        if first is None or first["version"] != len(self.placed) - 1:
            return {}  # what stages tell is still of the placement before
        # Spare ones, and those that have just come back, are in no session or in an older one.
        answers = {
            name: answer
            for (name, _), answer in zip(asked, told[1:], strict=True)
            if answer is not None and answer["session"] == first["session"]
        }
        busy_s = {name: answer["busy_s"] for name, answer in answers.items() if answer["busy_s"]}
        placed.busy_s.update(busy_s)
        placed.frames.update((name, answer["frames"]) for name, answer in answers.items())
        # Next to replicas no rate is measured; what comes while all but one are lost is left out.
        ends = [(self._planner.entry(placed.plan),), *(s.devices for s in placed.plan.stages)]
        told_by = [first, *(answers.get(stage.devices[0]) for stage in placed.plan.stages)]
        for (senders, receivers), answer in zip(pairwise(ends), told_by, strict=False):
            link = (senders[0], receivers[0])
            alone = len(senders) == len(receivers) == 1
            if alone and answer and answer["rate_bps"] and link[0] != link[1]:
                placed.rates_bps[link] = answer["rate_bps"]
        return busy_s

    @staticmethod
    def _alive() -> set[str]:
        return {node["Labels"].get(LABEL, "") for node in ray.nodes() if node["Alive"]}


def _answers(asked: list[Any]) -> list[dict[str, Any] | None]:
    """What actors answer; None where one does not in time."""
    ready = set(ray.wait(asked, num_returns=len(asked), timeout=_TELL_TIMEOUT_S)[0])
    told: list[dict[str, Any] | None] = []
    for each in asked:
        try:
            told.append(ray.get(each) if each in ready else None)
        except ray.exceptions.RayError:
            told.append(None)
    return told
