"""Where the network is cut: graph, split points, run-time, codec, cloud server and client."""
