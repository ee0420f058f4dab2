"""Estimates of one link, as a process in the edge's network namespace; one JSON object out.

python -m benchmarks.live.estimate_cell ESTIMATE_CELL_AS_JSON
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common import command
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


@dataclass(frozen=True, slots=True)
class EstimateCell:
    """What to send while the link is estimated."""

    model: str
    cloud: str
    seconds: float
    rate_hz: float
    split: int | None
    """Split point of the requests; None sends nothing."""
    deadline_s: float


class Reading(NamedTuple):
    """What the link was taken for at one moment, by the clock that all processes share."""

    at_s: float
    link_bps: float
    rtt_s: float
    age_s: float
    took_s: float | None = None
    """Until the request ended that was sent then; None at the beginning of a control step."""
    was_answered: bool = False


def run(cell: EstimateCell) -> list[Reading]:
    """Send requests, and read the estimate once per control step, as a board does.

    Before a request it is read, too, as whatever decides about sending it would.
    """
    folder = ModelFolder.open(Path(cell.model))
    with CloudClient(cell.cloud, folder, security=ClientSecurity(insecure=True)) as client:
        link = CloudLink(client)
        link.greet()
        encoded: tuple[Encoded | wire.Raw, ...] = ()
        if cell.split is not None:
            point, codec = folder.split_points[cell.split], Codec()
            tensors = SplitRuntime(folder).head(point, random_inputs(folder))
            encoded = tuple(wire.carried(tensor, codec) for tensor in tensors)
        seen: list[Reading] = []

        def read() -> Reading:
            now = link.estimate
            return Reading(time.monotonic(), now.rate_bps, now.rtt_s, now.age_s)

        next_s = step_s = time.monotonic()
        end_s = next_s + cell.seconds
        while (now_s := time.monotonic()) < end_s:
            if now_s >= step_s:
                step_s += STEP_S
                link.refresh(is_idle=cell.split is None)
                seen.append(read())
            elif cell.split is not None and now_s >= next_s:
                next_s = max(next_s + 1.0 / cell.rate_hz, now_s)
                before, was_answered = read(), True
                try:
                    client.infer(folder.split_points[cell.split], encoded, cell.deadline_s)
                except CloudError as error:
                    was_answered = False
                    sys.stderr.write(f"{error}\n")
                took_s = time.monotonic() - before.at_s
                seen.append(before._replace(took_s=took_s, was_answered=was_answered))
            else:
                until_s = step_s if cell.split is None else min(step_s, next_s)
                time.sleep(max(until_s - now_s, 0.0))
    return seen


def main() -> None:
    """Run the process."""
    found = [reading._asdict() for reading in run(EstimateCell(**json.loads(sys.argv[1])))]
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    sys.exit(command.run(main))
