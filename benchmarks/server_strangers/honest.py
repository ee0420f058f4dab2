"""Boards that ask as they should, and a health check: what came of their requests, as JSON.

python -m benchmarks.server_strangers.honest MODEL HOST:PORT SECONDS
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.security.tls import ClientSecurity
from partition.transport import grpc_options

_HEALTH_PERIOD_S, _HEALTH_TIMEOUT_S = 0.5, 5.0
_FIRST_S = 5.0


class Tally:
    """What came of it; shared by the threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = 0
        self.taken_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self.health_s: list[float] = []

    def add(self, taken_s: float | None, error: str = "") -> None:
        with self.lock:
            self.asked += 1
            if taken_s is None:
                self.errors[error] += 1
            else:
                self.taken_s.append(taken_s)


def ask(folder, arguments, encoded, security, tally, until_s) -> None:
    """Requests at a fixed rate, whatever comes of them."""
    point = folder.split_points[1]
    period_s = 1.0 / arguments.rate_hz
    next_s = time.monotonic() + random.random() * period_s
    with CloudClient(arguments.address, folder, security=security) as client:
        while next_s < until_s:
            time.sleep(max(next_s - time.monotonic(), 0.0))
            began_s = time.monotonic()
            try:
                client.infer(point, encoded, arguments.deadline_s)
                tally.add(time.monotonic() - began_s)
            except CloudError as error:
                tally.add(None, type(error).__name__)
            next_s += period_s


def check_health(arguments, credentials, tally, until_s) -> None:
    """Health checks, each on a connection of its own."""
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        options = (grpc_options.NO_PROXY, ("grpc.use_local_subchannel_pool", 1))
        make = (
            grpc.insecure_channel(arguments.address, options)
            if credentials is None
            else grpc.secure_channel(arguments.address, credentials, options)
        )
        with make as channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S
                )
                tally.health_s.append(time.monotonic() - began_s)
            except grpc.RpcError:
                tally.health_s.append(_HEALTH_TIMEOUT_S)
        time.sleep(_HEALTH_PERIOD_S)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, help="model")
    parser.add_argument("address", help="HOST:PORT of the server")
    parser.add_argument("seconds", type=float, help="to ask for")
    parser.add_argument("--callers", type=int, default=1, help="boards")
    parser.add_argument("--rate-hz", type=float, default=10.0, help="of each board")
    parser.add_argument("--deadline-s", type=float, default=0.2, help="of each request")
    parser.add_argument("--ca", type=Path, help="authority of the server, PEM")
    parser.add_argument("--token-file", type=Path, help="its first line is shown")
    arguments = parser.parse_args()
    folder = ModelFolder.open(arguments.model)
    point = folder.split_points[1]
    tensors = SplitRuntime(folder).head(point, random_inputs(folder))
    encoded = tuple(map(Codec().encode, tensors))
    security = ClientSecurity(ca=arguments.ca, token_file=arguments.token_file)
    credentials = arguments.ca and grpc.ssl_channel_credentials(arguments.ca.read_bytes())
    tally = Tally()
    with CloudClient(arguments.address, folder, security=security) as client:
        client.connect(_FIRST_S)
    print("ready", flush=True)
    until_s = time.monotonic() + arguments.seconds
    jobs = [
        threading.Thread(target=ask, args=(folder, arguments, encoded, security, tally, until_s))
        for _ in range(arguments.callers)
    ]
    jobs.append(
        threading.Thread(target=check_health, args=(arguments, credentials, tally, until_s))
    )
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    taken_s = sorted(tally.taken_s)
    print(
        json.dumps(
            {
                "asked": tally.asked,
                "in_time": sum(each <= arguments.deadline_s for each in taken_s),
                "taken_s": taken_s,
                "errors": tally.errors,
                "health_s": tally.health_s,
            }
        )
    )


if __name__ == "__main__":
    _main()
