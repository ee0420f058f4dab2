"""YOLOv8n on an Orin Nano Super under four run-times: MAXN_SUPER is fitted, 15W is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from hw.calibrate.measured.architectures import size_of
from hw.calibrate.measured.detectors import FP16, TORCH
from hw.calibrate.measured.draw import HALF_S
from hw.calibrate.measured.found import BoardFit, FoundRuntime
from hw.calibrate.measured.shares import ClocksHz, Shares
from hw.calibrate.measured.tables import ModeRow, relative
from hw.calibrate.report import BarRow, Point
from hw.device.latency import Demand, NetworkScaling
from hw.device.power import PowerModel
from hw.device.runtime import Activity

NAME = "orin-nano"
FP32, INT8 = "tensorrt-fp32", "tensorrt-int8"
MODE_BAR = 0.15
MAXN = ClocksHz(1728e6, 1020e6, 3199e6)
"""Clocks of MAXN_SUPER."""
LESS = ClocksHz(1497.6e6, 612e6, 2133e6)
"""Clocks of 15W; that of the memory is assumed."""
FULL = "MAXN_SUPER"


@dataclass(frozen=True, slots=True)
class Busy:
    """YOLOv8n without a pause in one mode: what the GPU draws beyond the rest.

    Attributes:
        rest_w: at the input, all but the busy GPU.
        util: share of the time in which the GPU works.
        read_w: at the input.
        host_w: of that, what a busy core adds.
        latency_s: measured.
    """

    rest_w: float
    util: float
    read_w: float
    host_w: float
    latency_s: float

    @property
    def unit_w(self) -> float:
        """What the GPU draws while it works."""
        return (self.read_w - self.rest_w) / self.util


def fit_modes(
    rows: Sequence[ModeRow], fit: BoardFit, shares: Shares, torch: NetworkScaling
) -> None:
    """Add the run-times that two modes show, and their errors.

    Args:
        rows: of both modes.
        fit: of the Orin Nano so far, with its run-time in fp16.
        shares: division of the time under TensorRT.
        torch: PyTorch's costs on a board with the same cores.
    """
    full = {row.runtime: row for row in rows if row.mode == FULL}
    demands = {name: shares.demand(row.latency_s, MAXN) for name, row in full.items()}
    size = size_of("yolov8n", 640)
    assert size is not None
    demands[TORCH] = torch.demand(size.flops, size.traffic_bytes, size.kernels)
    unseen_s = {TORCH: _latency_s(demands[TORCH], MAXN), FP16: _by_other_detectors_s(fit, shares)}
    factor = full[TORCH].latency_s / unseen_s[TORCH]
    demands[TORCH] = demands[TORCH].scaled(factor)
    _add_runtimes(fit, full, torch.times(factor), factor)
    errors = []
    for row in rows:
        modelled_s = _latency_s(demands[row.runtime], MAXN if row.mode == FULL else LESS)
        predicted_s = unseen_s.get(row.runtime) if row.mode == FULL else modelled_s
        if row.mode != FULL:
            errors.append(abs(relative(modelled_s, row.latency_s)))
        fit.points.append(
            Point(
                *(NAME, row.runtime, f"yolov8n {row.mode}", "latency", row.latency_s, predicted_s),
                fitted=modelled_s if row.mode == FULL else None,
            )
        )
    fit.bars.append(_bar("YOLOv8n in 15W: latency, largest of four run-times", errors))
    for name, seen in ((FP16, 16), (TORCH, 24)):
        other = "YOLOv8 s and m at lower clocks" if name == FP16 else "an Orin NX"
        error = abs(relative(unseen_s[name], full[name].latency_s))
        what = f"YOLOv8n in MAXN_SUPER from {other}: latency"
        fit.bars.append(BarRow(what, seen, 1, error, board=NAME, runtime=name))
    fit.workloads |= {f"yolov8n_640px_{name}": demand for name, demand in demands.items()}
    fit.validated_on.append(
        "latency of YOLOv8n under four run-times in the mode of 15 W, predicted from MAXN_SUPER"
    )


def fit_mode_power(
    rows: Sequence[ModeRow], fit: BoardFit, power: PowerModel, like: Activity
) -> None:
    """Busy GPU over its clock, common to the run-times; each is predicted by what the others show.

    Args:
        rows: of both modes.
        fit: of the Orin Nano after `fit_modes`.
        power: of the Orin Nano but for its busy GPU.
        like: activity of networks on a board with the same kind of GPU.
    """
    idle = structs.replace(power, gpu_busy_w=0.0, gpu_busy_w_per_hz=0.0)
    full, less = (
        {
            row.runtime: _busy(row, fit, idle, clocks)
            for row in rows
            if (row.mode == FULL) is is_full
        }
        for clocks, is_full in ((MAXN, True), (LESS, False))
    )
    tensorrt = [name for name in full if name != TORCH]
    falls = {name: less[name].unit_w / full[name].unit_w for name in tensorrt}
    unit_w = full[FP16].unit_w
    predicted_w = {}
    for name in tensorrt:
        others = float(np.mean([fall for other, fall in falls.items() if other != name]))
        predicted_w[name] = less[name].rest_w + less[name].util * others * full[name].unit_w
        scale = full[name].unit_w / unit_w / like.factor(full[name].latency_s)
        fit.runtimes[name].activity = Activity(scale * like.level, scale * like.rise, HALF_S)
    fall = float(np.mean(list(falls.values())))
    # PyTorch's time is the host's; its cores get what is drawn beyond a GPU as busy as in fp16.
    torch, slow = full[TORCH], less[TORCH]
    factor = 1.0 + (torch.read_w - torch.rest_w - torch.util * unit_w) / torch.host_w
    predicted_w[TORCH] = slow.rest_w + slow.util * fall * unit_w + (factor - 1.0) * slow.host_w
    fit.runtimes[TORCH].activity = Activity(factor, 0.0, HALF_S, on_cpu=True)
    # A line through both modes; clocks below 612 MHz are extrapolated by it.
    slope_w_per_hz = unit_w * max(1.0 - fall, 0.0) / (MAXN.gpu - LESS.gpu)
    fit.power |= {
        "gpu_busy_w": unit_w - slope_w_per_hz * MAXN.gpu,
        "gpu_busy_w_per_hz": slope_w_per_hz,
        "gpu_voltage_knee_hz": 1e12,
        "gpu_voltage_per_hz": 0.0,
    }
    _add_power_points(fit, full, less, predicted_w)


def _add_power_points(
    fit: BoardFit,
    full: Mapping[str, Busy],
    less: Mapping[str, Busy],
    predicted_w: Mapping[str, float],
) -> None:
    for name, busy in full.items():
        label = f"yolov8n {FULL}"
        fit.points.append(Point(NAME, name, label, "power", busy.read_w, None, busy.read_w))
    errors = []
    for name, busy in less.items():
        watts = predicted_w[name]
        errors.append(abs(relative(watts, busy.read_w)))
        fit.points.append(Point(NAME, name, "yolov8n 15W", "power", busy.read_w, watts, None))
    what = "YOLOv8n in 15W: power, largest of four run-times, each by the fall of the others"
    fit.bars.append(_bar(what, errors))
    fit.validated_on.append("power of the same at the board's input")


def _add_runtimes(
    fit: BoardFit, full: Mapping[str, ModeRow], torch: NetworkScaling, factor: float
) -> None:
    fit.runtimes[TORCH] = FoundRuntime(
        measured=f"{factor:.2f} times the Orin NX's costs in cycles, by YOLOv8n at 640 px in "
        f"{FULL} (hokwangchoi/jetson-orin-nano-benchmarks)",
        assumed="otherwise cycles are the Orin NX's, which has the same cores at higher clocks",
        network=torch,
    )
    for runtime in (FP32, INT8):
        fit.runtimes[runtime] = FoundRuntime(
            measured=f"latency over that of {FP16}: YOLOv8n at 640 px in {FULL} "
            "(hokwangchoi/jetson-orin-nano-benchmarks)",
            assumed="the same factor for every network and at all clocks",
            factor=full[runtime].latency_s / full[FP16].latency_s,
            of=FP16,
        )


def _by_other_detectors_s(fit: BoardFit, shares: Shares) -> float:
    """YOLOv8n in MAXN_SUPER by what two other detectors took on this board at lower clocks."""
    (point,) = (p for p in fit.points if p.runtime == FP16 and p.network == "yolov8n 640 px")
    assert point.predicted is not None
    return point.predicted * shares.ratio(MAXN.slower(fit.top))


def _busy(row: ModeRow, fit: BoardFit, idle: PowerModel, clocks: ClocksHz) -> Busy:
    demand = fit.workloads[f"yolov8n_640px_{row.runtime}"]
    cpu_s, gpu_s = demand.busy_s(clocks.cpu, clocks.gpu, clocks.emc)
    whole_s = _latency_s(demand, clocks)
    host, util = float(cpu_s) / whole_s, float(gpu_s) / whole_s
    rest_w = idle.total_w(
        *(clocks.cpu, clocks.gpu, clocks.emc),
        cpu_util=host,
        gpu_util=util,
        traffic_bytes_per_s=0.0,
    )
    host_w = host * float(idle.cpu_load_w(clocks.cpu))
    return Busy(float(rest_w), util, row.input_w, host_w, row.latency_s)


def _latency_s(demand: Demand, clocks: ClocksHz) -> float:
    cpu_s, gpu_s = demand.busy_s(clocks.cpu, clocks.gpu, clocks.emc)
    return float(demand.fixed_s + cpu_s + gpu_s)


def _bar(what: str, errors: Sequence[float]) -> BarRow:
    count = len(errors)
    return BarRow(what, count, count, max(errors), MODE_BAR, board=NAME, runtime="all four")
