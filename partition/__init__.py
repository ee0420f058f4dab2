"""Split inference: graph, split points, run-time, codec, cloud server and client."""

from __future__ import annotations

import os

from common import command

if command.is_started_from(__name__):
    command.begin()

# Read when gRPC is imported: it would write lines of its own besides an error's one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Read when ONNX Runtime is imported: from 1.32 on its builds keep a number of the device, and send
# events to their maker's servers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
