"""Run-times on Jetsons by detectors: TensorRT in fp16, and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from hw.calibrate.measured.architectures import size_of
from hw.calibrate.measured.found import BoardFit, FoundRuntime
from hw.calibrate.measured.shares import HOST, Shares, columns_of, scaling, sized
from hw.calibrate.measured.tables import DetectorRow, relative
from hw.calibrate.report import BarRow, Point
from hw.device.units import Floats

FP16, TORCH = "tensorrt-fp16", "torch"
SIZED = ("yolov8n", "yolov8s", "yolov8m")
SMALLEST_PX = 160
"""Input size at which PyTorch takes as long for every detector of a depth: the host's time."""


def fit_fp16(
    rows: Sequence[DetectorRow], device: str, name: str, fit: BoardFit, parts: Sequence[Shares]
) -> None:
    """TensorRT in fp16 from three YOLOv8 at eight input sizes; each network held out for the table.

    Args:
        rows: of all boards.
        device: as the detectors' table names it.
        name: of the device.
        fit: of the board so far.
        parts: division between the clocks of the cost per kernel, operation and byte.
    """
    mine = _of(rows, device, "tensorrt")
    seconds = _seconds(mine)
    fit.runtimes[FP16] = FoundRuntime(
        measured="latency at full speed of three detectors (YOLOv8 n, s, m) at eight input sizes "
        "under TensorRT (justincdavis/trtutils)",
        assumed="precision is not recorded: taken as fp16, as the times agree with those of an "
        "Orin Nano in fp16; clocks not recorded, taken as the highest; division between the clocks "
        "as under tensorrt-int8"
        + ("" if name in ("agx-orin", "xavier-nx") else ", on the AGX Orin"),
        network=scaling(seconds, parts, fit.top),
    )
    _held_out(mine, seconds, name, FP16, fit)


def fit_torch(
    rows: Sequence[DetectorRow], device: str, name: str, fit: BoardFit, rest: Shares
) -> None:
    """PyTorch from the same detectors: the smallest input shows the host, the rest what is left.

    Args:
        rows: of all boards.
        device: as the detectors' table names it.
        name: of the device.
        fit: of the board so far.
        rest: division between the clocks of what is not the host's.
    """
    mine = _of(rows, device, "ultralytics(torch)")
    seconds = _torch_seconds(mine)
    fit.runtimes[TORCH] = FoundRuntime(
        measured="latency at full speed of three detectors (YOLOv8 n, s, m) at eight input sizes "
        "under PyTorch (Ultralytics; justincdavis/trtutils)",
        assumed="what the smallest input takes is the host's and follows the CPU clock, the rest "
        "GPU and memory; clocks not recorded, taken as the highest",
        network=scaling(seconds, (HOST, rest, rest), fit.top),
    )
    _held_out(mine, seconds, name, TORCH, fit)


def _of(rows: Sequence[DetectorRow], device: str, framework: str) -> list[DetectorRow]:
    return [
        row
        for row in rows
        if (row.device, row.framework) == (device, framework) and row.network in SIZED
    ]


def _columns(row: DetectorRow) -> Floats:
    size = size_of(row.network, row.px)
    assert size is not None
    return columns_of(size)


def _seconds(rows: Sequence[DetectorRow]) -> Floats:
    sizes = [size for row in rows if (size := size_of(row.network, row.px))]
    return sized(sizes, np.array([row.latency_s for row in rows]))


def _torch_seconds(rows: Sequence[DetectorRow]) -> Floats:
    smallest = [row for row in rows if row.px == SMALLEST_PX]
    host = float(np.median([row.latency_s / _columns(row)[0] for row in smallest]))
    columns = np.array([_columns(row) for row in rows])
    latency_s = np.array([row.latency_s for row in rows])
    left = np.maximum(1.0 - host * columns[:, 0] / latency_s, 0.0)
    scale = columns.max(axis=0)
    found, _ = nnls((columns / scale)[:, 1:] / latency_s[:, None], left)
    return np.array([host, *(found / scale[1:])])


def _held_out(
    rows: Sequence[DetectorRow], seconds: Floats, name: str, runtime: str, fit: BoardFit
) -> None:
    how = _torch_seconds if runtime == TORCH else _seconds
    errors = []
    for network in SIZED:
        without = how([row for row in rows if row.network != network])
        for row in rows:
            if row.network != network:
                continue
            predicted, fitted = (float(_columns(row) @ some) for some in (without, seconds))
            errors.append(abs(relative(predicted, row.latency_s)))
            label = f"{network} {row.px} px"
            fit.points.append(
                Point(name, runtime, label, "latency", row.latency_s, predicted, fitted)
            )
    fit.bars.append(
        BarRow(
            "latency at full speed, each of three detectors held out",
            *(len(rows), len(rows)),
            float(np.mean(errors)),
            board=name,
            runtime=runtime,
        )
    )
