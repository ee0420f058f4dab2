"""One process against Ray Serve: `python -m tests.cluster.replicas_bench MODEL`.

Clients that never pause, alternately against a `partition.server` with two workers and against two
replicas behind Serve's proxy, on one machine; also a lone client's round trip.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.model.folder import ModelFolder
from partition.model.machine import describe_machine
from tests.cluster.local_ray import REPOSITORY, LocalRay

_ONE_PORT, _SERVE_PORT = 50161, 50162
_CLIENTS, _SECONDS, _ROUNDS = 8, 4.0, 5
_WORKERS = 2


def encoded(point, seed=0):
    draw = np.random.default_rng(seed)
    return tuple(
        Codec().encode(draw.normal(size=shape).astype(np.float32)) for shape in point.shapes
    )


def load(folder, point, port, n_clients, seconds=_SECONDS):
    """Requests per second and median round trip in s."""
    stop, latencies_s = threading.Event(), []

    def ask(seed):
        tensors = encoded(point, seed)
        with CloudClient(f"127.0.0.1:{port}", folder) as client:
            while not stop.is_set():
                latencies_s.append(client.infer(point, tensors, 30.0).round_trip_s)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(n_clients)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    before, begin_s = len(latencies_s), time.monotonic()
    time.sleep(seconds)
    rate_hz = (len(latencies_s) - before) / (time.monotonic() - begin_s)
    stop.set()
    for thread in threads:
        thread.join()
    return rate_hz, statistics.median(latencies_s[before:])


def wait_for(folder, port, timeout_s=240):
    due_s = time.monotonic() + timeout_s
    while True:
        try:
            with CloudClient(f"127.0.0.1:{port}", folder) as client:
                client.connect()
                return
        except Exception:
            if time.monotonic() > due_s:
                raise
            time.sleep(1)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.replicas_bench")
    parser.add_argument("model")
    folder = ModelFolder.open(parser.parse_args().model)
    with (
        tempfile.TemporaryDirectory(prefix="dvfo-ray-") as scratch,
        LocalRay(("cloud",), Path(scratch)) as cluster,
    ):
        one = [sys.executable, "-m", "partition.server", "--model", folder.path]
        one += ["--listen", f"127.0.0.1:{_ONE_PORT}", "--max-workers", _WORKERS]
        processes = [
            subprocess.Popen(list(map(str, one)), cwd=REPOSITORY, stdout=subprocess.DEVNULL),
            cluster.popen(
                "partition.server.replicas", "--model", folder.path, "--port", _SERVE_PORT,
                "--replicas", _WORKERS, "--ray", cluster.address, "--insecure",
            ),
        ]  # fmt: skip
        try:
            ports = {"one process": _ONE_PORT, "Ray Serve": _SERVE_PORT}
            for port in ports.values():
                wait_for(folder, port)
            found = measure(folder, ports)
        finally:
            for process in processes:
                process.terminate()
                process.wait(60)
    print(json.dumps({"machine": describe_machine(), "model": folder.name} | found, indent=1))


def measure(folder, ports):
    point = folder.split_points[len(folder.split_points) // 2]
    samples = {name: {"many": [], "alone": []} for name in ports}
    for _ in range(_ROUNDS):
        for name, port in ports.items():
            samples[name]["many"].append(load(folder, point, port, _CLIENTS))
            samples[name]["alone"].append(load(folder, point, port, 1))
    return {"cut": point.name, "bytes": point.wire_bytes} | {
        name: {
            "requests_per_s": statistics.median(rate for rate, _ in kinds["many"]),
            "latency_s": statistics.median(s for _, s in kinds["many"]),
            "lone_client_s": statistics.median(s for _, s in kinds["alone"]),
        }
        for name, kinds in samples.items()
    }


if __name__ == "__main__":
    main()
