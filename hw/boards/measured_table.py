"""Measured tables that a board can answer from: latency of a network over clocks, and power."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.regular_file import open_regular
from hw.device.power import RailPower
from hw.errors import DeviceFileError

LATENCY, FACTORIAL, POWER = (
    "tx2_tensorrt_gpu_emc_latency.csv",
    "tx2_flexibo_full_factorial.csv",
    "tx2_vgg19_rail_power.csv",
)
"""Files of the measured data, all of a Jetson TX2."""
POWER_OF, POWER_EMC_HZ = "vgg19_N2", 1_866_000_000
"""What was running while power was read, and the memory clock."""
N_CORES = "4"
"""Of the processor, in the rows over all three clocks."""
GFLOPS = {
    "ResNet50_224x224": 8.2,
    "inception_v4": 24.6,
    "vgg19_N2": 39.3,
    "yolov3-tiny-416": 5.6,
    **{f"inceptionv3_{px}px": 11.5 * (px / 299) ** 2 for px in (200, 400, 600, 800)},
    **{f"xception_{px}px": 16.8 * (px / 299) ** 2 for px in (200, 400, 600, 800)},
}
"""Operations of each network as its authors give them, in proportion to the image."""

ClocksHz = tuple[int, int, int]
"""CPU, GPU and memory clock; 0 for one that was not recorded."""


@dataclass(frozen=True, slots=True)
class MeasuredTable:
    """One network on one board.

    Attributes:
        network: name.
        flops: its operations.
        axes: ascending clocks by domain, Hz; without those that were not measured.
        latency_s: by clocks, measured.
        rails: by clocks, measured while the network runs without a pause; few or none.
    """

    network: str
    flops: float
    axes: Mapping[str, tuple[int, ...]]
    latency_s: Mapping[ClocksHz, float]
    rails: Mapping[ClocksHz, RailPower]

    def at(self, cpu_hz: float, gpu_hz: float, emc_hz: float) -> ClocksHz:
        """The row of these clocks."""
        return (round(cpu_hz) if "cpu" in self.axes else 0, round(gpu_hz), round(emc_hz))


def network_names() -> tuple[str, ...]:
    """Networks that were measured."""
    return tuple(GFLOPS)


def load(folder: Path, network: str) -> MeasuredTable:
    """Read what was measured of a network.

    Args:
        folder: with the measured data.
        network: one of `network_names`.

    Raises:
        DeviceFileError: a file is missing or damaged, or nothing was measured of the network.
    """
    if network not in GFLOPS:
        raise DeviceFileError(
            f"nothing was measured of network {network!r}; use one of {', '.join(GFLOPS)}"
        )
    name, _, px = network.rpartition("_")
    path = folder / (FACTORIAL if px.endswith("px") else LATENCY)
    try:
        if px.endswith("px"):
            latency_s = {
                (_hz(row["cpu_mhz"]), _hz(row["gpu_mhz"]), _hz(row["emc_mhz"])): float(
                    row["latency_s"]
                )
                for row in _rows(path)
                if (row["model"], f"{row['input_px']}px", row["n_cores"]) == (name, px, N_CORES)
            }
        else:
            latency_s = {
                (0, _hz(row["gpu_mhz"]), _hz(row["emc_mhz"])): 1e-3 * float(row["latency_ms"])
                for row in _rows(path)
                if row["network"] == network
            }
        rails = _rails(folder / POWER) if network == POWER_OF else {}
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceFileError(f"{path} is damaged ({error}); copy it again") from None
    axes = {
        domain: tuple(sorted({clocks[axis] for clocks in latency_s}))
        for axis, domain in enumerate(("cpu", "gpu", "emc"))
        if any(clocks[axis] for clocks in latency_s)
    }
    n_points = 1
    for points in axes.values():
        n_points *= len(points)
    if not latency_s or n_points != len(latency_s):
        raise DeviceFileError(
            f"{path} holds {len(latency_s)} rows of {network}, not one for each of its {n_points} "
            "combinations of clocks; copy it again"
        )
    return MeasuredTable(network, 1e9 * GFLOPS[network], axes, latency_s, rails)


def _rails(path: Path) -> dict[ClocksHz, RailPower]:
    names = ("gpu_w", "cpu_w", "soc_w", "ddr_w", "vdd_in_w")
    return {
        (0, _hz(row["gpu_mhz"]), POWER_EMC_HZ): RailPower(
            *(np.asarray(float(row[name])) for name in names)
        )
        for row in _rows(path)
    }


def _hz(mhz: str) -> int:
    return round(float(mhz) * 1e6)


def _rows(path: Path) -> Sequence[dict[str, str]]:
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise DeviceFileError(f"data file {path} does not exist; check --data") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DeviceFileError(f"data file {path} cannot be read: {error}; copy it again") from None
