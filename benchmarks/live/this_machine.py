"""What live runs owe to the machine that they run on, which live and simulated boards share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.live.course import Course
from benchmarks.live.figures import USUAL_GFLOP_PER_S, WARM_UP_STEPS, SeenServer, world_of
from benchmarks.live.plan import CONTROL, Cell
from benchmarks.live.session import live_session
from envs.sim.sim_config import SimConfig
from hw.device.latency import HostScaling
from partition.model.folder import ModelFolder

_MEASURED_S, _COURSE = 5.0, Course("fast link", (200.0,), 3.5)


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """Speed of the server, and the time of a request beside the network.

    A modelled board paces the network alone: pictures, codec and messages take what they take here.
    One whose device file has such work models it itself.

    Attributes:
        gflop_per_s: of the server.
        request_s: of the board's processor, every request.
        byte_s: of every byte that is sent.
    """

    gflop_per_s: float
    request_s: float = 0.0
    byte_s: float = 0.0

    def met(
        self, device: str, folder: ModelFolder, course: Course, server: SeenServer
    ) -> SimConfig:
        """The world of a live run, with that time, which its boards do not expect.

        What a message takes counts where it is sent, so that it is said in operations of the
        server.
        """
        fastest = server.fastest_gflop_per_s
        world = world_of(device, folder, course, fastest, held_up=server.held_up)
        if world.device.host != HostScaling():
            return world
        costs = world.costs
        head = replace(costs.head, fixed_s=costs.head.fixed_s + self.request_s)
        more_flops = self.byte_s * costs.wire_bytes * server.gflop_per_s * 1e9
        slower = replace(costs, head=head, tail_flops=costs.tail_flops + more_flops)
        return replace(world, costs=slower, nominal=world.believed)


def measured(folder: ModelFolder, board: str, device: str) -> ThisMachine:
    """Measure it: by requests that stay, and by requests that send the input.

    Raises:
        EnvError: live runs are not possible here, or these failed.
    """
    found = {}
    for action in (CONTROL, "max clocks, input"):
        cell = Cell(action, _COURSE.rates_mbps[0], _COURSE.rtt_ms, board)
        with live_session(folder, _COURSE) as session:
            found[action] = session.run(
                _COURSE,
                _MEASURED_S,
                0,
                board=board,
                device=device,
                gflop_per_s=USUAL_GFLOP_PER_S,
                action=cell.indices,
            )
    stays_s, sends_s = (_host_s(each) for each in found.values())
    return ThisMachine(
        SeenServer.of(found["max clocks, input"], folder).gflop_per_s,
        request_s=stays_s,
        byte_s=max(sends_s - stays_s, 0.0) / folder.routes[0].wire_bytes,
    )


def _host_s(found: dict[str, Any]) -> float:
    """Time of a request beside the network."""
    each = [r["host_s"] for r in found["requests"] if r["step"] >= WARM_UP_STEPS]
    return float(np.median(each))
