"""Reading of the measured data; what must not be used as measured is left out here."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.regular_file import open_regular
from hw.device.units import Floats
from hw.errors import HardwareError

TENSORRT = "tx2_tensorrt_gpu_emc_latency.csv"
VGG19_POWER = "tx2_vgg19_rail_power.csv"
FLEXIBO = "tx2_flexibo_full_factorial.csv"
UNICORN = "tx2_unicorn_58configs.csv"

LOWEST_EMC_HZ = 204e6
"""Below, the memory clock is not 1/f: 102 and 68 MHz take seconds, 40.8 MHz 20 s and more."""


class DataError(HardwareError):
    """A data file is missing, lacks a column or holds something that is no number."""


@dataclass(frozen=True, slots=True)
class LatencyRows:
    """Latency of one workload over configurations; arrays of shape (n,), Hz and s."""

    cpu_hz: Floats
    gpu_hz: Floats
    emc_hz: Floats
    latency_s: Floats

    def take(self, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> LatencyRows:
        """Select rows by a mask."""
        return LatencyRows(
            self.cpu_hz[rows], self.gpu_hz[rows], self.emc_hz[rows], self.latency_s[rows]
        )

    def configurations(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Number of each row's clock triple, so that repeats of a triple stay together."""
        triples = np.stack([self.cpu_hz, self.gpu_hz, self.emc_hz], axis=1)
        return np.unique(triples, axis=0, return_inverse=True)[1].ravel()


@dataclass(frozen=True, slots=True)
class RailRows:
    """Rail power over configurations; arrays of shape (n,), Hz, s and W."""

    clocks: LatencyRows
    gpu_w: Floats
    cpu_w: Floats
    total_w: Floats

    def take(self, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> RailRows:
        """Select rows by a mask."""
        return RailRows(
            self.clocks.take(rows), self.gpu_w[rows], self.cpu_w[rows], self.total_w[rows]
        )


@dataclass(frozen=True, slots=True)
class Vgg19Rows:
    """VGG19 in a closed loop at 13 GPU clocks; arrays of shape (13,), Hz, s, W and J."""

    gpu_hz: Floats
    latency_s: Floats
    gpu_w: Floats
    cpu_w: Floats
    soc_w: Floats
    ddr_w: Floats
    total_w: Floats
    energy_j: Floats


class SourceTable:
    """A CSV file by columns."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            DataError: missing, unreadable or empty.
        """
        self._path = path
        try:
            with io.TextIOWrapper(open_regular(path), "utf-8", newline="") as file:
                self._rows = list(csv.DictReader(file))
        except FileNotFoundError:
            raise DataError(f"data file {path} does not exist; check --data") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"data file {path} cannot be read: {error}; copy it again") from None
        if not self._rows:
            raise DataError(f"data file {path} holds no rows; copy it again")

    def texts(self, column: str) -> list[str]:
        """One column as text."""
        if column not in self._rows[0]:
            raise DataError(f"data file {self._path} has no column {column!r}; copy it again")
        return [row[column] for row in self._rows]

    def numbers(self, column: str, scale: float = 1.0, *, empty: bool = False) -> Floats:
        """One column as finite numbers above 0, multiplied by `scale`.

        Args:
            column: its name.
            scale: factor.
            empty: whether a cell may be empty; it becomes NaN.
        """
        values = []
        for line, text in enumerate(self.texts(column), start=2):
            if empty and text == "":
                values.append(float("nan"))
                continue
            try:
                values.append(float(text))
            except (TypeError, ValueError):
                values.append(float("nan"))
            if not 0 < values[-1] < float("inf"):
                raise DataError(
                    f"data file {self._path}, line {line}: {column} is {text!r}, not a number "
                    "above 0; copy the file again"
                )
        return np.array(values) * scale


def tensorrt(folder: Path) -> dict[str, LatencyRows]:
    """TensorRT engines over GPU and memory clocks; the CPU clock is unknown (given as 1 Hz)."""
    table = SourceTable(folder / TENSORRT)
    rows = LatencyRows(
        np.ones(len(table.texts("network"))),
        table.numbers("gpu_mhz", 1e6),
        table.numbers("emc_mhz", 1e6),
        table.numbers("latency_ms", 1e-3),
    )
    names = np.array(table.texts("network"))
    return {str(name): rows.take(names == name) for name in np.unique(names)}


def flexibo(folder: Path) -> dict[tuple[str, int], LatencyRows]:
    """Networks at input sizes over all three clocks, two or more cores."""
    table = SourceTable(folder / FLEXIBO)
    names = np.array(table.texts("model"))
    sizes_px = table.numbers("input_px").astype(int)
    emc_hz = table.numbers("emc_mhz", 1e6)
    usable = (table.numbers("n_cores") >= 2) & (emc_hz >= LOWEST_EMC_HZ)
    rows = LatencyRows(
        table.numbers("cpu_mhz", 1e6),
        table.numbers("gpu_mhz", 1e6),
        emc_hz,
        table.numbers("latency_s"),
    )
    return {
        (str(name), int(px)): rows.take(usable & (names == name) & (sizes_px == px))
        for name in np.unique(names)
        for px in np.unique(sizes_px)
    }


def unicorn_latency(folder: Path) -> LatencyRows:
    """An unnamed light load over all three clocks: median latency."""
    rows = _unicorn_clocks(SourceTable(folder / UNICORN))
    return rows.take(rows.emc_hz >= LOWEST_EMC_HZ)


def light_load(folder: Path) -> RailRows:
    """Rail power of the same load; only rows whose mean power could be told apart."""
    table = SourceTable(folder / UNICORN)
    clocks = _unicorn_clocks(table)
    rows = RailRows(
        clocks,
        table.numbers("power_gpu_rail_w"),
        table.numbers("power_cpu_rail_w"),
        table.numbers("power_total_w"),
    )
    clear = np.array(table.texts("n_samples_inference")) == "clear"
    return rows.take(clear & (clocks.emc_hz >= LOWEST_EMC_HZ))


def _unicorn_clocks(table: SourceTable) -> LatencyRows:
    return LatencyRows(
        table.numbers("cpu_mhz", 1e6),
        table.numbers("gpu_mhz", 1e6),
        table.numbers("emc_mhz", 1e6),
        table.numbers("latency_median_s"),
    )


def vgg19(folder: Path) -> Vgg19Rows:
    """VGG19 under TensorRT, memory at 1866 MHz."""
    table = SourceTable(folder / VGG19_POWER)
    return Vgg19Rows(
        gpu_hz=table.numbers("gpu_mhz", 1e6),
        latency_s=table.numbers("latency_ms", 1e-3),
        gpu_w=table.numbers("gpu_w"),
        cpu_w=table.numbers("cpu_w"),
        soc_w=table.numbers("soc_w"),
        ddr_w=table.numbers("ddr_w"),
        total_w=table.numbers("vdd_in_w"),
        energy_j=table.numbers("joule_per_inference"),
    )
