"""Power at the mains plug and at the input: activity of networks, loss of the supply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from hw.calibrate.measured.found import BoardFit
from hw.calibrate.measured.shares import ClocksHz, Shares
from hw.calibrate.measured.tables import Submission, relative
from hw.calibrate.report import BarRow, Point
from hw.device.power import PowerModel
from hw.device.runtime import Activity

POWER_BAR = 0.12
HALF_S = 0.002
"""Latency at which half of a network's activity on a GPU is reached. Chosen once for all boards
among 1, 2, 3, 5, 10 and 30 ms by the errors of networks that were held out."""
WALL_SHARE = 17.4 / 14.7
"""W at the plug per W at the input: a Xavier NX under full stress (simulator notes, section 4)."""


@dataclass(frozen=True, slots=True)
class Load:
    """A network that runs without a pause, and what was read meanwhile.

    Attributes:
        name: of the network.
        clocks: in force.
        cpu_util: share of the time in which the host works.
        busy_util: share of the time in which the unit that computes works.
        latency_s: at the highest clocks.
        read_w: power.
    """

    name: str
    clocks: ClocksHz
    cpu_util: float
    busy_util: float
    latency_s: float
    read_w: float


def loads(
    rows: Sequence[Submission],
    board: str,
    share: Shares,
    top: ClocksHz,
    release: str | None = None,
) -> list[Load]:
    """Rows at the clocks for least power whose power was read.

    Args:
        rows: of all boards.
        board: as the submissions name it.
        share: of any network's time. One for all: what follows no clock is no idle GPU, as a
            network's own share would have it.
        top: the highest clocks.
        release: the only one to take, if any.
    """
    mine = [row for row in rows if row.board == board]
    full = {(r.release, r.network, r.scenario): r for r in mine if not r.is_efficient}
    found = []
    for row in mine:
        fast = full.get((row.release, row.network, row.scenario))
        is_wanted = release is None or row.release == release
        if fast is None or not (row.is_efficient and is_wanted and row.wall_w > 0.0):
            continue
        clocks = ClocksHz(row.cpu_hz, row.gpu_hz, row.emc_hz)
        slower = clocks.slower(top)
        whole = share.ratio(slower)
        found.append(
            Load(
                row.network,
                clocks,
                share.cpu * slower[0] / whole,
                float(np.hypot(share.gpu * slower[1], share.emc * slower[2])) / whole,
                fast.latency_s,
                row.wall_w,
            )
        )
    return found


def _rest_w(power: PowerModel, load: Load) -> tuple[float, float]:
    """At the input: all but the busy GPU; and what the saturated GPU draws while it works."""
    clocks_hz = (load.clocks.cpu, load.clocks.gpu, load.clocks.emc)
    gpu_load_w = float(power.gpu_load_w(load.clocks.gpu, load.clocks.emc))
    without = power.at_activity(0.0, on_cpu=False)
    rest_w = float(
        without.total_w(
            *clocks_hz,
            cpu_util=load.cpu_util,
            gpu_util=load.busy_util,
            traffic_bytes_per_s=0.0,
        )
    )
    idle_gpu_w = -float(without.gpu_load_w(load.clocks.gpu, load.clocks.emc))
    return rest_w, load.busy_util * (gpu_load_w + idle_gpu_w)


def fit_wall(
    power: PowerModel, rows: Sequence[Load], *, offset: bool, half_s: float = HALF_S
) -> tuple[float, Activity]:
    """Watts at the plug that follow nothing, and the activity; least squares of relative errors.

    Args:
        power: of the board, its busy GPU as published.
        rows: to fit to.
        offset: whether there may be such watts.
        half_s: of the activity.
    """
    columns, target = [], []
    for load in rows:
        rest_w, busy_w = _rest_w(power, load)
        rise = load.latency_s / (load.latency_s + half_s)
        row = np.array([float(offset), WALL_SHARE * busy_w, WALL_SHARE * busy_w * rise])
        columns.append(row / load.read_w)
        target.append(1.0 - WALL_SHARE * rest_w / load.read_w)
    found, _ = nnls(np.array(columns), np.array(target))
    return float(found[0]), Activity(float(found[1]), float(found[2]), half_s)


def wall_w(power: PowerModel, offset_w: float, activity: Activity, load: Load) -> float:
    """Modelled power at the plug."""
    rest_w, busy_w = _rest_w(power, load)
    return offset_w + WALL_SHARE * (rest_w + activity.factor(load.latency_s) * busy_w)


def add_power(
    fit: BoardFit,
    board: str,
    runtime: str,
    power: PowerModel,
    rows: Sequence[Load],
    *,
    offset: bool,
) -> None:
    """Activity and loss of a board, each network held out in turn, for its run-time in int8.

    Args:
        fit: of the board so far.
        board: its name.
        runtime: what computed.
        power: of the board, its busy GPU as published.
        rows: what was read.
        offset: whether watts at the plug may follow nothing.
    """
    offset_w, activity = fit_wall(power, rows, offset=offset)
    errors = []
    for load in rows:
        others = [row for row in rows if row.name != load.name]
        predicted = wall_w(power, *fit_wall(power, others, offset=offset), load)
        fitted = wall_w(power, offset_w, activity, load)
        errors.append(abs(relative(predicted, load.read_w)))
        fit.points.append(Point(board, runtime, load.name, "power", load.read_w, predicted, fitted))
    fit.bars.append(
        BarRow(
            "power at the plug, each network held out",
            *(len(rows), len(rows)),
            float(np.mean(errors)),
            POWER_BAR,
            board=board,
            runtime=runtime,
        )
    )
    fit.runtimes[runtime].activity = activity
    fit.power |= {"wall_share": WALL_SHARE} | ({"wall_w": offset_w} if offset_w else {})
    fit.validated_on.append(
        f"power at the plug of {len({row.name for row in rows})} MLPerf networks at the clocks for "
        f"least power, each predicted from the others: {offset_w:.1f} W and {WALL_SHARE:.2f} W for "
        "each W at the board's input"
    )
