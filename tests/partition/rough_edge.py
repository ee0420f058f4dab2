"""Edge of a rough link, as a process: different pictures one after the other, one JSON object out.

python -m tests.partition.rough_edge MODEL CLOUD SECONDS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from envs.live.cloud_link import CloudLink
from envs.live.plant import STEP_S
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.security.tls import ClientSecurity

RATE_HZ, DEADLINE_S = 20.0, 0.3


def run(model, cloud, seconds):
    """Answers, each with whether it is that of its own picture, and readings of the link."""
    folder = ModelFolder.open(Path(model))
    runtime = SplitRuntime(folder)
    pictures = np.random.default_rng(0).normal(size=(8, *folder.input_shape)).astype(np.float32)
    expected = [runtime.whole((picture,))[0] for picture in pictures]
    answers, readings = [], []
    with CloudClient(cloud, folder, security=ClientSecurity(insecure=True)) as client:
        link, pipeline = CloudLink(client), SplitPipeline(folder, runtime, client)
        link.greet()
        began_s = step_s = time.monotonic()
        n = 0
        while (now_s := time.monotonic() - began_s) < seconds:
            if began_s + now_s >= step_s:
                step_s += STEP_S
                link.refresh(is_idle=False)
                flops_per_s = client.server_flops_per_s(1e9)
                seen = link.estimate
                readings.append([now_s, seen.rate_bps, seen.rtt_s, flops_per_s])
            result = pipeline.infer(pictures[n % len(pictures)], Route(0), DEADLINE_S)
            off = [float(np.abs(result.logits - each).max()) for each in expected]
            is_own = int(np.argmin(off)) == n % len(pictures)
            took_s = time.monotonic() - began_s - now_s
            answers.append([now_s, is_own, result.served_by, took_s])
            n += 1
            time.sleep(max(n / RATE_HZ - (time.monotonic() - began_s), 0.0))
    return {"answers": answers, "readings": readings}


if __name__ == "__main__":
    model, cloud, seconds = sys.argv[1:]
    sys.stdout.write(json.dumps(run(model, cloud, float(seconds))) + "\n")
