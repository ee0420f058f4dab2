"""python -m tests.partition.paced_server MODEL HOST:PORT: a server with paced tails, one worker."""

from __future__ import annotations

import sys

from partition.model.folder import ModelFolder
from partition.server.cloud_server import CloudServer
from tests.partition.paced import PacedTails

if __name__ == "__main__":
    folder = ModelFolder.open(sys.argv[1])
    with CloudServer(folder, PacedTails(folder), sys.argv[2], 1) as server:
        print(server.port, flush=True)
        sys.stdin.read()
