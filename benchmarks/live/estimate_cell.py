"""Estimates of one link, as a process in the edge's network namespace; one JSON object out.

python -m benchmarks.live.estimate_cell ESTIMATE_CELL_AS_JSON
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from envs.live.cloud_link import CloudLink
from envs.live.plant import STEP_S
from partition.codec.codec import Codec
from partition.codec.encoded import Encoded
from partition.edge.client import CloudClient
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.security.tls import ClientSecurity
from partition.transport import wire

DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class EstimateCell:
    """What to send while the link is estimated."""

    model: str
    cloud: str
    seconds: float
    rate_hz: float
    split: int | None
    """Split point of the requests; None sends nothing."""


def run(cell: EstimateCell) -> list[dict[str, float]]:
    """Send requests, and read the estimate once per control step, as a board does."""
    folder = ModelFolder.open(Path(cell.model))
    with CloudClient(cell.cloud, folder, security=ClientSecurity(insecure=True)) as client:
        link = CloudLink(client)
        link.greet()
        encoded: tuple[Encoded | wire.Raw, ...] = ()
        if cell.split is not None:
            point, codec = folder.split_points[cell.split], Codec()
            tensors = SplitRuntime(folder).head(point, random_inputs(folder))
            encoded = tuple(wire.carried(tensor, codec) for tensor in tensors)
        seen = []
        next_s = step_s = time.monotonic()
        end_s = next_s + cell.seconds
        while (now_s := time.monotonic()) < end_s:
            if now_s >= step_s:
                step_s += STEP_S
                link.refresh(is_idle=cell.split is None)
                estimate = link.estimate
                seen.append({"link_bps": estimate.rate_bps, "rtt_s": estimate.rtt_s})
            elif cell.split is not None and now_s >= next_s:
                next_s += 1.0 / cell.rate_hz
                try:
                    client.infer(folder.split_points[cell.split], encoded, DEADLINE_S)
                except CloudError as error:
                    sys.stderr.write(f"{error}\n")
            else:
                until_s = step_s if cell.split is None else min(step_s, next_s)
                time.sleep(max(until_s - now_s, 0.0))
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(EstimateCell(**json.loads(sys.argv[1])))) + "\n")
