"""One trial on the bed: a network as the plan predicts it, as measured, and under failures."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.cluster.bed import RAY_ADDRESS, Bed, NodeSpec, cpu_s

MEMORY_BYTES, RESERVE_BYTES = 600_000_000, 250_000_000
CAMERA = "camera"
"""Gives the frames and takes the results; has no room for a stage."""


def write_cluster(path: Path, bed: Bed, measured: dict[str, dict]) -> None:
    """The bed as a cluster file: a link is as fast as the slower of two cables."""
    lines = [
        "schema_version = 1",
        'codec = "int8"',
        "queue_depth = 3",
        f'source = "{CAMERA}"',
        f'sink = "{CAMERA}"',
    ]
    for spec in bed.specs:
        lines += [
            "[[devices]]",
            f'name = "{spec.name}"',
            f"memory_bytes = {MEMORY_BYTES}",
            f"reserve_bytes = {MEMORY_BYTES - 1 if spec.name == CAMERA else RESERVE_BYTES}",
            *_speed(measured.get(spec.name)),
        ]
    for i, a in enumerate(bed.specs):
        for b in bed.specs[i + 1 :]:
            rate_bps = min(a.rate_bps, b.rate_bps)
            lines += [
                "[[links]]",
                f'from = "{a.name}"',
                f'to = "{b.name}"',
                f"rate_bps = {rate_bps}",
            ]
    path.write_text("\n".join(lines) + "\n")


def _speed(measured: dict | None) -> list[str]:
    """The camera's does not matter."""
    if measured is None:
        return ["flops_per_s = 1.0", "codec_bytes_per_s = 1.0"]
    return [f"{key} = {measured[key]}" for key in ("block_s", "codec_bytes_per_s")]


def measure(bed: Bed, model: Path, seconds: float = 20) -> dict[str, dict]:
    """Times of every device, all at once: they share this machine."""
    names = [spec.name for spec in bed.specs if spec.name != CAMERA]
    echo = bed.popen("head", "tests.cluster.echo", bed.address("head"), len(names))
    try:
        assert echo.stdout is not None
        addresses = echo.stdout.readline().decode().split()
        processes = {
            name: bed.popen(
                name, "benchmarks.placement_run.measure", model, seconds, address, bed.address(name)
            )
            for name, address in zip(names, addresses, strict=True)
        }
        return {name: json.loads(bed.output(process)) for name, process in processes.items()}
    finally:
        echo.kill()
        echo.communicate()


class TrialRun:
    """`python -m partition.placement.run` on the head, while something happens."""

    def __init__(
        self, bed: Bed, model: Path, cluster: Path, frames: int, *, spare: bool = False
    ) -> None:
        self._bed = bed
        arguments = ["--model", model, "--cluster", cluster, "--ray", RAY_ADDRESS]
        arguments += ["--spare"] if spare else []
        self._process = bed.popen(
            "head", "partition.placement.run", *arguments, "--frames", frames, "--json"
        )

    def result(self, timeout_s: float = 240) -> dict:
        out, error = self._process.communicate(timeout=timeout_s)
        assert self._process.returncode == 0, error.decode()[-3000:]
        return json.loads(out.decode().splitlines()[-1])

    def stages(self, settle_s: float = 15, timeout_s: float = 180) -> dict[str, int]:
        """Process of the stage on each device, once no more have come for some time."""
        found: dict[str, int] = {}
        since_s = time.monotonic()
        due_s = since_s + timeout_s
        while not found or time.monotonic() < since_s + settle_s:
            assert time.monotonic() < due_s, "no stages"
            now = {s.name: _stage(self._bed, s) for s in self._bed.specs}
            present = {name: pid for name, pid in now.items() if pid is not None}
            if present != found:
                found, since_s = present, time.monotonic()
            time.sleep(0.5)
        return found


def _stage(bed: Bed, spec: NodeSpec) -> int | None:
    """The stage that works; a spare one has used less of the processor."""
    found = [pid for pid in bed.processes(spec.name) if b"StageActor" in _command(pid)]
    return max(found, key=cpu_s, default=None)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(pid: int) -> None:
    """End a stage that this trial started."""
    os.kill(pid, signal.SIGKILL)
