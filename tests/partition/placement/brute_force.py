"""Every placement of a small cluster file, from what docs/placement.md says and nothing else."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.partition.placement.small_clusters import Instance

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAME = 1e-9
"""Relative; sums are made in another order."""
Group = tuple[int, ...]
Placement = tuple[tuple[Group, int, int], ...]
"""Per stage its devices, first and last cut."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What a placement takes."""

    placement: Placement
    period_s: float
    latency_s: float


class World:
    """A cluster file and a network, read as the page says."""

    def __init__(self, instance: Instance) -> None:
        data = tomllib.loads(instance.text)
        self.cuts = instance.network.cuts
        self.network = instance.network
        self.last = len(self.cuts) - 1
        self.int8 = data.get("codec", "none") == "int8"
        self.queue_depth = data.get("queue_depth", 1)
        self.names: list[str] = []
        self.tables: list[dict[str, Any]] = []
        members: dict[str, list[int]] = {}
        for table in data["devices"]:
            name, count = table["name"], table.get("count", 0)
            made = [f"{name}-{k}" for k in range(1, count + 1)] or [name]
            members[name] = list(range(len(self.names), len(self.names) + len(made)))
            members |= {each: [len(self.names) + k] for k, each in enumerate(made)}
            self.names += made
            self.tables += [table] * len(made)
        limit = instance.memory_limit_bytes
        free = [table["memory_bytes"] - table.get("reserve_bytes", 0) for table in self.tables]
        self.free_bytes = [each if limit is None else min(each, limit) for each in free]
        self.source = None if "source" not in data else self.names.index(data["source"])
        self.sink = None if "sink" not in data else self.names.index(data["sink"])
        self.links = self._links(data, members)
        self.left_out = self._left_out()

    def _links(
        self, data: dict[str, Any], members: dict[str, list[int]]
    ) -> dict[tuple[int, int], tuple[float, float]]:
        """Bits per second and seconds of delay from a device to another."""
        links = {}
        everyone = range(len(self.names))
        if "switch" in data:
            switch = data["switch"]
            for pair in itertools.permutations(everyone, 2):
                links[pair] = switch["rate_bps"], switch.get("delay_s", 0.0)
        for link in data.get("links", []):
            for a, b in itertools.product(members[link["from"]], members[link["to"]]):
                ways = [(a, b)] if link.get("one_way") else [(a, b), (b, a)]
                links |= {way: (link["rate_bps"], link.get("delay_s", 0.0)) for way in ways}
        return {(a, b): link for (a, b), link in links.items() if a != b}

    def _from(self, start: int, *, backwards: bool = False) -> set[int]:
        found, edge = {start}, [start]
        while edge:
            here = edge.pop()
            for link in self.links:
                a, b = reversed(link) if backwards else link
                if a == here and b not in found:
                    found.add(b)
                    edge.append(b)
        return found

    def _left_out(self) -> set[int]:
        everyone = set(range(len(self.names)))
        if self.source is None and self.sink is None:
            linked = {end for link in self.links for end in link}
            return everyone - linked if len(everyone) > 1 else set()
        able = everyone
        if self.source is not None:
            able = able & self._from(self.source)
        if self.sink is not None:
            able = able & self._from(self.sink, backwards=True)
        return everyone - able - {self.source, self.sink}

    @property
    def refused(self) -> bool:
        """Whether the file describes something that cannot work."""
        if len(self.names) == 1:
            return False
        lost_source = self.source is not None and not any(a == self.source for a, _ in self.links)
        lost_sink = self.sink is not None and not any(b == self.sink for _, b in self.links)
        apart = None not in (self.source, self.sink) and self.sink not in self._from(self.source)
        return not self.links or lost_source or lost_sink or apart

    def need_bytes(self, i: int, j: int) -> int:
        return self.network.stage_bytes(i, j, self.queue_depth)

    def block_s(self, device: int, k: int) -> float:
        table = self.tables[device]
        if "block_s" in table:
            return table["block_s"][k]
        return (self.cuts[k + 1].head.flops - self.cuts[k].head.flops) / table["flops_per_s"]

    def codec_s(self, device: int, cut: int) -> float:
        """What is encoded where it is made and decoded where it goes to; not the output."""
        if not self.int8 or cut == self.last or (cut == 0 and self.source is None):
            return 0.0
        return self.cuts[cut].float32_bytes / self.tables[device]["codec_bytes_per_s"]

    def stage_s(self, device: int, i: int, j: int) -> float:
        """The source does not decode its own input, but encodes it for others."""
        blocks_s = sum(self.block_s(device, k) for k in range(i, j))
        input_s = self.codec_s(device, 0) if device == self.source and i else 0.0
        received_s = 0.0 if device == self.source and not i else self.codec_s(device, i)
        return blocks_s + received_s + self.codec_s(device, j) + input_s

    def input_s(self, placement: Placement) -> float:
        """For which the source is busy with an input that it sends to others."""
        if self.source is None or self.source in placement[0][0]:
            return 0.0
        return self.codec_s(self.source, 0)

    def hop_s(self, cut: int, a: int, b: int) -> float:
        """Of a transfer; inf without a link."""
        if a == b:
            return 0.0
        if (a, b) not in self.links:
            return math.inf
        sent = self.cuts[cut].wire_bytes if self.int8 and cut < self.last else None
        sent = self.cuts[cut].float32_bytes if sent is None else sent
        return 8 * sent / self.links[a, b][0]

    def delay_s(self, a: int, b: int) -> float:
        return self.links[a, b][1] if (a, b) in self.links else 0.0

    def kind(self, device: int) -> tuple[object, ...]:
        """Devices of one kind differ in nothing that counts but their links."""
        table = self.tables[device]
        power = table.get("clocks", []), table.get("idle_w", 0.0), table.get("send_w", 0.0)
        blocks = [self.block_s(device, k) for k in range(self.last)]
        codec = [self.codec_s(device, cut) for cut in range(self.last)]
        is_encoder = device == self.source and codec[0] > 0
        return self.free_bytes[device], blocks, codec, power, is_encoder

    @property
    def able(self) -> list[int]:
        """Devices that may have a stage."""
        return [device for device in range(len(self.names)) if device not in self.left_out]

    def _groups(self, most: int) -> list[Group]:
        return [
            group
            for size in range(1, most + 1)
            for group in itertools.combinations(self.able, size)
            if all(self.kind(device) == self.kind(group[0]) for device in group)
        ]

    def placements(self, most: int = 1, more_bytes: float = 0) -> Iterator[Placement]:
        """All that fit and are linked, with up to so many replicas.

        Args:
            most: devices that share a stage.
            more_bytes: that every device has more.
        """
        groups = self._groups(most)

        def grow(done: Placement, taken: frozenset[int]) -> Iterator[Placement]:
            cut = done[-1][2] if done else 0
            if cut == self.last:
                if math.isfinite(self._send_s(done[-1][0])):
                    yield done
                return
            for group in groups:
                if taken & set(group) or not math.isfinite(self._receive_s(done, group)):
                    continue
                room = self.free_bytes[group[0]] + more_bytes
                for end in range(cut + 1, self.last + 1):
                    if self.need_bytes(cut, end) <= room:
                        yield from grow((*done, (group, cut, end)), taken | set(group))

        yield from grow((), frozenset())

    def _receive_s(self, done: Placement, group: Group) -> float:
        if done:
            senders, _, cut = done[-1]
            slowest = max(self.hop_s(cut, a, b) for a in senders for b in group)
            return slowest / min(len(senders), len(group))
        return max(self.hop_s(0, self._start(b), b) for b in group)

    def _send_s(self, group: Group) -> float:
        return max(self.hop_s(self.last, a, a if self.sink is None else self.sink) for a in group)

    def _start(self, device: int) -> int:
        return device if self.source is None else self.source

    def measure(self, placement: Placement, speeds: Sequence[float] | None = None) -> Measures:
        """Its period and latency, at full speed or at these shares of it."""
        compute_s = [
            self.stage_s(group[0], i, j) / speed
            for (group, i, j), speed in zip(
                placement, speeds or [1.0] * len(placement), strict=True
            )
        ]
        period_s = max(
            s / len(group) for s, (group, _, _) in zip(compute_s, placement, strict=True)
        )
        for nth, (group, _, _) in enumerate(placement):
            period_s = max(period_s, self._receive_s(placement[:nth], group))
        period_s = max(period_s, self._send_s(placement[-1][0]), self.input_s(placement))
        latency_s = sum(compute_s) + self.input_s(placement)
        for nth, (group, i, _) in enumerate(placement):
            if i and self.source in group:  # the input is encoded once
                latency_s -= self.codec_s(self.source, 0) / (speeds[nth] if speeds else 1.0)
        for (senders, _, cut), (group, _, _) in itertools.pairwise(placement):
            latency_s += max(
                self.hop_s(cut, a, b) + self.delay_s(a, b) for a in senders for b in group
            )
        first, final = placement[0][0], placement[-1][0]
        latency_s += max(
            self.hop_s(0, self._start(b), b) + self.delay_s(self._start(b), b) for b in first
        )
        if self.sink is not None:
            latency_s += max(
                self.hop_s(self.last, a, self.sink) + self.delay_s(a, self.sink) for a in final
            )
        return Measures(placement=placement, period_s=period_s, latency_s=latency_s)

    def energies_j(
        self, placement: Placement, period_s: float
    ) -> tuple[list[dict[float, float]], float]:
        """Joules of each stage by the clock's Hz, where it keeps up, and of all that is sent."""
        stages = []
        for group, i, j in placement:
            table, busy_s = self.tables[group[0]], self.stage_s(group[0], i, j)
            idle_w = table.get("idle_w", 0.0)
            stages.append(
                {
                    clock["hz"]: clock["busy_w"] * busy_s / clock["speed"]
                    + idle_w * (period_s - busy_s / clock["speed"])
                    for clock in table["clocks"]
                    if busy_s / clock["speed"] <= period_s * (1 + SAME)
                }
            )
        route = [self._start(placement[0][0][0]), *(group[0] for group, _, _ in placement)]
        route.append(route[-1] if self.sink is None else self.sink)
        cuts = [0, *(j for _, _, j in placement)]
        sent = sum(
            self.tables[a].get("send_w", 0.0) * self.hop_s(cut, a, b)
            for cut, (a, b) in zip(cuts, itertools.pairwise(route), strict=True)
        )
        return stages, sent

    def energy_j(self, measures: Measures, period_s: float) -> float:
        """At the best clocks; inf where it does not keep up."""
        if measures.period_s > period_s * (1 + SAME):
            return math.inf
        stages, sent = self.energies_j(measures.placement, period_s)
        if not all(stages):
            return math.inf
        return sum(min(stage.values()) for stage in stages) + sent

    def tilings(self, room: int) -> Iterator[list[int]]:
        """Bytes of the stages of every way to cut the network into stages of at most so many."""
        inner = range(1, self.last)
        for n in range(self.last):
            for cuts in itertools.combinations(inner, n):
                ends = [0, *cuts, self.last]
                sizes = [self.need_bytes(i, j) for i, j in itertools.pairwise(ends)]
                if max(sizes) <= room:
                    yield sizes
