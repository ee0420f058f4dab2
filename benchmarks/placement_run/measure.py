"""Measured times of the bed's devices for each block, and for a tensor on its way in or out.

All devices measure at the same time, for a given time, because they share one machine. Means, not
medians: a share of a processor comes in turns, so that short times are bimodal. A crossing goes to
the head and back: over a slow cable a message comes in pieces, each of which wakes gRPC, and that
takes several times the processor's time of a hop within a device. It is counted in the processor's
time, because the cable's is in the plan already, and stretched as the blocks are by the share.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from threading import Event

import numpy as np

from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.stages.frame_sender import FrameSender
from partition.stages.server import SessionServer
from partition.stages.session import StageSession, StageSpec
from partition.stages.stage_model import CutCodec
from partition.transport import wire

_LARGE_BYTES = 100_000
_TIMEOUT_S = 30


def measure(model, seconds, echo, ip):
    """Seconds per block, and float32 bytes per second of a crossing; `echo` sends frames back."""
    folder = ModelFolder.open(model)
    runtime = SplitRuntime(folder, 1)
    inputs = random_inputs(folder)
    tensors = [runtime.head(cut, inputs) for cut in folder.cuts]
    for (start, end), given in zip(pairwise(folder.cuts), tensors, strict=False):
        runtime.between(start, end, given)
    crossings = [CutCodec(folder, cut.index, "int8") for cut in folder.cuts]
    large = [cut.index for cut in folder.cuts[1:-1] if cut.float32_bytes > _LARGE_BYTES]
    due_s = time.monotonic() + seconds
    blocks_s, blocks_cpu_s, crossing_cpu_s, rounds = np.zeros(len(folder.cuts) - 1), 0.0, 0.0, 0
    with _Cable(echo, ip) as cable:
        while time.monotonic() < due_s or rounds < 2:
            begin_cpu_s = time.process_time()
            for i, (start, end) in enumerate(pairwise(folder.cuts)):
                begin_s = time.perf_counter()
                runtime.between(start, end, tensors[i])
                blocks_s[i] += time.perf_counter() - begin_s
            blocks_cpu_s += time.process_time() - begin_cpu_s
            begin_cpu_s = time.process_time()
            for i in large:
                crossings[i].tensors(cable.there_and_back(crossings[i], tensors[i]))
            crossing_cpu_s += time.process_time() - begin_cpu_s
            rounds += 1
    crossing_s = crossing_cpu_s * blocks_s.sum() / blocks_cpu_s
    crossed_bytes = 2 * rounds * sum(folder.cuts[i].float32_bytes for i in large)
    return {
        "block_s": (blocks_s / rounds).tolist(),
        "codec_bytes_per_s": crossed_bytes / crossing_s,
        "rounds": rounds,
    }


class _Cable:
    """A hop to the head and one back."""

    def __init__(self, echo, ip):
        self._echo, self._ip = echo, ip
        self._arrived = Event()
        self._number = 0
        self._request: wire.Request | None = None

    def __enter__(self):
        self._server = SessionServer(f"{self._ip}:0", self._receive, dict).__enter__()
        session = StageSession(
            number=1, fingerprint="", codec="int8", queue_depth=1,
            hops=(StageSpec((self._echo,), 0, 1),), sink=self._server.address,
        )  # fmt: skip
        self._outlet = FrameSender(session)
        self._outlet.wait_ready(_TIMEOUT_S)
        return self

    def __exit__(self, *_):
        self._outlet.__exit__()
        self._server.__exit__()

    def there_and_back(self, crossing, tensors):
        self._arrived.clear()
        self._outlet.send(self._number, crossing.pack(tensors, self._number))
        self._number += 1
        assert self._arrived.wait(_TIMEOUT_S)
        return self._request

    def _receive(self, inlet):
        inlet.ready()
        for self._request in inlet.frames():
            self._arrived.set()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])))
