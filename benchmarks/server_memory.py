"""Memory of a server with many networks: `python -m benchmarks.server_memory --model M ...`.

Resident memory that a process takes on when all tails are loaded and each has answered once, beyond
what the same process holds before; and what sharing weights costs a request, interleaved.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.page import markdown
from partition import cli
from partition.model.folder import ModelFolder
from partition.model.network_files import GRAPH_FILE
from partition.model.runtime import Array, SplitRuntime, extract, random_inputs
from partition.model.split_point import SplitPoint
from partition.server.memory import give_back_memory, keep_memory
from partition.server.model_store import ModelStore

Run = Callable[[tuple[Array, ...]], object]

_MB = 1e6
_BATCH, _WORKERS = 16, 2


@dataclass(frozen=True, slots=True)
class TailsAlone:
    """Each tail as a session by itself with its own weights, as ONNX Runtime does by default."""

    folder: ModelFolder
    arena: bool

    def load(self, point: SplitPoint) -> Run:
        """One tail."""
        graph = onnx.load(self.folder.path / GRAPH_FILE, load_external_data=False)
        part = extract(graph, point.tensors, self.folder.cuts[-1].tensors)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = self.arena
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self.folder.path)
        )
        session = ort.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [value.name for value in session.get_inputs()]

        def run(tensors: tuple[Array, ...]) -> object:
            given = dict(zip(point.tensors, tensors, strict=True))
            return session.run(None, {name: given[name] for name in names})

        return run


def zeros(point: SplitPoint, batch: int = 1) -> tuple[Array, ...]:
    """Tensors to try a tail with."""
    return tuple(
        np.zeros((batch * shape[0], *shape[1:]) if shape else shape, dtype)
        for shape, dtype in zip(point.shapes, point.dtypes, strict=True)
    )


def tails(how: str, folders: list[ModelFolder]) -> Iterator[tuple[ModelFolder, SplitPoint, Run]]:
    """All tails, loaded and run once."""
    store = ModelStore(folders if how == "shared" else [])
    store.load_all()
    for folder in folders:
        for point in folder.split_points[:-1]:
            if how == "shared":
                run: Run = store.tail(folder.fingerprint, point.index).compute
            else:
                run = TailsAlone(folder, arena=how == "arena").load(point)
                run(zeros(point))
            yield folder, point, run


def grown_bytes(how: str, paths: list[str]) -> list[int]:
    """Growth after loading, and after every tail has run a batch of 16 on two threads."""
    keep_memory()
    folders = [ModelFolder.open_network(path) for path in paths]
    give_back_memory()
    before = resident_bytes()
    held = list(tails(how, folders))
    give_back_memory()
    loaded = resident_bytes()
    with ThreadPoolExecutor(_WORKERS) as pool:
        batches = [
            pool.submit(run, zeros(point, _BATCH if folder.dynamic_batch else 1))
            for folder, point, run in held
        ]
        for batch in batches:
            batch.result()
    return [loaded - before, resident_bytes() - before]


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def seam_cost(folder: ModelFolder, rounds: int) -> tuple[float, float]:
    """Quiet processor time of the network in one session, s, and with its seams over that."""
    runtime = SplitRuntime(folder, 1)
    point = folder.split_points[0]
    shared: Run = partial(runtime.tail, point)
    alone = TailsAlone(folder, arena=True).load(point)
    inputs = random_inputs(folder)
    seconds: dict[Run, list[float]] = {alone: [], shared: []}
    for _ in range(rounds):
        for run, taken in seconds.items():
            run(inputs)
            start_s = time.process_time()
            run(inputs)
            taken.append(time.process_time() - start_s)
    # The lowest decile: what else runs here slows both, and not evenly.
    quiet_s = {run: statistics.quantiles(taken, n=10)[0] for run, taken in seconds.items()}
    return quiet_s[alone], quiet_s[shared] / quiet_s[alone]


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser("python -m benchmarks.server_memory", description=__doc__)
    parser.add_argument("--model", action="append", required=True, help="prepared; repeatable")
    parser.add_argument("--rounds", type=int, default=100, help="timed runs of each (%(default)s)")
    parser.add_argument("--child", choices=("arena", "no-arena", "shared"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(*grown_bytes(arguments.child, arguments.model))
        return
    folders = [ModelFolder.open_network(path) for path in arguments.model]
    weights = sum(folder.cuts[-1].head.param_bytes for folder in folders)
    n_tails = sum(len(folder.split_points) - 1 for folder in folders)
    print(f"{len(folders)} networks, {n_tails} tails, {weights / _MB:.0f} MB of weights\n")
    rows = [["server", "grown by MB", "over the weights", "after batches of 16 MB"]]
    for how in ("arena", "no-arena", "shared"):
        models = [word for path in arguments.model for word in ("--model", path)]
        command = [sys.executable, "-m", "benchmarks.server_memory", "--child", how, *models]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        loaded, later = map(int, out.split())
        rows.append([how, f"{loaded / _MB:.0f}", f"{loaded / weights:.2f}", f"{later / _MB:.0f}"])
    print(markdown(rows))
    rows = [["network", "weights MB", "one session ms", "with seams, over that"]]
    for folder in folders:
        if len(SplitRuntime(folder).tail_parts(folder.split_points[0])) > 1:
            seconds, ratio = seam_cost(folder, arguments.rounds)
            size = folder.cuts[-1].head.param_bytes / _MB
            rows.append([folder.name, f"{size:.1f}", f"{seconds * 1e3:.2f}", f"{ratio:.3f}"])
    print(markdown(rows))


if __name__ == "__main__":
    sys.exit(cli.run(main))
