"""Where the network is cut: graph, split points, run-time, codec, cloud server and client."""

from __future__ import annotations

import os

from partition import command

if command.is_started_from(__name__):
    command.begin()

# Read when gRPC is imported: it would write lines of its own beside an error's one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
