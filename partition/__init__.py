"""Where the network is cut: graph, split points, run-time, codec, cloud server and client."""

import os

# Read when gRPC is imported: it would write lines of its own beside an error's one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
