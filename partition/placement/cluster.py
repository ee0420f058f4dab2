"""A cluster file: devices with memory, speed and clocks, links with rate and delay.

The fields are in docs/placement.md. Devices of one `[[devices]]` table with `count` are called
NAME-1, NAME-2 and so on; a link that names the table means each of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, structs

from common.schema import Count, NonNegative, Positive, Table, Text, convert, read_toml
from partition import json_file
from partition.codec import quantisers
from partition.placement.errors import ClusterError

SCHEMA_VERSION = 1
Floats = npt.NDArray[np.float64]


class ClockPoint(Table, frozen=True):
    """A clock that a device can be set to."""

    hz: Positive
    speed: Annotated[float, Meta(gt=0.0, le=1.0)]
    """Share of the device's speed at its fastest clock."""
    busy_w: NonNegative
    """Power of the whole device while it computes."""


class _DeviceFields(Table, frozen=True):
    name: Text
    memory_bytes: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reserve_bytes: Count = 0
    """Taken by the system, the run-time and the worker, whatever it computes."""
    flops_per_s: Positive | None = None
    block_s: Annotated[tuple[NonNegative, ...], Meta(min_length=1)] | None = None
    """Measured seconds per block between neighbouring legal cuts, at the fastest clock."""
    codec_bytes_per_s: Positive | None = None
    """float32 bytes that it encodes or decodes per second."""
    clocks: tuple[ClockPoint, ...] = ()
    """None where clocks are left alone."""
    idle_w: NonNegative = 0.0
    send_w: NonNegative = 0.0
    """Extra power while it sends."""
    position: tuple[NonNegative, NonNegative] | None = None
    """Where a picture shows it."""


class Device(_DeviceFields, frozen=True):
    """A device; its speed is either counted work per second or measured times.

    Its clocks are sorted, fastest last.
    """

    fingerprint: str | None = None
    """Of the network that `block_s` was measured with, when a profile says so."""

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
        file = read_toml(path, _File, "cluster file", ClusterError, SCHEMA_VERSION)
        groups = [_build(path, i, table) for i, table in enumerate(file.devices)]
        devices = tuple(device for group in groups for device in group)
        index = {device.name: i for i, device in enumerate(devices)}
        members = {name: [i] for name, i in index.items()}
        for table, group in zip(file.devices, groups, strict=True):
            members[table.name] = [index[device.name] for device in group]
        rate_bps, delay_s = _connect(file, members, len(devices))
        cluster = cls(
            name=path.stem,
            devices=devices,
            rate_bps=rate_bps,
            delay_s=delay_s,
            source=None if file.source is None else index[file.source],
            sink=None if file.sink is None else index[file.sink],
            codec=file.codec,
            queue_depth=file.queue_depth,
        )
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


class _Switch(Table, frozen=True):
    rate_bps: Positive
    delay_s: NonNegative = 0.0


class _Link(Table, frozen=True, rename={"start": "from", "end": "to"}):
    start: Text
    end: Text
    rate_bps: Positive
    delay_s: NonNegative = 0.0
    one_way: bool = False


class _Block(msgspec.Struct, frozen=True):
    latency_s: NonNegative


class _Profile(msgspec.Struct, frozen=True):
    """What is used of a file of `partition.profile`."""

    fingerprint: str
    blocks: tuple[_Block, ...]


class _Devices(_DeviceFields, frozen=True):
    """A `[[devices]]` table."""

    count: Annotated[int, Meta(ge=0, le=1024)] = 0  # links between many more fill the memory
    profile: Text | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        speeds = ("flops_per_s", "block_s", "profile")
        given = [key for key in speeds if getattr(self, key) is not None]
        if len(given) != 1:
            told = " and ".join(given) or "none"
            raise ValueError(f"{' or '.join(speeds)}; give exactly one of them, not {told}")
        if self.reserve_bytes >= self.memory_bytes:
            told = f"is {self.reserve_bytes}, all of memory_bytes"
            raise ValueError(f"reserve_bytes {told}; leave room for a stage")
        if self.position and self.count > 1:
            raise ValueError("position must be [x, y] of a single device")
        if self.clocks and all(clock.speed != 1 for clock in self.clocks):
            raise ValueError("clocks lack one of speed 1; the device's times belong to it")

    @property
    def names(self) -> list[str]:
        return [f"{self.name}-{k + 1}" for k in range(self.count)] if self.count else [self.name]

    def build(self, folder: Path) -> list[Device]:
        """The devices; raises OSError and ValueError for a profile that cannot be read."""
        same = structs.asdict(self)
        del same["count"], same["profile"]
        same["clocks"] = tuple(sorted(self.clocks, key=lambda clock: clock.speed))
        if self.profile is not None:
            profile = convert(json_file.read(folder / self.profile), _Profile)
            same["block_s"] = tuple(block.latency_s for block in profile.blocks)
            same["fingerprint"] = profile.fingerprint
        return [Device(**{**same, "name": name}) for name in self.names]


class _File(Table, frozen=True):
    """All of it."""

    schema_version: int
    devices: tuple[_Devices, ...] = ()
    switch: _Switch | None = None
    links: tuple[_Link, ...] = ()
    codec: str = quantisers.NO_CODEC
    source: str | None = None
    sink: str | None = None
    queue_depth: Count = 1

    def __post_init__(self) -> None:
        """Refuse names that stand for nothing, or for two things."""
        codecs = quantisers.codec_names()
        if self.codec not in codecs:
            raise ValueError(f"codec is {self.codec!r}; use one of {', '.join(codecs)}")
        if not self.devices:
            raise ValueError("devices is missing; add at least one [[devices]] table")
        taken: set[str] = set()
        for i, table in enumerate(self.devices):
            if taken & {table.name, *table.names}:
                name = f"devices[{i}].name = {table.name!r}"
                raise ValueError(f"{name} is taken; give every device its own")
            taken |= {table.name, *table.names}
            if table.codec_bytes_per_s is None and self.codec != quantisers.NO_CODEC:
                raise ValueError(
                    f"devices[{i}].codec_bytes_per_s is missing; codec {self.codec!r} takes time, "
                    "give float32 bytes per second (python -m benchmarks.codec measures it)"
                )
        single = [name for table in self.devices for name in table.names]
        ends: dict[str, tuple[str | None, Collection[str]]] = {
            "source": (self.source, single),
            "sink": (self.sink, single),
        }
        for i, link in enumerate(self.links):
            ends |= {f"links[{i}].from": (link.start, taken), f"links[{i}].to": (link.end, taken)}
        for key, (end, names) in ends.items():
            if end is not None and end not in names:
                known = ", ".join(sorted(names)[:8])
                raise ValueError(f"{key} = {end!r} is no device; use one of {known}")


def _build(path: Path, i: int, table: _Devices) -> list[Device]:
    try:
        return table.build(path.parent)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{path}: devices[{i}].profile = {str(path.parent / str(table.profile))!r} cannot be "
            f"read ({error}); write it with python -m partition.profile"
        ) from error


def _connect(file: _File, members: dict[str, list[int]], n: int) -> tuple[Floats, Floats]:
    rate_bps, delay_s = np.zeros((n, n)), np.zeros((n, n))
    if file.switch:
        rate_bps[:], delay_s[:] = file.switch.rate_bps, file.switch.delay_s
    for link in file.links:
        pairs = [np.ix_(members[link.start], members[link.end])]
        pairs += [] if link.one_way else [np.ix_(members[link.end], members[link.start])]
        for pair in pairs:
            rate_bps[pair], delay_s[pair] = link.rate_bps, link.delay_s
    np.fill_diagonal(rate_bps, 0.0)
    np.fill_diagonal(delay_s, 0.0)
    return rate_bps, delay_s


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
