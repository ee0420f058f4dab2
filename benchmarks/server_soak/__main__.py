"""Requests while the server is killed every 5 s and the link is cut at random.

python -m benchmarks.server_soak --requests 200000

Every request must get exactly one answer, and the right one: each input has its own, known before.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare.build import prepare
from tests.partition.delay_proxy import DelayProxy

N_INPUTS, N_THREADS = 32, 2
DEADLINE_S = 0.1
KILL_EVERY_S = 5.0
START_TIMEOUT_S = 60.0


class MortalServer:
    """A server on one port, killed every 5 s; its successor has been loaded by then."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self.port = 0
        self.kills = 0
        self.ready_s = 0.0
        self._next = self._spawn()
        self._now = self._start()

    def kill(self) -> None:
        self._now.kill()
        self._now.communicate()
        self.kills += 1
        self._now = self._start()

    def close(self) -> None:
        for process in (self._now, self._next):
            process.kill()
            process.communicate()

    def _spawn(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.server_soak.server", str(self._model)]
        return subprocess.Popen(command, stdin=-1, stdout=-1, text=True)

    def _start(self) -> subprocess.Popen[str]:
        process, self._next = self._next, self._spawn()
        process.stdin.write(f"{self.port}\n")
        process.stdin.flush()
        self.port = int(process.stdout.readline())
        self.ready_s = time.monotonic()
        return process


class Tally:
    """What became of the requests; shared by the threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        self.examples: list[str] = []
        self.reconnect_s: list[float] = []
        self.waiting_since_s: float | None = None

    def add(self, result, is_right: bool, latency_s: float) -> None:
        with self.lock:
            self.counts["answered"] += 1
            self.counts[result.served_by] += 1
            self.counts["wrong"] += not is_right
            self.counts["late"] += latency_s > DEADLINE_S
            self.latencies_s.append(latency_s)
            if result.served_by == "cloud" and self.waiting_since_s is not None:
                self.reconnect_s.append(time.monotonic() - self.waiting_since_s)
                self.waiting_since_s = None

    def lost(self, error: Exception) -> None:
        with self.lock:
            self.counts["lost"] += 1
            self.examples.append(repr(error)[:200])


def answers(folder, runtime):
    """For every input and cut: what the edge answers, and what the cloud does."""
    codec, edge = Codec(), folder.split_points[-1]
    known = []
    for seed in range(N_INPUTS):
        inputs = random_inputs(folder, seed=seed)
        cloud = []
        for point in folder.split_points[:-1]:
            encoded = tuple(map(codec.encode, runtime.head(point, inputs)))
            cloud.append(runtime.tail(point, tuple(map(codec.decode, encoded)))[0].copy())
        known.append((inputs, runtime.head(edge, inputs)[0].copy(), cloud))
    return known


def ask(folder, port, known, todo, tally, stop) -> None:
    draw = random.Random(threading.get_ident())
    runtime = SplitRuntime(folder)
    with CloudClient(f"127.0.0.1:{port}", folder) as client:
        pipeline = SplitPipeline(folder, runtime, client)
        pipeline.warm_up()
        for _ in todo:
            if stop.is_set():
                return
            inputs, at_edge, in_cloud = draw.choice(known)
            split = draw.randrange(len(folder.split_points) - 1)
            start_s = time.monotonic()
            try:
                result = pipeline.infer(inputs, Route(split), DEADLINE_S)
            except Exception as error:  # a lost request, whatever the reason
                tally.lost(error)
                continue
            latency_s = time.monotonic() - start_s
            expected = in_cloud[split] if result.served_by == "cloud" else at_edge
            right = np.allclose(result.logits, expected, rtol=1e-3, atol=1e-4)
            tally.add(result, bool(right), latency_s)


def cut_at_random(proxy, tally, stop, counts) -> None:
    """Breaks the connections, or swallows everything for a while, every 1 to 4 s."""
    draw = random.Random(1)
    while not stop.wait(draw.uniform(1.0, 4.0)):
        if draw.random() < 0.5:
            counts["resets"] += 1
            proxy.reset()
        else:
            counts["blackouts"] += 1
            proxy.is_cut = True
            stop.wait(draw.uniform(0.1, 1.0))
            proxy.is_cut = False
        with tally.lock:  # there is a link again from now on only
            if tally.waiting_since_s is not None:
                tally.waiting_since_s = time.monotonic()


def kill_regularly(server, tally, stop) -> None:
    while not stop.wait(KILL_EVERY_S):
        server.kill()
        with tally.lock:
            tally.waiting_since_s = server.ready_s


def soak(n_requests: int, limit_s: float, model: Path) -> dict[str, object]:
    """Run it; see the module.

    Returns:
        counts and times, as JSON.
    """
    folder = ModelFolder.open(model)
    known = answers(folder, SplitRuntime(folder))
    tally, stop, cuts = Tally(), threading.Event(), Counter()
    todo = iter(range(n_requests))  # next() of a range is atomic
    server = MortalServer(model)
    start_s = time.monotonic()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ExitStack() as stack:
        stack.callback(server.close)
        proxy = stack.enter_context(DelayProxy(("127.0.0.1", server.port)))
        helpers = [
            threading.Thread(target=cut_at_random, args=(proxy, tally, stop, cuts)),
            threading.Thread(target=kill_regularly, args=(server, tally, stop)),
        ]
        askers = [
            threading.Thread(target=ask, args=(folder, proxy.port, known, todo, tally, stop))
            for _ in range(N_THREADS)
        ]
        for thread in (*helpers, *askers):
            thread.start()
        for thread in askers:
            thread.join(max(start_s + limit_s - time.monotonic(), 0.0))
        stop.set()
        for thread in (*askers, *helpers):
            thread.join(START_TIMEOUT_S)
    taken = sorted(tally.latencies_s)
    again = sorted(tally.reconnect_s)
    return {
        "requests": tally.counts["answered"] + tally.counts["lost"],
        **{name: tally.counts[name] for name in ("answered", "lost", "wrong", "late")},
        "served_by_cloud": tally.counts["cloud"],
        "served_by_edge": tally.counts["edge"],
        "seconds": round(time.monotonic() - start_s, 1),
        "kills": server.kills,
        **cuts,
        "latency_ms": {
            name: round(1e3 * taken[int(share * (len(taken) - 1))], 2)
            for name, share in (("median", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
        },
        "first_cloud_answer_after_restart_s": {
            name: round(again[int(share * (len(again) - 1))], 3)
            for name, share in (("median", 0.5), ("p90", 0.9), ("max", 1.0))
            if again
        },
        "grown_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) // 1024,
        "errors": tally.examples[:5],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m benchmarks.server_soak", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--requests", type=int, default=200_000, help="to send (%(default)s)")
    parser.add_argument("--seconds", type=float, default=900.0, help="stop after this time")
    parser.add_argument("--model", type=Path, default=None, help="model folder (tiny-cnn)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.model or prepare("tiny-cnn", Path(scratch) / "tiny-cnn").path
        report = soak(arguments.requests, arguments.seconds, path)
    print(json.dumps(report, indent=1))
    sys.exit(bool(report["lost"] or report["wrong"]))
