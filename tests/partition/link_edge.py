"""The edge of the tests over a real link; runs inside the edge's namespace.

python -m tests.partition.link_edge MODEL HOST:PORT, then a line of JSON in, a line of JSON out:
    {"requests": n, "split": s}         estimates of the rate after each of n requests
"""

from __future__ import annotations

import json
import sys

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.security.tls import ClientSecurity

DEADLINE_S = 20.0


def rates_bps(client, folder, runtime, requests, split):
    point = folder.split_points[split]
    encoded = tuple(map(Codec().encode, runtime.head(point, random_inputs(folder))))
    rates = []
    for _ in range(requests):
        client.infer(point, encoded, DEADLINE_S)
        rates.append(client.link.rate_bps)
    return rates


if __name__ == "__main__":
    folder = ModelFolder.open(sys.argv[1])
    with CloudClient(sys.argv[2], folder, security=ClientSecurity(insecure=True)) as client:
        client.connect(5.0)
        runtime = SplitRuntime(folder)
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            found = rates_bps(client, folder, runtime, **json.loads(line))
            print(json.dumps({"rates_bps": found}), flush=True)
