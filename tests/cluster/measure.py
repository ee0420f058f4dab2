"""What a device of the bed takes for each block, and for a tensor on its way in or out.

All devices measure at the same time, for a given time, because they share one machine. Means, not
medians: a share of a processor comes in turns, so that short times are bimodal.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from threading import Event

import numpy as np

from partition import wire
from partition.model_folder import ModelFolder
from partition.runtime import SplitRuntime, random_inputs
from partition.stages.outlet import Outlet
from partition.stages.piece import Crossing
from partition.stages.server import SessionServer
from partition.stages.session import Session

_LARGE_BYTES = 100_000


def measure(model, seconds):
    folder = ModelFolder.open(model)
    runtime = SplitRuntime(folder, 1)
    inputs = random_inputs(folder)
    tensors = [runtime.head(cut, inputs) for cut in folder.cuts]
    for (start, end), given in zip(pairwise(folder.cuts), tensors, strict=False):
        runtime.between(start, end, given)
    crossings = [Crossing(folder, cut.index, "int8") for cut in folder.cuts]
    large = [cut.index for cut in folder.cuts[1:-1] if cut.float32_bytes > _LARGE_BYTES]
    due_s = time.monotonic() + seconds
    blocks_s, crossing_s, rounds = np.zeros(len(folder.cuts) - 1), 0.0, 0
    with _Loop() as loop:
        while time.monotonic() < due_s or rounds < 2:
            for i, (start, end) in enumerate(pairwise(folder.cuts)):
                begin_s = time.perf_counter()
                runtime.between(start, end, tensors[i])
                blocks_s[i] += time.perf_counter() - begin_s
            begin_s = time.perf_counter()
            for i in large:
                message = crossings[i].pack(tensors[i])
                loop.carry(message)
                crossings[i].tensors(wire.unpack_request(message))
            crossing_s += time.perf_counter() - begin_s
            rounds += 1
    crossed_bytes = 2 * rounds * sum(folder.cuts[i].float32_bytes for i in large)
    return {
        "block_s": (blocks_s / rounds).tolist(),
        "codec_bytes_per_s": crossed_bytes / crossing_s,
        "rounds": rounds,
    }


class _Loop:
    """A hop from this process to itself: what gRPC takes for sending and for receiving."""

    def __init__(self):
        self._arrived = Event()
        self._number = 0

    def __enter__(self):
        self._server = SessionServer("127.0.0.1:0", self._receive, dict).__enter__()
        session = Session(
            number=1, fingerprint="", codec="int8", queue_depth=1, hops=(),
            sink=self._server.address,
        )  # fmt: skip
        self._outlet = Outlet(self._server.address, session)
        self._outlet.wait_ready(30)
        return self

    def __exit__(self, *_):
        self._outlet.__exit__()
        self._server.__exit__()

    def carry(self, message):
        self._arrived.clear()
        self._outlet.send(self._number, message)
        self._number += 1
        assert self._arrived.wait(30)

    def _receive(self, session, inlet):
        inlet.ready()
        for _ in inlet.frames():
            self._arrived.set()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], float(sys.argv[2]))))
