"""Supervisor of stages on Ray nodes; places them again when nodes or links change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any

import ray

from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.placement.cluster import Cluster
from partition.placement.errors import PlacementError
from partition.placement.plan import Plan
from partition.placement.run.actors import LABEL, LineActor, PlacedStage, StageActor, sample_inputs
from partition.placement.run.replan import WORTH, Link, Replanner, devices_of

_LOOK_S = 1.0
_MEASURE_S = 3.0
_START_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 5.0
_PROBE_TIMEOUT_S = 20.0
_MOST_TRIED = 6
"""Placements whose links are tried before stages move."""
_FEW_CPUS = 0.001
"""What an actor asks of Ray's book-keeping: the placement is ours."""


def _remedy(device: str) -> str:
    return f"start one on it with ray start --address HEAD:PORT --labels {LABEL}={device}"


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
        PlacementError: no device has a node, or one of `first` has none.
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
        self._stages: dict[str, tuple[Any, ...]] = {}
        self._measured_s = 0.0
        self.placed: list[PlacementRecord] = []
        self._there = self._names & self._alive()
        absent = sorted(self._names - self._there)
        needed = absent if not self._there else sorted(self._missing(first))
        if needed:
            raise PlacementError(f"device {needed[0]!r} has no Ray node: {_remedy(needed[0])}")
        for name in absent:
            report(f"device {name!r} has no Ray node, it is used once it has: {_remedy(name)}")

    def _missing(self, plan: Plan | None) -> set[str]:
        """Devices of a placement that have no node."""
        return set() if plan is None else set(devices_of(plan)) - self._there

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
        for device in list(self._stages):
            self._end(device)

    def _end(self, device: str) -> None:
        for actor in self._stages.pop(device):
            ray.kill(actor)

    def run(self, n_frames: int) -> dict[str, Any]:
        """Send frames through the network.

        Returns:
            What `LineActor.run` returns.

        Raises:
            PartitionError: the network does not fit, or a stage fails for good.
        """
        plan = self._first or self._planner.place(self._names - self._there)
        line = self._actor(LineActor, self._planner.entry(plan), max_concurrency=8).remote(
            self._folder.path.resolve(), self._codec, self._queue_depth
        )
        whole = SplitRuntime(self._folder)
        expected = tuple(whole.whole(inputs) for inputs in sample_inputs(self._folder))
        try:
            self._place(line, plan, "first placement")
            running = line.run.remote(n_frames, expected)
            while not ray.wait([running], timeout=_LOOK_S)[0]:
                self._look(line)
            result: dict[str, Any] = ray.get(running)
            return result
        except ray.exceptions.RayTaskError as error:
            raise PlacementError(f"the run failed: {error.cause}") from error
        except ray.exceptions.RayActorError as error:
            raise PlacementError(f"the device that feeds the line failed: {error}") from error
        finally:
            ray.kill(line)

    def _place(self, line: Any, plan: Plan, reason: str) -> None:
        used = devices_of(plan)
        self._keep(used)
        self._start(used)
        if not self.placed:  # spare ones that still start would slow the first frames down
            self._wait_for_all()
        self.placed.append(PlacementRecord(plan, reason))
        stages = tuple(
            PlacedStage(
                each.devices,
                tuple(self._stages[device] for device in each.devices),
                each.start,
                each.end,
            )
            for each in plan.stages
        )
        ray.get(line.place.remote(stages, len(self.placed) - 1), timeout=_START_TIMEOUT_S)
        where = ", ".join(f"{' + '.join(s.devices)} {s.start}-{s.end}" for s in plan.stages)
        self._report(f"{reason}: {where}, {1 / plan.period_s:.2f} frames/s expected")

    def _start(self, devices: Iterable[str]) -> None:
        for device in devices:
            if device not in self._stages:
                make = self._actor(StageActor, device, max_restarts=-1, max_task_retries=-1)
                path = self._folder.path.resolve()
                self._stages[device] = tuple(make.remote(path) for _ in range(self._processes))

    def _keep(self, devices: Iterable[str]) -> None:
        for device in set(self._stages) - set(devices):
            self._end(device)

    def _wait_for_all(self) -> None:
        everyone = [actor.address.remote() for actors in self._stages.values() for actor in actors]
        ray.wait(everyone, num_returns=len(everyone), timeout=_START_TIMEOUT_S)

    def _actor(self, kind: type, device: str, **options: Any) -> Any:
        return ray.remote(kind).options(
            num_cpus=_FEW_CPUS, label_selector={LABEL: device}, **options
        )

    def _look(self, line: Any) -> None:
        """Place again if devices or links have changed; take replicas back."""
        line.rejoin.remote()
        current = self.placed[-1].plan
        there = self._names & self._alive()
        joined, self._there = sorted(there - self._there), there
        absent = self._names - there
        gone = [device for device in devices_of(current) if device not in there]
        if gone:
            for device in gone:
                self._stages.pop(device, None)
            self._first = None
            self._place(line, self._planner.place(absent), f"{gone[0]} is gone")
            return
        if self._first is not None:
            return
        reasons = [f"{name} has joined" for name in joined]
        if time.monotonic() >= self._measured_s + _MEASURE_S:
            self._measured_s = time.monotonic()
            reasons += self._changes(line, current)
        if not reasons:
            return
        better = self._better(line, current, absent)
        if better:
            self._place(line, better, reasons[0])
        else:
            self._keep(devices_of(current))

    def _changes(self, line: Any, current: Plan) -> list[str]:
        """What of links and devices is other than the planner counted on, in words."""
        placed = self.placed[-1]
        self._measure(line, placed)
        links = self._planner.measured(current, placed.rates_bps)
        devices = self._planner.drifted(current, placed.busy_s)
        return [f"link {a} to {b} has changed" for a, b in links] + [
            f"{name} takes another time" for name in devices
        ]

    def _better(self, line: Any, current: Plan, absent: set[str]) -> Plan | None:
        """A placement that is worth moving to once the links that it would use have been tried."""
        tried = set(self.placed[-1].rates_bps)
        for _ in range(_MOST_TRIED):
            plan = self._planner.place(absent)
            if plan.value >= (1 - WORTH) * self._planner.value(current):
                return None
            untried = [link for link in self._planner.links(plan) if link not in tried]
            if not untried:
                return plan
            self._start(devices_of(plan))
            self._planner.measured(plan, self._tried(line, untried, self._planner.entry(plan)))
            tried.update(untried)
        return plan

    def _tried(self, line: Any, links: Iterable[Link], entry: str) -> dict[Link, float]:
        """Rates of links by sending something, one after the other; none where no stage answers."""
        rates_bps = {}
        for a, b in links:
            sender = line if a == entry and a not in self._stages else self._stages[a][0]
            try:
                address = ray.get(self._stages[b][0].address.remote(), timeout=_START_TIMEOUT_S)
                rate_bps = ray.get(sender.probe.remote(address), timeout=_PROBE_TIMEOUT_S)
            except ray.exceptions.RayError:
                continue
            rates_bps[a, b] = rate_bps
        return rates_bps

    def _measure(self, line: Any, placed: PlacementRecord) -> None:
        """Ask the stages how they are doing; one that does not answer is left out."""
        names = devices_of(placed.plan)
        asked = [actor.statistics.remote() for name in names for actor in self._stages[name]]
        try:
            first, *rest = ray.get([line.progress.remote(), *asked], timeout=_ANSWER_TIMEOUT_S)
        except ray.exceptions.RayError:
            return
        n = self._processes
        # The one that works has a link to the next stage; spare ones have none.
        answers = {
            name: max(rest[i : i + n], key=lambda each: (each["rate_bps"] or 0.0, each["frames"]))
            for name, i in zip(names, range(0, len(rest), n), strict=True)
        }
        for name, answer in answers.items():
            placed.frames[name] = answer["frames"]
            if answer["busy_s"]:
                placed.busy_s[name] = answer["busy_s"]
        # Next to replicas no rate is measured; what comes while all but one are lost is left out.
        ends = [(self._planner.entry(placed.plan),), *(s.devices for s in placed.plan.stages)]
        answered = [first, *(answers[stage.devices[0]] for stage in placed.plan.stages)]
        for (senders, receivers), answer in zip(pairwise(ends), answered, strict=False):
            link = (senders[0], receivers[0])
            alone = len(senders) == len(receivers) == 1
            if alone and answer["rate_bps"] and link[0] != link[1]:
                placed.rates_bps[link] = answer["rate_bps"]

    @staticmethod
    def _alive() -> set[str]:
        return {node["Labels"].get(LABEL, "") for node in ray.nodes() if node["Alive"]}
