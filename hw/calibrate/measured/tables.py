"""Reading of measurements of whole boards; rows that must not be used are left out here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.calibrate.sources import SourceTable

MLPERF = "mlperf_jetson_clocks_latency_wall_power.csv"
PROCESSORS = "mlperf_cpu_boards_latency_wall_power.csv"
DETECTORS = "jetson_detectors_latency_by_input_size.csv"
YOLO_MODES = "orin_nano_super_yolov8n.csv"
ALL = (MLPERF, PROCESSORS, DETECTORS, YOLO_MODES)


@dataclass(frozen=True, slots=True)
class Submission:
    """One row of an MLPerf submission on a Jetson; clocks and power are NaN where not stated.

    Attributes:
        release: of MLPerf Inference; another one is other software.
        board: as the submission names it.
        network: without its accuracy target.
        scenario: SingleStream (one input at a time) or MultiStream (eight).
        latency_s: mean, s.
        cpu_hz: CPU clock, Hz.
        gpu_hz: GPU clock, Hz.
        emc_hz: memory clock, Hz.
        wall_w: mean power at the mains plug, W.
        is_efficient: whether it was run at the clocks for least power ("MaxQ").
    """

    release: str
    board: str
    network: str
    scenario: str
    latency_s: float
    cpu_hz: float
    gpu_hz: float
    emc_hz: float
    wall_w: float
    is_efficient: bool


def submissions(folder: Path) -> list[Submission]:
    """Rows whose latency means something: SingleStream and MultiStream, each network once.

    Left out: Offline (it uses other accelerators too), and 3d-unet-99.9, the same run as
    3d-unet-99.
    """
    table = SourceTable(folder / MLPERF)
    latency_s = table.numbers("mean_ms", 1e-3, empty=True)
    cpu, gpu, emc = (table.numbers(f"{k}_mhz", 1e6, empty=True) for k in ("cpu", "gpu", "emc"))
    wall_w = table.numbers("wall_w", empty=True)
    names = ("version", "board", "network", "scenario", "maxq")
    texts = zip(*(table.texts(name) for name in names), strict=True)
    return [
        Submission(
            release,
            board,
            network.removesuffix("-99"),
            scenario,
            latency_s=float(latency_s[line]),
            cpu_hz=float(cpu[line]),
            gpu_hz=float(gpu[line]),
            emc_hz=float(emc[line]),
            wall_w=float(wall_w[line]),
            is_efficient=maxq == "1",
        )
        for line, (release, board, network, scenario, maxq) in enumerate(texts)
        if scenario in ("SingleStream", "MultiStream") and network != "3d-unet-99.9"
    ]


@dataclass(frozen=True, slots=True)
class ProcessorRow:
    """A network on a board's processors, whose clocks are not stated: s and W (NaN if not read)."""

    release: str
    board: str
    engine: str
    network: str
    latency_s: float
    wall_w: float


def processors(folder: Path) -> list[ProcessorRow]:
    """Rows in float32 that were measured at full speed and with the same cooling.

    Left out: quantised networks, power modes below the largest, runs without a fan, and the first
    release on the Pi 4, whose power holds an accelerator that was plugged in.
    """
    table = SourceTable(folder / PROCESSORS)
    latency_s = table.numbers("mean_ms", 1e-3)
    wall_w = table.numbers("wall_w", empty=True)
    names = ("version", "board", "engine", "network", "power_mode", "fan", "submitter")
    rows = []
    for line, texts in enumerate(zip(*(table.texts(name) for name in names), strict=True)):
        release, board, engine, network, mode, fan, submitter = texts
        is_float = not network.endswith(("-quantized", "_uint8")) or network.endswith(
            "-non-quantized"
        )
        has_stick = board == "pi4" and release == "1.0"
        if is_float and mode in ("", "MAXN") and fan != "off" and not has_stick:
            engine = engine if submitter == "Krai" else f"{engine} ({submitter})"
            rows.append(
                ProcessorRow(
                    release, board, engine, network, float(latency_s[line]), float(wall_w[line])
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """A detector at an input size; clocks were not recorded, the highest are taken."""

    device: str
    framework: str
    network: str
    px: int
    latency_s: float


def detectors(folder: Path) -> list[DetectorRow]:
    """Detectors under TensorRT alone, or under PyTorch by Ultralytics."""
    table = SourceTable(folder / DETECTORS)
    px, latency_s = table.numbers("input_px"), table.numbers("mean_ms", 1e-3)
    texts = zip(*(table.texts(name) for name in ("device", "framework", "network")), strict=True)
    return [
        DetectorRow(device, framework, network, int(px[line]), float(latency_s[line]))
        for line, (device, framework, network) in enumerate(texts)
        if framework in ("tensorrt", "ultralytics(torch)")
    ]


@dataclass(frozen=True, slots=True)
class ModeRow:
    """YOLOv8n at 640 px on an Orin Nano Super: run-time, power mode, s, and W at the input."""

    mode: str
    runtime: str
    latency_s: float
    input_w: float


def yolo_modes(folder: Path) -> list[ModeRow]:
    """All rows; the latency is the GPU's, without copies."""
    table = SourceTable(folder / YOLO_MODES)
    runtimes = [
        "torch" if name == "PyTorch" else f"tensorrt-{precision.lower()}"
        for name, precision in zip(table.texts("runtime"), table.texts("precision"), strict=True)
    ]
    latency_s, input_w = table.numbers("gpu_ms", 1e-3), table.numbers("power_w")
    return [
        ModeRow(mode, runtimes[line], float(latency_s[line]), float(input_w[line]))
        for line, mode in enumerate(table.texts("power_mode"))
    ]


def relative(predicted: float, measured: float) -> float:
    """Signed error as a share of the measured value."""
    return float(np.divide(predicted, measured)) - 1.0
