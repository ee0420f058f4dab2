"""Load on all processors, so that clocks and power show what they do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hw.errors import HardwareError

WORDS = "a product of two 256 x 256 matrices of float32 (numpy), over and over, on each processor"
_WORK = """
import os, sys, threading

def end_with_parent():
    sys.stdin.read()
    os._exit(0)

os.nice(19)
import numpy
matrix = numpy.ones((256, 256), numpy.float32) / 256
print("ready", flush=True)
threading.Thread(target=end_with_parent, daemon=True).start()
while True:
    matrix = matrix @ matrix
"""
"""Nice, so that the measuring process comes first; ends with it, however that ends."""


@contextmanager
def busy_processors() -> Iterator[None]:
    """Keep all processors that this process may use busy; they are when this is entered.

    Raises:
        HardwareError: the work could not be started.
    """
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "BLIS")}
    with ExitStack() as stack:
        processes = []
        for _ in os.sched_getaffinity(0):
            process = subprocess.Popen(
                [sys.executable, "-c", _WORK],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **one_thread},
                start_new_session=True,  # Ctrl-C is the parent's
            )
            stack.callback(_end, process)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise HardwareError("the load could not be started; see whether numpy works here")
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
