"""The edge of the tests over a real link; runs inside the edge's namespace.

python -m tests.partition.paced_edge MODEL HOST:PORT, then a line of JSON in, a line of JSON out:
    {"measure": n}                      costs of all cuts on an otherwise idle link, n times each
    {"choose": n, "rounds": k}          n requests as chosen, then it and its neighbours k times
    {"requests": n, "split": s}         estimates of the rate after each of n requests
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from statistics import median

from partition.choose import CutCost, DynamicSplit
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.transport.tls import ClientSecurity
from tests.partition.paced import PacedEdge

DEADLINE_S = 20.0


class Edge:
    def __init__(self, model, address):
        self.folder = ModelFolder.open(model)
        self.client = CloudClient(address, self.folder, security=ClientSecurity(insecure=True))
        self.client.connect(5.0)
        runtime = SplitRuntime(self.folder)
        self.pipeline = SplitPipeline(self.folder, runtime, self.client, PacedEdge(self.folder))
        self.pipeline.warm_up()
        self.inputs = random_inputs(self.folder)
        self.dynamic = None

    def infer(self, split):
        return self.pipeline.infer(self.inputs, Route(split), DEADLINE_S)

    def measure(self, n):
        costs = []
        for point in self.folder.split_points:
            results = [self.infer(point.index) for _ in range(n)]
            assert all(result.fallback is None for result in results), results
            head_s = median(r.edge_s + r.codec_s for r in results)
            tail_s = median(r.cloud_s for r in results)
            costs.append(CutCost(head_s=head_s, tail_s=tail_s, uplink_bytes=point.wire_bytes))
        self.dynamic = DynamicSplit(costs)
        return {"costs": [asdict(cost) for cost in costs]}

    def choose(self, n, rounds):
        for _ in range(n):
            split = self.dynamic.route(self.client.link).split
            self.dynamic.observe(split, self.infer(split))
            if not self.dynamic.costs[split].uplink_bytes:
                self.client.refresh()
        link = self.client.link
        chosen = self.dynamic.route(link).split
        cuts = [s for s in (chosen - 1, chosen, chosen + 1) if 0 <= s < len(self.dynamic.costs)]
        latencies_s = {split: [] for split in cuts}
        for _ in range(rounds):
            for split in cuts:
                latencies_s[split].append(self.infer(split).latency_s)
        medians_s = {split: median(values) for split, values in latencies_s.items()}
        return {
            "chosen": chosen,
            "rate_bps": link.rate_bps,
            "wait_s": self.dynamic.wait_s(link),
            "latency_s": medians_s,
        }

    def requests(self, n, split):
        rates_bps = []
        for _ in range(n):
            assert self.infer(split).fallback is None
            rates_bps.append(self.client.link.rate_bps)
        return {"rates_bps": rates_bps}


if __name__ == "__main__":
    edge = Edge(*sys.argv[1:3])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "measure" in order:
            answer = edge.measure(order["measure"])
        elif "choose" in order:
            answer = edge.choose(order["choose"], order["rounds"])
        else:
            answer = edge.requests(order["requests"], order["split"])
        print(json.dumps(answer), flush=True)
    edge.client.close()
