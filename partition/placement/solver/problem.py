"""The placement problem as numbers: L blocks in a row, n devices, a link from each to each.

Stage [i, j) computes blocks i to j-1, receives cut i and sends cut j. Cut 0 is the network's input,
cut L its output. A device holds one stage.

Costs of a stage: its blocks' time, decoding what comes in and encoding what goes out (a device's
processor does both, so they add to its compute; the source encodes the network's input whenever
another device has the first stage, besides its own stage if it has one); its weights, the largest
peak of activations within it, and the tensors that wait at its ends. The flaws of the published
cost model that this one mends (8 bytes a float, one byte a parameter, all activations summed,
compute left out, blocks between two stages charged to no device) are listed in docs/placement.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from partition.codec import quantisers
from partition.placement.cluster import ClockPoint, Cluster, Device, Floats
from partition.placement.errors import ClusterError

if TYPE_CHECKING:
    from partition.model.folder import ModelFolder

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_BITS = 8


class Pin(NamedTuple):
    """Blocks that a device is to compute, and nobody else."""

    device: int
    start: int
    """Cut before the first one."""
    end: int
    """Cut after the last one."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a solver needs to know; n devices, L blocks.

    Attributes:
        devices: names, n.
        blocks: names, L; the block that ends at cut j is `blocks[j - 1]`.
        block_s: (n, L) at the fastest clock.
        encode_s: (n, L + 1), of a cut before it is sent; of cut 0 what the source takes counts.
        decode_s: (n, L + 1), of a cut after it was received.
        cut_bytes: (L + 1,) on the wire.
        stage_bytes: (L + 1, L + 1), memory of stage [i, j), the same on every device.
        capacity_bytes: (n,) for a stage.
        bytes_per_s: (n, n) from row to column; 0 where there is no link.
        delay_s: (n, n).
        source: device that inputs come from, or None.
        sink: device that outputs go to, or None.
        clocks: of each device; empty where they are left alone.
        idle_w: (n,); None: nothing is known of power.
        send_w: (n,) extra power while a device sends.
        memory_limit_bytes: what `capacity_bytes` was cut to; None: it is what devices have free.
        pins: blocks that are given to devices.
    """

    devices: tuple[str, ...]
    blocks: tuple[str, ...]
    block_s: Floats
    encode_s: Floats
    decode_s: Floats
    cut_bytes: Ints
    stage_bytes: Ints
    capacity_bytes: Ints
    bytes_per_s: Floats
    delay_s: Floats
    source: int | None = None
    sink: int | None = None
    clocks: tuple[tuple[ClockPoint, ...], ...] = ()
    idle_w: Floats | None = None
    send_w: Floats | None = None
    memory_limit_bytes: int | None = None
    pins: tuple[Pin, ...] = ()

    @property
    def n_devices(self) -> int:
        """Number of devices."""
        return len(self.devices)

    @property
    def n_blocks(self) -> int:
        """Number of blocks; cuts are one more."""
        return len(self.blocks)

    @cached_property
    def kinds(self) -> tuple[Ints, Ints]:
        """Devices that differ in nothing but their links.

        One with pinned blocks is of its own kind, and a source that encodes the input.

        Returns:
            kind of each device, (n,), and one device of each kind.
        """
        rows = np.column_stack([self.block_s, self.encode_s, self.decode_s, self.capacity_bytes])
        if self.idle_w is not None and self.send_w is not None:
            tables = np.array([self.clocks.index(clocks) for clocks in self.clocks])
            rows = np.column_stack([rows, tables, self.idle_w, self.send_w])
        if self.pins:
            pinned = {pin.device for pin in self.pins}
            own = [device + 1 if device in pinned else 0 for device in range(self.n_devices)]
            rows = np.column_stack([rows, own])
        if self.input_encode_s:
            rows = np.column_stack([rows, np.arange(self.n_devices) == self.source])
        _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        return kind.reshape(-1), first

    @cached_property
    def kind_stage_s(self) -> Floats:
        """Seconds of stage [i, j) on a device of a kind, (kinds, L + 1, L + 1).

        inf where it has no room, or where pins forbid the stage.
        """
        _, first = self.kinds
        done_s = np.pad(np.cumsum(self.block_s[first], axis=1), ((0, 0), (1, 0)))
        stage_s = done_s[:, None, :] - done_s[:, :, None]
        stage_s += self.decode_s[first][:, :, None] + self.encode_s[first][:, None, :]
        i, j = np.indices(self.stage_bytes.shape)
        if self.input_encode_s:  # a later stage of the source does not spare it that
            stage_s[self.kinds[0][self.source], 1:] += self.input_encode_s
        fits = self.stage_bytes[None] <= self.capacity_bytes[first][:, None, None]
        for pin in self.pins:
            is_its = (i <= pin.start) & (pin.end <= j)
            is_apart = (j <= pin.start) | (pin.end <= i)
            fits &= np.where((first == pin.device)[:, None, None], is_its, is_apart)
        return np.where(fits & (i < j), stage_s, np.inf)

    @cached_property
    def input_encode_s(self) -> float:
        """Seconds that the source is busy with the input of a frame before it sends it."""
        return 0.0 if self.source is None else float(self.encode_s[self.source, 0])

    @cached_property
    def entry_period_s(self) -> Floats:
        """(n,) seconds of the slower one of encoding the input and sending it to each device."""
        at_source = np.arange(self.n_devices) == self.source
        return np.where(at_source, 0.0, np.maximum(self.entry_s, self.input_encode_s))

    def stage_s(self, device: int, i: int, j: int) -> float:
        """Seconds that a device is busy with a frame in stage [i, j); inf where it has no room."""
        return float(self.kind_stage_s[self.kinds[0][device], i, j])

    @cached_property
    def s_per_byte(self) -> Floats:
        """(n, n); inf where there is no link."""
        with np.errstate(divide="ignore"):
            return np.where(self.bytes_per_s > 0, 1.0 / self.bytes_per_s, np.inf)

    def transfer_s(self, cut: int, sender: int, receiver: int) -> float:
        """Seconds that a link is busy with a cut; 0 within a device."""
        if sender == receiver:
            return 0.0
        return float(transfer_s(self.cut_bytes[cut], self.s_per_byte[sender, receiver]))

    @cached_property
    def entry_s(self) -> Floats:
        """(n,) seconds of the input from the source to each device; 0 without a source."""
        if self.source is None:
            return np.zeros(self.n_devices)
        return self._end_s(0, self.s_per_byte[self.source], self.source)

    @cached_property
    def exit_s(self) -> Floats:
        """(n,) seconds of the output from each device to the sink; 0 without a sink."""
        if self.sink is None:
            return np.zeros(self.n_devices)
        return self._end_s(self.n_blocks, self.s_per_byte[:, self.sink], self.sink)

    def _end_s(self, cut: int, s_per_byte: Floats, end: int) -> Floats:
        seconds = transfer_s(self.cut_bytes[cut], s_per_byte)
        seconds[end] = 0.0
        return seconds

    @cached_property
    def classes(self) -> tuple[tuple[int, ...], ...]:
        """Devices that may stand in for one another: alike, and linked alike."""
        kind = self.kinds[0]
        rest = [
            device for device in range(self.n_devices) if device not in (self.source, self.sink)
        ]
        found = [[end] for end in {self.source, self.sink} if end is not None]
        looks: dict[tuple[int, bytes], list[list[int]]] = {}
        for device in rest:
            near = looks.setdefault(self._look(device, int(kind[device])), [])
            match = next((group for group in near if self._twins(group[0], device)), None)
            if match is None:
                near.append([device])
                found.append(near[-1])
            else:
                match.append(device)
        return tuple(sorted(tuple(group) for group in found))

    def _look(self, device: int, kind: int) -> tuple[int, bytes]:
        """Equal for twins."""
        sorted_links = (np.sort(self.bytes_per_s[device]), np.sort(self.bytes_per_s[:, device]))
        return kind, b"".join(links.tobytes() for links in sorted_links)

    def _twins(self, a: int, b: int) -> bool:
        swap = np.arange(self.n_devices)
        swap[[a, b]] = b, a
        return all(
            np.array_equal(links[[a, b]], links[[b, a]][:, swap])
            and np.array_equal(links[:, [a, b]], links[swap][:, [b, a]])
            for links in (self.bytes_per_s, self.delay_s)
        )


def transfer_s(n_bytes: Ints, s_per_byte: Floats) -> Floats:
    """Seconds of transfers; inf where there is no link, even for nothing."""
    linked = np.isfinite(s_per_byte)
    return np.where(linked, n_bytes * np.where(linked, s_per_byte, 0.0), np.inf)


def build_problem(
    folder: ModelFolder, cluster: Cluster, memory_limit_bytes: int | None = None
) -> Problem:
    """A network on a cluster.

    Args:
        folder: the network; its legal cuts are where stages may meet.
        cluster: the devices.
        memory_limit_bytes: no stage may take more, however large its device.

    Raises:
        ClusterError: a device's times were measured with another network.
    """
    cuts = folder.cuts
    raw_bytes = np.array([cut.float32_bytes for cut in cuts], dtype=np.int64)
    cut_bytes = raw_bytes.copy()
    quantiser = quantisers.of_name(cluster.codec)
    if quantiser is not None:
        cut_bytes[:-1] = [cut.request_bytes(quantiser.bits) for cut in cuts[:-1]]
    encode_s = codec_s(folder, cluster)
    if cluster.source is None:
        encode_s[:, 0] = 0.0  # the input is where the first stage is
    decode_s = encode_s.copy()
    if cluster.source is not None:
        decode_s[cluster.source, 0] = 0.0
    capacity_bytes = np.array([device.free_bytes for device in cluster.devices], dtype=np.int64)
    if memory_limit_bytes is not None:
        capacity_bytes = np.minimum(capacity_bytes, memory_limit_bytes)
    head_flops = np.array([cut.head.flops for cut in cuts])
    return Problem(
        devices=tuple(device.name for device in cluster.devices),
        blocks=tuple(cut.name for cut in cuts[1:]),
        block_s=np.array([_block_s(d, np.diff(head_flops), folder) for d in cluster.devices]),
        encode_s=encode_s,
        decode_s=decode_s,
        cut_bytes=cut_bytes,
        stage_bytes=memory_of_stages(
            [cut.head.param_bytes for cut in cuts],
            [cut.peak_bytes for cut in cuts],
            raw_bytes,
            cluster.queue_depth,
        ),
        capacity_bytes=capacity_bytes,
        bytes_per_s=cluster.rate_bps / _BITS,
        delay_s=cluster.delay_s,
        source=cluster.source,
        sink=cluster.sink,
        clocks=tuple(device.clocks for device in cluster.devices),
        idle_w=np.array([device.idle_w for device in cluster.devices]),
        send_w=np.array([device.send_w for device in cluster.devices]),
        memory_limit_bytes=memory_limit_bytes,
    )


def codec_s(folder: ModelFolder, cluster: Cluster) -> Floats:
    """(n, L + 1) seconds that each device takes to encode or to decode a cut."""
    coded_bytes = np.array([cut.coded_bytes for cut in folder.cuts], dtype=float)
    coded_bytes[-1] = 0.0  # what the network gives is not encoded
    if cluster.codec == quantisers.NO_CODEC:
        coded_bytes[:] = 0.0
    return np.array(
        [coded_bytes / (device.codec_bytes_per_s or np.inf) for device in cluster.devices]
    )


def memory_of_stages(
    weights_bytes: Sequence[int], peak_bytes: Sequence[int], cut_bytes: Ints, queue_depth: int
) -> Ints:
    """Bytes of stage [i, j): weights, largest peak of activations, tensors that wait at both ends.

    Args:
        weights_bytes: (L + 1,) before each cut.
        peak_bytes: (L + 1,) most bytes alive between the cut before and this one.
        cut_bytes: (L + 1,) of the crossing tensors as they are computed with.
        queue_depth: frames that wait at each end, besides the one that is worked on.

    Returns:
        (L + 1, L + 1); 0 where j <= i.
    """
    weights = np.asarray(weights_bytes, dtype=np.int64)
    total = (
        weights[None, :]
        - weights[:, None]
        + (queue_depth + 1) * (cut_bytes[None, :] + cut_bytes[:, None])
    )
    peak = np.asarray(peak_bytes, dtype=np.int64)
    for i in range(len(peak) - 1):
        total[i, i + 1 :] += np.maximum.accumulate(peak[i + 1 :])
    return np.asarray(np.triu(total, 1))


def _block_s(device: Device, flops: Ints, folder: ModelFolder) -> Floats:
    if device.flops_per_s is not None:
        return flops / device.flops_per_s
    block_s = np.asarray(device.block_s, dtype=float)
    if device.fingerprint not in (None, folder.fingerprint):
        raise ClusterError(
            f"device {device.name!r} was profiled with network {device.fingerprint}, not with "
            f"{folder.fingerprint}: run python -m partition.profile --model {folder.name} on it"
        )
    if len(block_s) != len(flops):
        raise ClusterError(
            f"device {device.name!r} has {len(block_s)} block times, {folder.name} has "
            f"{len(flops)} blocks: run python -m partition.profile --model {folder.name} on it"
        )
    return block_s


def with_more(problem: Problem, device: int) -> Problem:
    """The same problem with a twin of a device, linked as that device is, and as to a neighbour.

    The twins' own link is as fast as the device's fastest one.
    """
    order = [*range(problem.n_devices), device]
    twin = problem.n_devices
    bytes_per_s = problem.bytes_per_s[np.ix_(order, order)]
    bytes_per_s[device, twin] = bytes_per_s[device].max()
    bytes_per_s[twin, device] = bytes_per_s[:, device].max()
    decode_s = problem.decode_s[order]
    if device == problem.source:  # which does not decode its own input
        decode_s[twin, 0] = problem.encode_s[device, 0]
    return replace(
        problem,
        devices=(*problem.devices, f"another {problem.devices[device]}"),
        block_s=problem.block_s[order],
        encode_s=problem.encode_s[order],
        decode_s=decode_s,
        capacity_bytes=problem.capacity_bytes[order],
        bytes_per_s=bytes_per_s,
        delay_s=problem.delay_s[np.ix_(order, order)],
        clocks=tuple(problem.clocks[i] for i in order) if problem.clocks else (),
        idle_w=None if problem.idle_w is None else problem.idle_w[order],
        send_w=None if problem.send_w is None else problem.send_w[order],
    )
