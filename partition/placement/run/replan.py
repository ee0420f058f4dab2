"""Replanning: which device runs which stage, from the latest measurements of devices and links."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain, pairwise, product

from partition.model.folder import ModelFolder
from partition.placement.cluster import Cluster
from partition.placement.errors import ClusterError
from partition.placement.plan import Plan
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, placed_period_s, solve

CHANGE = 0.2
"""Share by which a link's rate has to change before stages are placed again."""
NOISE_S = 0.01
"""What a busy processor or a burst may add to a transfer, or take from it."""
WORTH = 0.05
"""Share of the period that moving stages has to save."""
Link = tuple[str, str]


class Replanner:
    """Places a network on the devices that are there, over links as they were last measured.

    Args:
        folder: the network.
        cluster: as its file describes it.
        max_replicas: most devices that share a stage.
        time_limit_s: for one search.
    """

    def __init__(
        self,
        folder: ModelFolder,
        cluster: Cluster,
        max_replicas: int = 1,
        time_limit_s: float = 5.0,
    ) -> None:
        self._folder = folder
        self._cluster = replace(cluster, rate_bps=cluster.rate_bps.copy())
        self._wish = PlacementObjective(max_replicas=max_replicas, time_limit_s=time_limit_s)
        self._index = {device.name: i for i, device in enumerate(cluster.devices)}

    def place(self, absent: Collection[str] = ()) -> Plan:
        """The placement with the most frames per second that was found.

        Args:
            absent: devices that cannot be used.

        Raises:
            InfeasibleError: the network does not fit what is left.
            ClusterError: inputs come from, or outputs go to, an absent device.
            PlacementError: there are too many ways to group replicas.
        """
        cluster = _without(self._cluster, absent)
        return solve(build_problem(self._folder, cluster), self._wish)

    def period_s(self, plan: Plan) -> float:
        """What the slowest stage or transfer of a placement takes now."""
        placed = [
            (tuple(self._index[name] for name in stage.devices), stage.start, stage.end)
            for stage in plan.stages
        ]
        return placed_period_s(build_problem(self._folder, self._cluster), placed)

    def measured(self, plan: Plan, rates_bps: Mapping[Link, float]) -> tuple[Link, ...]:
        """Take note of measured rates.

        A device has one cable: where its links have slowed down and none of them has not, those
        that were not measured are taken to be as slow.

        Returns:
            The links whose rate has changed; from now on the planner counts on the new one.
        """
        bytes_on = self._bytes_on(plan)
        changed = []
        for link, rate_bps in rates_bps.items():
            known_bps = self._rate_bps(link)
            bits = 8 * bytes_on.get(link, 0)
            if bits and is_other(bits / known_bps, bits / rate_bps):
                changed.append(link)
        slower = [link for link in changed if rates_bps[link] < self._rate_bps(link)]
        for link in changed:
            self._cluster.rate_bps[self._at(link)] = rates_bps[link]
        for device, links in blamed(slower, [link for link in rates_bps if link not in slower]):
            self._slow_down(device, max(rates_bps[link] for link in links), set(rates_bps))
        return tuple(changed)

    def _slow_down(self, device: str, rate_bps: float, measured: Collection[Link]) -> None:
        """Take the links of a device that were not measured to be no faster than this."""
        for other in self._index:
            for link in ((device, other), (other, device)):
                if other != device and link not in measured:
                    at = self._at(link)
                    self._cluster.rate_bps[at] = min(self._cluster.rate_bps[at], rate_bps)

    def _at(self, link: Link) -> tuple[int, int]:
        return self._index[link[0]], self._index[link[1]]

    def _rate_bps(self, link: Link) -> float:
        return float(self._cluster.rate_bps[self._at(link)])

    def entry(self, plan: Plan) -> str:
        """The device that feeds the line: where inputs come from, or a first stage is."""
        source = self._cluster.source
        return plan.stages[0].devices[0] if source is None else self._cluster.devices[source].name

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


def is_other(known_s: float, measured_s: float) -> bool:
    """Whether a transfer takes so much more or less time that the link must have changed."""
    slower = measured_s > known_s / (1 - CHANGE) + NOISE_S
    return slower or measured_s < known_s / (1 + CHANGE) - NOISE_S


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
                f"device {cluster.devices[end].name!r}, an end of the line, is gone: "
                "bring it back or name another one in the cluster file"
            )
    return cluster.without(absent)
