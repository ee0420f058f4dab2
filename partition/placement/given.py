"""What a user gives beforehand: blocks pinned to devices, devices left alone, or a whole plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from partition import json_file
from partition.placement.cluster import Cluster, Device
from partition.placement.errors import ClusterError, PlacementError
from partition.placement.solver.problem import Pin, Problem
from partition.placement.solver.solve import Placement

_TO = ".."
"""Between the first and the last of some blocks."""


def pins(texts: Sequence[str], problem: Problem) -> tuple[Pin, ...]:
    """Read what `--pin FIRST..LAST=DEVICE` was given.

    Args:
        texts: names of a block, or of a first and a last one, and of a device.
        problem: network and cluster.

    Raises:
        PlacementError: there is no such block or device, or two devices are given one block.
    """
    found = [_pin(text, problem) for text in texts]
    for one, other in pairwise(sorted(found, key=lambda pin: pin.start)):
        if other.start < one.end and other.device != one.device:
            raise PlacementError(
                f"block {problem.blocks[other.start]!r} is pinned to "
                f"{problem.devices[one.device]!r} and to {problem.devices[other.device]!r}: "
                "pin it to one of them"
            )
    return tuple(found)


def _pin(text: str, problem: Problem) -> Pin:
    blocks, sign, device = (part.strip() for part in text.rpartition("="))
    if not sign or not blocks or not device:
        raise PlacementError(f"--pin {text!r} names no blocks and device: give FIRST..LAST=DEVICE")
    if device not in problem.devices:
        raise PlacementError(
            f"--pin {text!r}: the cluster has no device {device!r}: name one of "
            f"{', '.join(problem.devices)}"
        )
    first, last = _ends(blocks, problem.blocks)
    return Pin(problem.devices.index(device), first, last + 1)


def _ends(text: str, blocks: Sequence[str]) -> tuple[int, int]:
    """Numbers of a first and a last block; dots may be part of a name."""
    if text in blocks:
        return blocks.index(text), blocks.index(text)
    starts = (at for at in range(len(text)) if text.startswith(_TO, at))
    for at in starts:
        first, last = text[:at].strip(), text[at + len(_TO) :].strip()
        if first in blocks and last in blocks:
            if blocks.index(first) > blocks.index(last):
                raise PlacementError(f"--pin: {last!r} comes before {first!r}: turn them round")
            return blocks.index(first), blocks.index(last)
    raise PlacementError(
        f"--pin: {text!r} names no block, and no first and last one: blocks are "
        f"{blocks[0]!r} to {blocks[-1]!r}, as a plan shows them"
    )


def left_alone(cluster: Cluster, names: Collection[str]) -> Cluster:
    """The cluster without the devices that `--without` names; with a count, all of a name.

    Raises:
        ClusterError: there is no such device, or inputs come from it, or outputs go to it.
    """
    gone = {name: _named(cluster.devices, name) for name in names}
    for name, devices in gone.items():
        if not devices:
            raise ClusterError(
                f"--without {name}: the cluster has no such device: name one of "
                f"{', '.join(device.name for device in cluster.devices)}"
            )
    every = {device for devices in gone.values() for device in devices}
    for end, what in ((cluster.source, "source"), (cluster.sink, "sink")):
        if end is not None and cluster.devices[end].name in every:
            raise ClusterError(
                f"--without {cluster.devices[end].name}: it is the {what}: name another one in "
                "the cluster file, or keep it"
            )
    if len(every) == len(cluster.devices):
        raise ClusterError("--without leaves no device: keep one")
    return cluster.without(every)


def _named(devices: Sequence[Device], name: str) -> set[str]:
    every = {device.name for device in devices}
    counted = re.compile(rf"{re.escape(name)}-\d+")
    return {name} if name in every else set(filter(counted.fullmatch, every))


class _Stage(msgspec.Struct):
    devices: tuple[str, ...]
    last_block: str


class _Plan(msgspec.Struct):
    stages: tuple[_Stage, ...]
    fingerprint: str | None = None


def saved(path: Path, problem: Problem, fingerprint: str, max_replicas: int = 1) -> Placement:
    """Read and check a plan, as `--json` prints it or with a user's own stages.

    Args:
        path: JSON with `stages`, each with its `devices` and its `last_block`.
        problem: network and cluster.
        fingerprint: of the network.
        max_replicas: most devices that share a stage.

    Raises:
        PlacementError: it cannot be read, is of another network, or cannot be run as it is.
    """
    try:
        plan = msgspec.convert(json_file.read(path), _Plan)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PlacementError(
            f"{path} is no plan ({reason}): give what --json printed, or stages with devices and "
            "last_block"
        ) from None
    if plan.fingerprint not in (None, fingerprint):
        raise PlacementError(
            f"{path} is a plan of network {plan.fingerprint}, not of {fingerprint}: plan this one"
        )
    placed: Placement = []
    start = 0
    for number, stage in enumerate(plan.stages, 1):
        end = _end(path, number, stage, problem) + 1
        if len(stage.devices) > max_replicas:
            raise PlacementError(
                f"{path}: {len(stage.devices)} devices share stage {number}: allow as many with "
                "--replicas, which serve the objective throughput"
            )
        placed.append((_devices(path, number, stage, problem), start, end))
        start = end
    if start != problem.n_blocks:
        last = problem.blocks[-1]
        raise PlacementError(f"{path} ends before the network does: its last block is {last!r}")
    _check(path, placed, problem)
    return placed


def _end(path: Path, number: int, stage: _Stage, problem: Problem) -> int:
    if stage.last_block not in problem.blocks:
        raise PlacementError(
            f"{path}: stage {number} ends with {stage.last_block!r}, which is no block of this "
            f"network: they are {problem.blocks[0]!r} to {problem.blocks[-1]!r}"
        )
    return problem.blocks.index(stage.last_block)


def _devices(path: Path, number: int, stage: _Stage, problem: Problem) -> tuple[int, ...]:
    for name in stage.devices:
        if name not in problem.devices:
            raise PlacementError(
                f"{path}: stage {number} runs on {name!r}, which the cluster has not: name one of "
                f"{', '.join(problem.devices)}"
            )
    if not stage.devices:
        raise PlacementError(f"{path}: stage {number} has no device: name one")
    found = tuple(problem.devices.index(name) for name in stage.devices)
    if len({int(problem.kinds[0][device]) for device in found}) > 1:
        raise PlacementError(
            f"{path}: the devices of stage {number} are unlike: only alike ones take turns"
        )
    return found


def _check(path: Path, placed: Placement, problem: Problem) -> None:
    """Refuse a plan whose order, memory or links do not do."""
    used: set[int] = set()
    for number, (devices, start, end) in enumerate(placed, 1):
        if end <= start:
            raise PlacementError(f"{path}: stage {number} ends before it begins: order the stages")
        for device in devices:
            name = problem.devices[device]
            if device in used:
                raise PlacementError(f"{path}: device {name!r} has two stages: give it one")
            used.add(device)
            need, room = int(problem.stage_bytes[start, end]), int(problem.capacity_bytes[device])
            if need > room:
                raise PlacementError(
                    f"{path}: stage {number} needs {need} bytes, device {name!r} has {room} free: "
                    "give it fewer blocks"
                )
    ends = [(problem.source,), *(devices for devices, _, _ in placed), (problem.sink,)]
    for senders, receivers in pairwise(ends):
        for a in senders:
            for b in receivers:
                if a is not None and b is not None and a != b and not problem.bytes_per_s[a, b]:
                    raise PlacementError(
                        f"{path}: no link leads from {problem.devices[a]!r} to "
                        f"{problem.devices[b]!r}: add one, or use other devices"
                    )
