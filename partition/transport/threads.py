"""Check of the thread limit for a library that starts threads by itself."""

from __future__ import annotations

import os
import threading

from partition.errors import CloudError

_CORES_TIMES, _MORE = 2, 16
"""gRPC's core had 4 threads to begin with and up to 14 on two cores and under load."""


def check_free() -> None:
    """Start as many threads as gRPC's core wants and end them: by itself it would wait for ever.

    Raises:
        CloudError: a limit of this process leaves no room for them.
    """
    enough = threading.Event()
    started = []
    try:
        for _ in range(_CORES_TIMES * (os.cpu_count() or 1) + _MORE):
            thread = threading.Thread(target=enough.wait, name="probe", daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError) as error:
        raise CloudError(
            f"gRPC gets {len(started)} more threads at most ({error}): raise the limits of this "
            "process (ulimit -u and -v, a control group's pids.max) or end other programs"
        ) from None
    finally:
        enough.set()
        for thread in started:
            thread.join()
