"""python -m benchmarks.server_soak.server MODEL: loads, waits for a port, serves until killed.

Loaded beforehand, so that a restart takes as long as a bind, not as long as Python's imports.
"""

from __future__ import annotations

import sys

import numpy as np

from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer

if __name__ == "__main__":
    folder = ModelFolder.open(sys.argv[1])
    runtime = SplitRuntime(folder)
    for point in folder.split_points[:-1]:
        blank = zip(point.shapes, point.dtypes, strict=True)
        runtime.tail(point, tuple(np.zeros(shape, dtype) for shape, dtype in blank))
    port = int(sys.stdin.readline())
    with CloudServer(folder, runtime, f"127.0.0.1:{port}") as server:
        print(server.port, flush=True)
        sys.stdin.read()
