"""Replanning: which device runs which stage, from the latest measurements of devices and links."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise, product

from partition.model.folder import ModelFolder
from partition.placement import given
from partition.placement.cluster import Cluster
from partition.placement.errors import ClusterError, InfeasibleError, PlacementError
from partition.placement.plan import Plan
from partition.placement.run.device_speeds import DeviceSpeeds
from partition.placement.run.drift import is_other
from partition.placement.run.shelf_life import ShelfLife
from partition.placement.solver.problem import Problem, build_problem
from partition.placement.solver.solve import PlacementObjective, priced, solve

WORTH = 0.05
"""Share of what is wished that moving stages has to save."""
Link = tuple[str, str]


class Replanner:
    """Places a network on the devices that are there, as they and their links were last measured.

    Args:
        folder: the network.
        cluster: as its file describes it.
        wish: what placements are for; its time limit is that of one search.
        pins: as of `given.pins`; those of devices that are gone do not count.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: ModelFolder,
        cluster: Cluster,
        wish: PlacementObjective,
        pins: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._filed_bps = cluster.rate_bps
        self._cluster = replace(cluster, rate_bps=cluster.rate_bps.copy())
        self._wish = wish
        self._index = {device.name: i for i, device in enumerate(cluster.devices)}
        self._speeds = DeviceSpeeds(folder, cluster, clock)
        self._life = ShelfLife[Link](clock)
        self._pins = given.pins(pins, build_problem(folder, cluster))

    def place(self, absent: Collection[str] = ()) -> Plan:
        """The best placement that was found.

        Args:
            absent: devices that cannot be used.

        Raises:
            InfeasibleError: the network does not fit what is left, or not within a limit.
            ClusterError: inputs come from, or outputs go to, an absent device.
            PlacementError: there are too many ways to group replicas.
        """
        return solve(self._problem(absent), self._wish)

    def closest(self, absent: Collection[str] = ()) -> tuple[Plan, PlacementError | None]:
        """The best placement; where none keeps to the wish's limit, the one closest to it.

        Returns:
            The placement, and why it does not keep to the limit; None: it does.

        Raises:
            PlacementError: as `place`, but for the limit.
        """
        try:
            return self.place(absent), None
        except PlacementError as error:
            if self._wish.rate_hz is None and self._wish.max_latency_s is None:
                raise
            objective = "latency" if self._wish.rate_hz is None else "throughput"
            free = replace(self._wish, objective=objective, rate_hz=None, max_latency_s=None)
            return solve(self._problem(absent), free), error

    def value(self, plan: Plan, absent: Collection[str] = ()) -> float:
        """What a placement comes to now of what is wished: seconds of period or latency.

        inf where it is slower than the wish allows, or not as pinned.

        Args:
            plan: the placement, on devices that are there.
            absent: devices that cannot be used.
        """
        problem = self._problem(absent)
        placed = [
            (tuple(map(problem.devices.index, stage.devices)), stage.start, stage.end)
            for stage in plan.stages
        ]
        try:
            return priced(problem, self._wish, placed, 0.0).value
        except InfeasibleError:
            return math.inf

    def _problem(self, absent: Collection[str]) -> Problem:
        """The network on what is there, as fast as it was last measured."""
        problem = build_problem(self._folder, _without(self._cluster, absent))
        factors = self._speeds.factors(problem.devices)[:, None]
        at = {name: i for i, name in enumerate(problem.devices)}
        names = list(self._index)
        return replace(
            problem,
            block_s=problem.block_s * factors,
            encode_s=problem.encode_s * factors,
            decode_s=problem.decode_s * factors,
            pins=tuple(
                pin._replace(device=at[names[pin.device]])
                for pin in self._pins
                if names[pin.device] in at
            ),
        )

    def drifted(self, plan: Plan, busy_s: Mapping[str, float]) -> tuple[str, ...]:
        """Take note of measured seconds per frame, as `DeviceSpeeds.measured`.

        Returns:
            The devices whose speed has changed; from now on the planner counts on the new one.
        """
        return self._speeds.measured(plan, busy_s)

    def measured(
        self, plan: Plan, rates_bps: Mapping[Link, float], *, by_frames: bool = True
    ) -> tuple[Link, ...]:
        """Take note of measured rates.

        A device has one cable: where its links have slowed down and none of them has not, those
        that were not measured are taken to be as slow.

        Args:
            plan: whose frames are on the links.
            rates_bps: by link.
            by_frames: whether they are of frames, whose time is until the news of their arrival.

        Returns:
            The links whose rate has changed; from now on the planner counts on the new one.
        """
        bytes_on = self._bytes_on(plan)
        changed = {}
        for link, rate_bps in rates_bps.items():
            known_bps = self._rate_bps(link)
            bits = 8 * bytes_on.get(link, 0)
            # What feeds replicas where there is no source may have no link in the file.
            if bits and known_bps:
                known_s, measured_s = bits / known_bps, bits / rate_bps
                # A frame behind another on the same link does not show the way there and back.
                way_s = min(self._way_s(link) if by_frames else 0.0, max(measured_s - known_s, 0.0))
                if is_other(known_s, measured_s - way_s):
                    changed[link] = bits / (measured_s - way_s)
        slower = [link for link in changed if changed[link] < self._rate_bps(link)]
        for link, rate_bps in changed.items():
            self._cluster.rate_bps[self._at(link)] = rate_bps
        for device, links in blamed(slower, [link for link in rates_bps if link not in slower]):
            self._slow_down(device, max(changed[link] for link in links), set(rates_bps))
        self._life.renew(filter(self._is_another_than_filed, rates_bps))
        return tuple(changed)

    def forgotten(self) -> tuple[str, ...]:
        """Let go of what was measured long ago, so that it is tried again.

        Returns:
            Devices and links, in words, that are counted on as others again.
        """
        links = list(filter(self._is_another_than_filed, self._life.ended()))
        for at in map(self._at, links):
            self._cluster.rate_bps[at] = self._filed_bps[at]
        return *self._speeds.forgotten(), *(f"link {a} to {b}" for a, b in links)

    def _slow_down(self, device: str, rate_bps: float, measured: Collection[Link]) -> None:
        """Take the links of a device that were not measured to be no faster than this."""
        for other in self._index:
            for link in ((device, other), (other, device)):
                if other != device and link not in measured:
                    at = self._at(link)
                    self._cluster.rate_bps[at] = min(self._cluster.rate_bps[at], rate_bps)
                    self._life.renew([link])

    def _at(self, link: Link) -> tuple[int, int]:
        return self._index[link[0]], self._index[link[1]]

    def _is_another_than_filed(self, link: Link) -> bool:
        return bool(self._rate_bps(link) != self._filed_bps[self._at(link)])

    def _way_s(self, link: Link) -> float:
        """There and back."""
        there = self._at(link)
        return float(self._cluster.delay_s[there] + self._cluster.delay_s[there[::-1]])

    def _rate_bps(self, link: Link) -> float:
        return float(self._cluster.rate_bps[self._at(link)])

    def entry(self, plan: Plan) -> str:
        """The device that feeds the line: where inputs come from, or a first stage is."""
        source = self._cluster.source
        return plan.stages[0].devices[0] if source is None else self._cluster.devices[source].name

    @property
    def ends(self) -> set[str]:
        """Devices that every placement needs: where inputs come from, and outputs go to."""
        ends = (self._cluster.source, self._cluster.sink)
        return {self._cluster.devices[end].name for end in ends if end is not None}

    def links(self, plan: Plan) -> tuple[Link, ...]:
        """The links that frames take on their way to the last stage."""
        return tuple(self._bytes_on(plan))

    def _bytes_on(self, plan: Plan) -> dict[Link, int]:
        """Bytes of a frame on each link that a placement uses."""
        cuts = build_problem(self._folder, self._cluster).cut_bytes
        ends = [(self.entry(plan),), *(stage.devices for stage in plan.stages)]
        return {
            (a, b): int(cuts[stage.start])
            for (senders, receivers), stage in zip(pairwise(ends), plan.stages, strict=True)
            for a, b in product(senders, receivers)
            if a != b
        }


def devices_of(plan: Plan) -> tuple[str, ...]:
    """The devices of all stages, replicas one after the other."""
    return tuple(chain.from_iterable(stage.devices for stage in plan.stages))


def blamed(
    slower: Collection[Link], others: Collection[Link]
) -> list[tuple[str, tuple[Link, ...]]]:
    """Devices whose cable must be why links have slowed down, and those links.

    Args:
        slower: links that have slowed down.
        others: links that were measured, too, and have not.
    """
    sound = {end for link in others for end in link}
    found = []
    for device in sorted({end for link in slower for end in link} - sound):
        links = tuple(link for link in slower if device in link)
        far = {end for link in links for end in link} - {device}
        if len(links) > 1 or far <= sound:
            found.append((device, links))
    return found


def _without(cluster: Cluster, absent: Collection[str]) -> Cluster:
    if not absent:
        return cluster
    for end in (cluster.source, cluster.sink):
        if end is not None and cluster.devices[end].name in absent:
            raise ClusterError(
                f"device {cluster.devices[end].name!r}, an end of the line, cannot be used: "
                "bring it back or name another one in the cluster file"
            )
    left = cluster.without(absent)
    if not left.devices:
        raise ClusterError("no device of the cluster is left: bring one back")
    return left
