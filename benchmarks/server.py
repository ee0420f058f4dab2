"""Overhead of a server over its tails: `python -m benchmarks.server --model M`.

Processor time is counted, not the clock's, where one core is meant: the machine has other things
to do. Client and server are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import grpc
import numpy as np

from partition import cli
from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.model.folder import ModelFolder
from partition.model.machine import describe_machine
from partition.model.runtime import Array, SplitRuntime
from partition.model.split_point import SplitPoint
from partition.server.cloud_server import CloudServer, ServerLimits
from partition.server.memory import keep_memory
from partition.server.model_store import Tensors
from partition.transport import grpc_options, rpc

_ROUNDS = 400
_BLOCKS, _BLOCK_ROUNDS = 30, 20
_WARM_UP_ROUNDS = 40
_DEADLINE_S = 30.0
_LARGE_SHAPE = (1, 32, 112, 112)
"""401 kB as int8."""
_REPLY_BYTES = 4_000
_CLIENTS = 8
_CLIENT_PROCESSES = 2
_BATCH_WARM_UP_S, _BATCH_S, _BATCH_ROUNDS = 1.0, 3.0, 3
# gRPC does not survive a fork.
_SPAWN = multiprocessing.get_context("spawn")


class _TimedTails(SplitRuntime):
    """Counts the processor time that tails take, in this thread."""

    def __init__(self, folder: ModelFolder, answer: Array | None = None) -> None:
        super().__init__(folder, 1)
        self._answer = answer
        self.cpu_s = 0.0

    def tail(self, point: SplitPoint, tensors: tuple[Array, ...]) -> tuple[Array, ...]:
        if self._answer is not None:
            return (self._answer,)
        start_s = time.thread_time()
        outputs = super().tail(point, tensors)
        self.cpu_s += time.thread_time() - start_s
        return outputs


def measure_server(folder: ModelFolder, others: Sequence[ModelFolder] = ()) -> dict[str, Any]:
    """Overhead per request on one core, threads against asyncio, batching.

    Args:
        folder: the model whose middle cut is served.
        others: models with a free batch, of whose last cuts the batching is measured, too.
    """
    middle = folder.split_points[len(folder.split_points) // 2]
    return {
        "machine": describe_machine(),
        "bare": _bare(),
        "overhead": {
            f"{middle.name}, {middle.wire_bytes} bytes": _overhead(
                folder, middle.index, is_instant=False
            ),
            "401 kB, instant tail": _overhead(_large(folder), 0, is_instant=True),
        },
        "batching": {
            f"{model.name}, {point.name}": _batching(model, point)
            for model in (folder, *others)
            for point in model.split_points[-3:-1]
        },
    }


def _large(folder: ModelFolder) -> ModelFolder:
    """The same with one cut of 401 kB."""
    point = replace(folder.split_points[0], shapes=(_LARGE_SHAPE,), dtypes=("float32",))
    return replace(folder, split_points=(point, folder.split_points[-1]))


def _encoded(point: SplitPoint, seed: int = 0) -> Tensors:
    draw = np.random.default_rng(seed)
    return tuple(
        Codec().encode(draw.normal(size=shape).astype(np.float32)) for shape in point.shapes
    )


@dataclass(frozen=True, slots=True)
class _Setting:
    """A server to measure."""

    folder: ModelFolder
    is_instant: bool = False
    max_batch: int = 1
    core: int | None = None


def _serve(pipe: Any, setting: _Setting) -> None:
    """In a process of its own: serve, and report processor times when asked."""
    if setting.core is not None:
        os.sched_setaffinity(0, {setting.core})
    keep_memory()
    reply = setting.folder.outputs[0]
    answer = np.zeros(reply.shape, reply.dtype) if setting.is_instant else None
    tails = _TimedTails(setting.folder, answer)
    limits = ServerLimits(max_batch=setting.max_batch)
    with CloudServer(setting.folder, tails, max_workers=1, limits=limits) as server:
        pipe.send(server.port)
        while pipe.recv():
            pipe.send((time.process_time(), tails.cpu_s))


class _Process:
    """A server in a process of its own."""

    def __init__(self, setting: _Setting) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, setting), daemon=True)
        self._process.start()
        self.port: int = self._pipe.recv()

    def times(self) -> Any:
        """Processor time of all, and of the tails."""
        self._pipe.send(True)
        return self._pipe.recv()

    def close(self) -> None:
        """Stop it."""
        self._pipe.send(False)
        self._process.join(_DEADLINE_S)


def _overhead(folder: ModelFolder, split: int, *, is_instant: bool) -> dict[str, float]:
    """Processor time of a server pinned to one core, per request, next to that of the tails, s."""
    point = folder.split_points[split]
    process = _Process(_Setting(folder, is_instant, core=max(os.sched_getaffinity(0))))
    address = f"127.0.0.1:{process.port}"
    message = bytes(point.wire_bytes)
    with (
        grpc.insecure_channel(
            address, options=(*grpc_options.SIZES, grpc_options.NO_PROXY)
        ) as channel,
        CloudClient(address, folder) as client,
    ):
        echo = channel.unary_unary(rpc.method_path(rpc.ECHO))
        encoded = _encoded(point)

        def infer() -> object:
            return client.infer(point, encoded, _DEADLINE_S)

        def bare() -> object:
            return echo(message, timeout=_DEADLINE_S)

        samples = []
        for i in range(_BLOCKS + 1):  # alternating: what disturbs one disturbs the other
            bare_s, _ = _block(process, bare)
            overhead_s, tail_s = _block(process, infer)
            if i:
                samples.append((overhead_s, bare_s, tail_s))
    process.close()
    names = ("overhead_s", "bare_s", "tail_s")
    columns = dict(zip(names, zip(*samples, strict=True), strict=True))
    quiet = {f"quiet_{name}": sorted(column)[_BLOCKS // 10] for name, column in columns.items()}
    return {name: statistics.median(column) for name, column in columns.items()} | quiet


def _block(process: _Process, call: Callable[[], object]) -> tuple[float, float]:
    """Processor time per call without the tails, and of the tails, s."""
    before = process.times()
    for _ in range(_BLOCK_ROUNDS):
        call()
    all_s, tails_s = (b - a for a, b in zip(before, process.times(), strict=True))
    return (all_s - tails_s) / _BLOCK_ROUNDS, tails_s / _BLOCK_ROUNDS


def _bare() -> dict[str, dict[str, float]]:
    """A bare gRPC server, 401 kB there and 4 kB back: threads, asyncio, asyncio with a worker."""
    processes = {kind: _bare_process(kind) for kind in ("threads", "asyncio", "asyncio + worker")}
    message = bytes(int(np.prod(_LARGE_SHAPE)))
    calls = {}
    for kind, (_, port) in processes.items():
        channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=(*grpc_options.SIZES, grpc_options.NO_PROXY)
        )
        calls[kind] = channel.unary_unary(rpc.method_path(rpc.ECHO))
    samples: dict[str, list[float]] = {kind: [] for kind in calls}
    before = {}
    for i in range(_ROUNDS + _WARM_UP_ROUNDS):
        if i == _WARM_UP_ROUNDS:
            before = {kind: _cpu_s(process.pid) for kind, (process, _) in processes.items()}
        for kind, call in calls.items():
            start_s = time.perf_counter()
            call(message, timeout=_DEADLINE_S)
            samples[kind].append(time.perf_counter() - start_s)
    found = {
        kind: {
            "round_trip_s": statistics.median(samples[kind][_WARM_UP_ROUNDS:]),
            "server_cpu_s": (_cpu_s(process.pid) - before[kind]) / _ROUNDS,
        }
        for kind, (process, _) in processes.items()
    }
    for process, _ in processes.values():
        process.kill()
    return found


def _cpu_s(pid: int | None) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _bare_process(kind: str) -> tuple[Any, int]:
    pipe, theirs = multiprocessing.Pipe()
    process = _SPAWN.Process(target=_serve_bare, args=(theirs, kind), daemon=True)
    process.start()
    return process, pipe.recv()


def _serve_bare(pipe: Any, kind: str) -> None:
    reply = bytes(_REPLY_BYTES)
    keep_memory()

    def at_once(*_: Any) -> bytes:
        return reply

    def handler(answer: Any) -> Any:
        method = grpc.unary_unary_rpc_method_handler(answer)
        return grpc.method_handlers_generic_handler(rpc.SERVICE, {rpc.ECHO: method})

    if kind == "threads":
        server = grpc.server(ThreadPoolExecutor(16), options=grpc_options.SIZES)
        server.add_generic_rpc_handlers((handler(at_once),))
        pipe.send(server.add_insecure_port("127.0.0.1:0"))
        server.start()
        server.wait_for_termination()
    pool = ThreadPoolExecutor(1)

    async def on_loop(*_: Any) -> bytes:
        return reply

    async def by_worker(*_: Any) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(pool, at_once)

    async def run() -> None:
        server = grpc.aio.server(options=grpc_options.SIZES)
        server.add_generic_rpc_handlers((handler(on_loop if kind == "asyncio" else by_worker),))
        pipe.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


def _batching(folder: ModelFolder, point: SplitPoint) -> dict[str, float]:
    """Requests per second, and median latency, of clients that never pause."""
    core = max(os.sched_getaffinity(0))
    settings = {
        name: _Setting(folder, max_batch=max_batch, core=core)
        for name, max_batch in (("single", 1), ("batched", 16))
    }
    processes = {name: _Process(setting) for name, setting in settings.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
    for _ in range(_BATCH_ROUNDS):
        for name, process in processes.items():
            samples[name].append(_throughput(folder, point, process.port))
    found = {}
    for name, pairs in samples.items():
        processes[name].close()
        rates_hz, latencies_s = zip(*pairs, strict=True)
        found[f"{name}_hz"] = statistics.median(rates_hz)
        found[f"{name}_latency_s"] = statistics.median(latencies_s)
    ratios = [b[0] / a[0] for a, b in zip(samples["single"], samples["batched"], strict=True)]
    return found | {"gain": statistics.median(ratios)}


def _throughput(folder: ModelFolder, point: SplitPoint, port: int) -> tuple[float, float]:
    """Requests per second and median latency in s, over some clients in processes of their own."""
    with _SPAWN.Pool(_CLIENT_PROCESSES) as pool:
        parts = pool.starmap(_load, [(folder, point, port)] * _CLIENT_PROCESSES)
    return sum(rate for rate, _ in parts), statistics.median(s for _, s in parts)


def _load(folder: ModelFolder, point: SplitPoint, port: int) -> tuple[float, float]:
    stop = threading.Event()
    latencies_s: list[float] = []

    def ask(seed: int) -> None:
        encoded = _encoded(point, seed)
        with CloudClient(f"127.0.0.1:{port}", folder) as client:
            while not stop.is_set():
                began_s = time.perf_counter()
                client.infer(point, encoded, _DEADLINE_S)
                latencies_s.append(time.perf_counter() - began_s)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(_BATCH_WARM_UP_S)
    n, start_s = len(latencies_s), time.monotonic()
    time.sleep(_BATCH_S)
    rate_hz = (len(latencies_s) - n) / (time.monotonic() - start_s)
    stop.set()
    for thread in threads:
        thread.join()
    return rate_hz, statistics.median(latencies_s[n:])


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument(
        "--other", action="append", default=[], help="a model for the batching; repeatable"
    )
    arguments = parser.parse_args()
    others = [ModelFolder.open(name) for name in arguments.other]
    found = measure_server(ModelFolder.open(arguments.model), others)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(cli.run(_main))
