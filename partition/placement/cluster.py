"""A cluster file: devices with memory, speed and clocks, links with rate and delay.

The fields are in docs/placement.md. Devices of one `[[devices]]` table with `count` are called
NAME-1, NAME-2 and so on; a link that names the table means each of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partition.placement.errors import ClusterError
from partition.placement.toml_table import Table

SCHEMA_VERSION = 1
CODECS = ("none", "int8")
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
    codec: str = "none"
    """How a tensor crosses a link."""
    queue_depth: int = 1
    """Frames that wait in front of a stage."""

    @classmethod
    def load(cls, path: Path) -> Cluster:
        """Read and check a cluster file.

        Raises:
            ClusterError: it is missing, malformed, or a device cannot be reached.
        """
        root = Table.load(path)
        version = root.whole("schema_version")
        if version != SCHEMA_VERSION:
            raise root.error("schema_version", f"is {version}: this version reads 1")
        codec = root.text("codec", "none")
        if codec not in CODECS:
            raise root.error("codec", f"is {codec!r}: use one of {', '.join(CODECS)}")
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
        _check_reachable(path, cluster)
        return cluster


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
    elif codec != "none":
        raise table.error(
            "codec_bytes_per_s",
            f"is missing: codec {codec!r} takes time, give float32 bytes per second "
            "(python -m partition.codec_table measures it)",
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
        data = json.loads(path.read_text(encoding="utf-8"))
        block_s = tuple(float(block["latency_s"]) for block in data["blocks"])
        return None, block_s, str(data["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
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


def _check_reachable(path: Path, cluster: Cluster) -> None:
    linked = cluster.rate_bps > 0
    start = 0 if cluster.source is None else cluster.source
    if cluster.source is None:
        linked = linked | linked.T
    reached = np.zeros(len(cluster.devices), dtype=bool)
    reached[start] = True
    for _ in cluster.devices:
        reached |= linked[reached].any(axis=0)
    if not reached.all():
        lost = cluster.devices[int(np.argmin(reached))].name
        raise ClusterError(
            f"{path}: device {lost!r} cannot be reached from {cluster.devices[start].name!r}: "
            "add a link to it or a [switch]"
        )
