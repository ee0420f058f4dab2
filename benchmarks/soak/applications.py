"""Applications that ask a daemon: patient, hasty and hostile ones, and crowds.

python -m benchmarks.soak.applications ADDRESS MODEL: asks without end, until it is killed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np

from benchmarks.soak.ledger import PATIENT_S, KnownExample, Ledger
from partition.edge.local_client import LocalClient
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.transport import rpc, wire
from tests.conftest import REPOSITORY

CALLERS = (("patient", PATIENT_S, 0.12), ("patient", PATIENT_S, 0.5), ("hasty", 0.3, 0.2))
"""Name, deadline and mean pause between requests, s, of those that ask all the time."""
IMPATIENT_S = 2.0
_GATHER_S = 0.05
_CONNECT_AGAIN_S = 0.1


class Applications:
    """All that ask one daemon; a context manager.

    Args:
        address: of the daemon.
        model: folder of the network.
        known: what is asked.
        ledger: receives the outcomes.
        seed: of the pauses.
    """

    def __init__(
        self, address: str, model: Path, known: list[KnownExample], ledger: Ledger, seed: int
    ) -> None:
        self._address, self._model, self._known, self._ledger = address, model, known, ledger
        self._seed = seed
        self._folder = ModelFolder.open(model)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Applications:
        """Begin to ask as soon as the daemon answers."""
        for number, (name, deadline_s, pause_s) in enumerate(CALLERS):
            arguments = (name, deadline_s, pause_s, random.Random(self._seed + number))
            self._spawn(self._ask_on, *arguments)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENT_S)

    def crowd(self, n_callers: int, seconds: float) -> None:
        """Let many ask at once, as fast as they are answered or refused, each of them patiently."""

        def ask() -> None:
            draw, end_s = random.Random(), time.monotonic() + seconds
            while time.monotonic() < end_s and not self._stop.is_set():
                if not self._ask(client, "crowd", draw, IMPATIENT_S):
                    time.sleep(_GATHER_S)

        with ExitStack() as closing:
            client = self._connect(seconds)
            if client is None:
                return
            closing.enter_context(client)
            threads = [threading.Thread(target=ask, daemon=True) for _ in range(n_callers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(seconds + 2 * IMPATIENT_S)

    def malformed(self, draw: random.Random) -> None:
        """Ask what cannot be answered: another shape, NaN, infinity, garbage."""
        right = self._known[0].inputs[0]
        wrong = [right[..., 1:], right[0], right.astype(np.float16), np.full_like(right, np.nan)]
        wrong.append(np.where(right > right.mean(), np.inf, right).astype(np.float32))
        point = self._folder.split_points[0].index
        tensors = [(wire.Raw(np.ascontiguousarray(array)),) for array in wrong]
        requests = [wire.Request(self._folder.fingerprint, point, tensor) for tensor in tensors]
        messages = list(map(wire.pack_request, requests))
        messages += [
            b"",
            draw.randbytes(9),
            draw.randbytes(4000),
            messages[0][: len(messages[0]) // 2],
        ]
        client = self._connect(IMPATIENT_S)
        if client is None:
            return
        with client:
            for message in messages:
                began_s = time.monotonic()
                try:
                    client._call(client._stub.infer, message, IMPATIENT_S)
                except CloudError as error:
                    self._ledger.failed("malformed", error, began_s, IMPATIENT_S)
                else:
                    self._ledger.accepted("malformed")

    def headers_only(self, n_calls: int, seconds: float) -> None:
        """Open calls and never send what they are about."""
        ended = threading.Event()

        def silent():
            ended.wait(seconds + IMPATIENT_S)
            return
            yield b""

        per_channel = 8
        with ExitStack() as closing:
            closing.callback(ended.set)
            calls = []
            for _ in range(0, n_calls, per_channel):
                own = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
                channel = closing.enter_context(grpc.insecure_channel(self._address, own))
                method = channel.stream_unary(rpc.method_path(rpc.INFER))
                calls += [method.future(silent(), timeout=60.0) for _ in range(per_channel)]
            self._stop.wait(seconds)
            for call in calls:
                call.cancel()

    def die(self, seconds: float) -> None:
        """An application of its own process that is killed while it waits for answers."""
        command = [sys.executable, "-m", "benchmarks.soak.applications", self._address, self._model]
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        process.stdout.readline()  # it has been answered once, or it has ended
        self._stop.wait(seconds)
        process.kill()
        process.communicate()
        self._ledger.died("mortal")

    def is_served(self, within_s: float) -> bool:
        """Whether a request is answered now."""
        client = self._connect(within_s)
        if client is None:
            return False
        with client:
            end_s, draw = time.monotonic() + within_s, random.Random(0)
            while time.monotonic() < end_s:
                if self._ask(client, "last", draw, PATIENT_S):
                    return True
                time.sleep(_CONNECT_AGAIN_S)
        return False

    def _spawn(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _ask_on(self, name: str, deadline_s: float, pause_s: float, draw: random.Random) -> None:
        client = self._connect(float("inf"))
        if client is None:
            return
        with client:
            while not self._stop.wait(draw.expovariate(1.0 / pause_s)):
                if self._ledger.stopping_s is not None:
                    return
                self._ask(client, name, draw, deadline_s)

    def _ask(self, client: LocalClient, name: str, draw: random.Random, deadline_s: float) -> bool:
        """Ask once; returns whether an answer came."""
        example, began_s = draw.choice(self._known), time.monotonic()
        try:
            logits = client.infer(*example.inputs, deadline_s=deadline_s)[0]
        except Exception as error:  # whatever it is, the ledger judges it
            self._ledger.failed(name, error, began_s, deadline_s)
            return False
        self._ledger.answered(name, example.is_right(logits))
        return True

    def _connect(self, within_s: float) -> LocalClient | None:
        end_s = time.monotonic() + within_s
        while not self._stop.is_set() and time.monotonic() < end_s:
            try:
                return LocalClient(self._address, self._model)
            except CloudError:
                self._stop.wait(_CONNECT_AGAIN_S)
        return None


def _ask_without_end(address: str, model: str) -> None:
    folder = ModelFolder.open(model)
    image = np.zeros(folder.split_points[0].shapes[0], np.float32)
    with LocalClient(address, model) as client:
        while True:
            try:
                client.infer(image, deadline_s=PATIENT_S)
            except CloudError:
                time.sleep(_GATHER_S)
            print("asked", flush=True)


if __name__ == "__main__":
    _ask_without_end(*sys.argv[1:])
