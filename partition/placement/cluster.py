"""A cluster file: devices with memory, speed and clocks, links with rate and delay.

The fields are in docs/placement.md. Devices of one `[[devices]]` table with `count` are called
NAME-1, NAME-2 and so on; a link that names the table means each of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partition import json_file
from partition.codec import quantisers
from partition.placement.errors import ClusterError
from partition.placement.toml_table import Table

SCHEMA_VERSION = 1
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """A clock that a device can be set to."""

    hz: float
    speed: float
    """Share of the device's speed at its fastest clock, above 0 to 1."""
    busy_w: float
    """Power of the whole device while it computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A device; its speed is either counted work per second or measured times."""

    name: str
    memory_bytes: int
    reserve_bytes: int
    """Taken by the system, the run-time and the worker, whatever it computes."""
    flops_per_s: float | None = None
    block_s: tuple[float, ...] | None = None
    """Measured seconds per block between neighbouring legal cuts, at the fastest clock."""
    fingerprint: str | None = None
    """Of the network that `block_s` was measured with, when a profile says so."""
    codec_bytes_per_s: float | None = None
    """float32 bytes that it encodes or decodes per second."""
    clocks: tuple[Clock, ...] = ()
    """Fastest last; none where clocks are left alone."""
    idle_w: float = 0.0
    send_w: float = 0.0
    """Extra power while it sends."""
    position: tuple[float, float] | None = None
    """Where a picture shows it."""

    @property
    def free_bytes(self) -> int:
        """Memory for a stage."""
        return max(self.memory_bytes - self.reserve_bytes, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A device of the file that no stage can be on, as links are missing."""

    name: str
    reason: str
    """In words that follow its name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Devices and the links between them."""

    name: str
    devices: tuple[Device, ...]
    rate_bps: Floats = field(repr=False)
    """(n, n), bits per second from row to column; 0 where there is no link."""
    delay_s: Floats = field(repr=False)
    """(n, n), one way."""
    source: int | None = None
    """Device that the inputs come from; None: they are wherever the first stage is."""
    sink: int | None = None
    """Device that the outputs go to; None: they stay with the last stage."""
    codec: str = quantisers.NO_CODEC
    """How a tensor crosses a link."""
    queue_depth: int = 1
    """Frames that wait in front of a stage."""
    left_out: tuple[LeftOut, ...] = ()
    """What else the file names."""

    @classmethod
    def load(cls, path: Path) -> Cluster:
        """Read and check a cluster file.

        Raises:
            ClusterError: it is missing, malformed, or nothing leads from the source or to the sink.
        """
        root = Table.load(path)
        version = root.whole("schema_version")
        if version != SCHEMA_VERSION:
            raise root.error("schema_version", f"is {version}: this version reads 1")
        codec, codecs = root.text("codec", quantisers.NO_CODEC), quantisers.codec_names()
        if codec not in codecs:
            raise root.error("codec", f"is {codec!r}: use one of {', '.join(codecs)}")
        groups = _read_devices(root, codec)
        devices = tuple(device for group in groups.values() for device in group)
        index = {device.name: i for i, device in enumerate(devices)}
        members = {n: [index[device.name] for device in group] for n, group in groups.items()}
        members |= {
            device.name: [i] for device, i in zip(devices, range(len(devices)), strict=True)
        }
        rate_bps, delay_s = _read_links(root, members, len(devices))
        cluster = cls(
            name=path.stem,
            devices=devices,
            rate_bps=rate_bps,
            delay_s=delay_s,
            source=_end(root, "source", index),
            sink=_end(root, "sink", index),
            codec=codec,
            queue_depth=root.whole("queue_depth", 1),
        )
        root.finish()
        _check_ends(path, cluster)
        left_out = _find_unlinked(cluster)
        return replace(cluster.without([each.name for each in left_out]), left_out=left_out)

    def without(self, names: Collection[str]) -> Cluster:
        """The same without some devices; not the source and not the sink."""
        keep = [i for i, device in enumerate(self.devices) if device.name not in names]
        return replace(
            self,
            devices=tuple(self.devices[i] for i in keep),
            rate_bps=self.rate_bps[np.ix_(keep, keep)],
            delay_s=self.delay_s[np.ix_(keep, keep)],
            source=None if self.source is None else keep.index(self.source),
            sink=None if self.sink is None else keep.index(self.sink),
        )


def _read_devices(root: Table, codec: str) -> dict[str, list[Device]]:
    tables = root.tables("devices")
    if not tables:
        raise root.error("devices", "is missing: add at least one [[devices]] table")
    groups: dict[str, list[Device]] = {}
    taken: set[str] = set()
    for table in tables:
        name = table.text("name")
        count = table.whole("count", 0)
        names = [name] if not count else [f"{name}-{k + 1}" for k in range(count)]
        if taken & {name, *names}:
            raise table.error("name", f"= {name!r} is taken: give every device its own")
        taken |= {name, *names}
        groups[name] = _read_device(table, names, codec)
    return groups


def _read_device(table: Table, names: list[str], codec: str) -> list[Device]:
    flops_per_s, block_s, fingerprint = _read_speed(table)
    codec_bytes_per_s = None
    if table.holds("codec_bytes_per_s"):
        codec_bytes_per_s = table.number("codec_bytes_per_s", positive=True)
    elif codec != quantisers.NO_CODEC:
        raise table.error(
            "codec_bytes_per_s",
            f"is missing: codec {codec!r} takes time, give float32 bytes per second "
            "(python -m benchmarks.codec measures it)",
        )
    memory_bytes = table.whole("memory_bytes", low=1)
    reserve_bytes = table.whole("reserve_bytes", 0)
    if reserve_bytes >= memory_bytes:
        raise table.error(
            "reserve_bytes", f"is {reserve_bytes}, all of memory_bytes: leave room for a stage"
        )
    position = table.numbers("position") if table.holds("position") else None
    if position is not None and (len(position) != 2 or len(names) > 1):
        raise table.error("position", "must be [x, y] of a single device")
    clocks = _read_clocks(table)
    idle_w, send_w = table.number("idle_w", 0.0), table.number("send_w", 0.0)
    table.finish()
    return [
        Device(
            name=name,
            memory_bytes=memory_bytes,
            reserve_bytes=reserve_bytes,
            flops_per_s=flops_per_s,
            block_s=block_s,
            fingerprint=fingerprint,
            codec_bytes_per_s=codec_bytes_per_s,
            clocks=clocks,
            idle_w=idle_w,
            send_w=send_w,
            position=None if position is None else (position[0], position[1]),
        )
        for name in names
    ]


def _read_speed(table: Table) -> tuple[float | None, tuple[float, ...] | None, str | None]:
    given = [key for key in ("flops_per_s", "block_s", "profile") if table.holds(key)]
    if len(given) != 1:
        raise table.error(
            "flops_per_s",
            f"or block_s or profile: give exactly one of them, not {' and '.join(given) or 'none'}",
        )
    if given == ["flops_per_s"]:
        return table.number("flops_per_s", positive=True), None, None
    if given == ["block_s"]:
        return None, table.numbers("block_s"), None
    path = table.path.parent / table.text("profile")
    try:
        data = json_file.read(path)
        block_s = tuple(float(block["latency_s"]) for block in data["blocks"])
        return None, block_s, str(data["fingerprint"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise table.error(
            "profile",
            f"= {str(path)!r} cannot be read ({error}): write it with python -m partition.profile",
        ) from error


def _read_clocks(table: Table) -> tuple[Clock, ...]:
    clocks = []
    for entry in table.tables("clocks"):
        clock = Clock(
            hz=entry.number("hz", positive=True),
            speed=entry.number("speed", positive=True),
            busy_w=entry.number("busy_w"),
        )
        if clock.speed > 1:
            raise entry.error("speed", f"is {clock.speed:g}: the fastest clock is 1")
        entry.finish()
        clocks.append(clock)
    clocks.sort(key=lambda clock: clock.speed)
    if clocks and clocks[-1].speed != 1:
        raise table.error("clocks", "lack one of speed 1: the device's times belong to it")
    return tuple(clocks)


def _read_links(root: Table, members: dict[str, list[int]], n: int) -> tuple[Floats, Floats]:
    rate_bps, delay_s = np.zeros((n, n)), np.zeros((n, n))
    if root.holds("switch"):
        switch = root.table("switch")
        rate_bps[:] = switch.number("rate_bps", positive=True)
        delay_s[:] = switch.number("delay_s", 0.0)
        switch.finish()
    for link in root.tables("links"):
        ends = [link.text("from"), link.text("to")]
        for key, end in zip(("from", "to"), ends, strict=True):
            if end not in members:
                raise link.error(key, f"= {end!r} is no device: use a name under [[devices]]")
        rate, delay = link.number("rate_bps", positive=True), link.number("delay_s", 0.0)
        one_way = link.flag("one_way")
        link.finish()
        pairs = [np.ix_(members[ends[0]], members[ends[1]])]
        pairs += [] if one_way else [np.ix_(members[ends[1]], members[ends[0]])]
        for pair in pairs:
            rate_bps[pair], delay_s[pair] = rate, delay
    np.fill_diagonal(rate_bps, 0.0)
    np.fill_diagonal(delay_s, 0.0)
    return rate_bps, delay_s


def _end(root: Table, key: str, index: dict[str, int]) -> int | None:
    if not root.holds(key):
        return None
    name = root.text(key)
    if name not in index:
        raise root.error(key, f"= {name!r} is no device: use one of {', '.join(list(index)[:8])}")
    return index[name]


def _check_ends(path: Path, cluster: Cluster) -> None:
    """Refuse a file without links, and ends that nothing leads from or to."""
    names = [device.name for device in cluster.devices]
    if len(names) == 1:
        return
    linked, source, sink = cluster.rate_bps > 0, cluster.source, cluster.sink
    lost = None
    if not linked.any() or (source is not None and not linked[source].any()):
        start = source or 0
        lost = f"device {names[1 if start == 0 else 0]!r}", f"{names[start]!r}"
    elif sink is not None and not linked[:, sink].any():
        lost = f"sink {names[sink]!r}", "any other device"
    elif source is not None and sink is not None and not _reached(linked, source)[sink]:
        lost = f"sink {names[sink]!r}", f"source {names[source]!r}"
    if lost:
        raise ClusterError(
            f"{path}: {lost[0]} cannot be reached from {lost[1]}: add a link to it or a [switch]"
        )


def _find_unlinked(cluster: Cluster) -> tuple[LeftOut, ...]:
    linked, source, sink = cluster.rate_bps > 0, cluster.source, cluster.sink
    names = [device.name for device in cluster.devices]
    reasons: dict[int, str] = {}
    if sink is not None:
        lost = np.flatnonzero(~_reached(linked.T, sink)).tolist()
        reasons |= dict.fromkeys(lost, f"cannot reach {names[sink]!r}")
    if source is not None:
        lost = np.flatnonzero(~_reached(linked, source)).tolist()
        reasons |= dict.fromkeys(lost, f"cannot be reached from {names[source]!r}")
    if source is None and sink is None and len(names) > 1:
        lost = np.flatnonzero(~(linked | linked.T).any(axis=1)).tolist()
        reasons |= dict.fromkeys(lost, "has no link")
    return tuple(LeftOut(name=names[i], reason=reasons[i]) for i in sorted(reasons))


def _reached(linked: npt.NDArray[np.bool_], start: int) -> npt.NDArray[np.bool_]:
    """(n,) what links lead to from a device, itself included."""
    reached = np.zeros(len(linked), dtype=bool)
    reached[start] = True
    for _ in linked:
        reached |= linked[reached].any(axis=0)
    return reached
