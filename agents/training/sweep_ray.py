"""The runs of a sweep on a Ray cluster: `python train.py --sweep FILE --ray ADDRESS`.

Plain Ray tasks rather than Ray Tune: a grid of which finished runs are left out needs no search,
and Tune wants pandas, pyarrow and a disk that every node shares. Here a run trains in a scratch
folder of whichever node has a free processor, and its folder comes back as a whole, to the same
place and with the same contents as after a sweep on one machine. A folder that a cut sweep left is
sent along, so that its run goes on; a run whose node dies is begun again on another one.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from agents.training.sweep import SweepRun, log_file
from partition.placement.run import ray_cluster

_RETRIES = 3
"""Of a run whose node dies."""


@dataclass(frozen=True, slots=True)
class _Trained:
    """What comes back from a node."""

    succeeded: bool
    node: str
    log: bytes
    folder: bytes
    """A tar file."""


def train_on_ray(runs: Sequence[SweepRun], address: str) -> list[bool]:
    """Train runs on the nodes of a Ray cluster, one per free processor.

    Args:
        runs: not finished yet.
        address: of the cluster; "auto" is the one of this machine.

    Returns:
        For each run whether it succeeded.

    Raises:
        PlacementError: there is no cluster.
    """
    with ray_cluster.joined(address):
        return _collect(runs)


def _collect(runs: Sequence[SweepRun]) -> list[bool]:
    task = ray.remote(_train).options(
        num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD"
    )
    waiting = {task.remote(run, _packed(run.folder)): run for run in runs}
    succeeded: dict[Path, bool] = {}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        run = waiting.pop(done)
        try:
            succeeded[run.folder] = _keep(run, ray.get(done))
        except ray.exceptions.RayError as error:
            succeeded[run.folder] = False
            print(f"{run.folder.name}: failed, {' '.join(str(error).split())}", flush=True)
    return [succeeded[run.folder] for run in runs]


def _train(run: SweepRun, begun: bytes) -> _Trained:
    """Train one run; on a node."""
    with tempfile.TemporaryDirectory(prefix="dvfo-run-") as scratch:
        here = replace(run, folder=Path(scratch) / run.folder.name)
        _unpack(begun, here.folder)
        result = subprocess.run(
            here.command(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )
        node = ray.util.get_node_ip_address()
        return _Trained(result.returncode == 0, node, result.stdout, _packed(here.folder))


def _keep(run: SweepRun, trained: _Trained) -> bool:
    """Put what came back where a sweep on this machine would have put it."""
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    log = log_file(run)
    with log.open("ab") as stream:
        stream.write(trained.log)
    with tempfile.TemporaryDirectory(prefix=".sweep-", dir=run.folder.parent) as scratch:
        _unpack(trained.folder, Path(scratch) / "new")
        if run.folder.exists():
            shutil.rmtree(run.folder)
        if (Path(scratch) / "new").exists():
            (Path(scratch) / "new").rename(run.folder)
    verdict = f"done on {trained.node}" if trained.succeeded else f"failed, see {log}"
    print(f"{run.folder.name}: {verdict}", flush=True)
    return trained.succeeded


def _packed(folder: Path) -> bytes:
    """A folder as a tar file; nothing where there is none."""
    if not folder.is_dir():
        return b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def _unpack(packed: bytes, folder: Path) -> None:
    if packed:
        folder.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
