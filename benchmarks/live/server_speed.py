"""Speed of the server of live runs, which live and simulated boards are told alike."""

from __future__ import annotations

from benchmarks.live.course import Course
from benchmarks.live.figures import USUAL_GFLOP_PER_S, server_gflop_per_s
from benchmarks.live.plan import Cell
from benchmarks.live.session import live_session
from partition.model.folder import ModelFolder

_MEASURED_S, _COURSE = 5.0, Course("fast link", (200.0,), 3.5)


def server_speed(folder: ModelFolder, board: str, device: str) -> float:
    """Measure it by requests that send the input, GFLOP/s.

    Raises:
        EnvError: live runs are not possible here, or this one failed.
    """
    action = Cell("max clocks, input", _COURSE.rates_mbps[0], _COURSE.rtt_ms, board).indices
    with live_session(folder, _COURSE) as session:
        found = session.run(
            _COURSE,
            _MEASURED_S,
            0,
            board=board,
            device=device,
            gflop_per_s=USUAL_GFLOP_PER_S,
            action=action,
        )
    return server_gflop_per_s(found, folder)
