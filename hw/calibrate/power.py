"""Fits of the power model: idle levels to a light load, busy levels to VGG19 in a closed loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

from hw.calibrate.latency import fit, mean_error, predict_s
from hw.calibrate.networks import vgg19
from hw.calibrate.report import BarRow
from hw.calibrate.sources import LatencyRows, RailRows, Vgg19Rows
from hw.device.latency import Demand
from hw.device.power import PowerModel, RailPower
from hw.device.units import Floats

CORE_BUSY_W = 1.073
"""Rail of the A57 cluster, one core busy at the highest clock (simulator notes, section 4)."""
CORE_IDLE_W = 0.152
"""The same, idle."""
CORE_ANCHOR_HZ = 2035.2e6

VGG19_CPU_HZ = 345.6e6
"""CPU clock during the VGG19 runs: not recorded, assumed idle at the lowest point."""
VGG19_EMC_HZ = 1866e6
VGG19_PX = 224

RAIL_BAR = 0.03
OPTIMUM_HZ = (854e6, 931e6)


@dataclass(frozen=True, slots=True)
class LightLoad:
    """Idle terms of the power model, as far as a light load shows them; SI units."""

    gpu: Floats
    cpu: Floats
    memory_w_per_emc_hz: float


def fit_light_load(rows: RailRows) -> LightLoad:
    """Fit how the rails rise with the clocks when hardly loaded.

    The GPU's idle level takes the whole light load; the CPU's part that its busy time explains
    (core anchors, busy share from the fitted latency) is taken off first.
    """
    clocks = rows.clocks
    demand = fit(clocks, cpu=True, free_norm=False)
    busy = demand.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)[0] / predict_s(demand, clocks)
    idle_cpu_w = rows.cpu_w - busy * _core_w_per_hz3() * clocks.cpu_hz**3
    ones = np.ones_like(rows.gpu_w)
    rest_w = rows.total_w - rows.gpu_w - rows.cpu_w
    memory = _nonnegative([ones, clocks.emc_hz], rest_w)
    return LightLoad(
        gpu=_nonnegative([ones, clocks.gpu_hz**3, clocks.emc_hz], rows.gpu_w),
        cpu=_nonnegative([ones, clocks.cpu_hz**3, clocks.emc_hz], idle_cpu_w),
        memory_w_per_emc_hz=float(memory[1]),
    )


def fit_power(light: LightLoad, rows: Vgg19Rows, demand: Demand) -> PowerModel:
    """Fit what a saturated GPU and its memory traffic add, and the board around the rails.

    Args:
        light: idle terms.
        rows: VGG19 configurations to fit on.
        demand: VGG19's fitted latency, for the busy share and the rate.
    """
    _, gpu_util, bytes_per_s = _vgg19_load(rows.gpu_hz, demand)
    board_w, board_share = _line(rows.gpu_w + rows.cpu_w + rows.soc_w + rows.ddr_w, rows.total_w)
    soc_w, soc_j_per_byte = _line(bytes_per_s, rows.soc_w)
    ddr_w, ddr_j_per_byte = _line(bytes_per_s, rows.ddr_w)
    # How the light load's memory slope divides between both rails is not known: as their levels.
    slope = light.memory_w_per_emc_hz / board_share / (soc_w + ddr_w)
    gpu_idle_w = light.gpu[0] + light.gpu[1] * rows.gpu_hz**3 + light.gpu[2] * VGG19_EMC_HZ
    busy = _fit_gpu(rows.gpu_hz, (rows.gpu_w - (1.0 - gpu_util) * gpu_idle_w) / gpu_util)
    cpu_clock_w = light.cpu[1] * VGG19_CPU_HZ**3 + light.cpu[2] * VGG19_EMC_HZ
    return PowerModel(
        board_w=board_w,
        board_share=board_share,
        gpu_idle_w=float(light.gpu[0]),
        gpu_idle_w_per_hz3=float(light.gpu[1]),
        gpu_idle_w_per_emc_hz=float(light.gpu[2]),
        gpu_busy_w=busy[0],
        gpu_busy_w_per_hz=busy[1],
        gpu_voltage_knee_hz=busy[2],
        gpu_voltage_per_hz=busy[3],
        cpu_idle_w=float(np.mean(rows.cpu_w)) - float(cpu_clock_w),
        cpu_idle_w_per_hz3=float(light.cpu[1]),
        cpu_idle_w_per_emc_hz=float(light.cpu[2]),
        cpu_busy_w_per_hz3=_core_w_per_hz3(),
        soc_idle_w=soc_w * (1.0 - slope * VGG19_EMC_HZ),
        soc_w_per_emc_hz=soc_w * slope,
        soc_j_per_byte=soc_j_per_byte,
        ddr_idle_w=ddr_w * (1.0 - slope * VGG19_EMC_HZ),
        ddr_w_per_emc_hz=ddr_w * slope,
        ddr_j_per_byte=ddr_j_per_byte,
        peak_traffic_bytes_per_s=float(bytes_per_s.max()),
    )


def vgg19_rails_w(power: PowerModel, gpu_hz: Floats, demand: Demand) -> RailPower:
    """Modelled rails of VGG19 in a closed loop, shape (n,), W."""
    _, gpu_util, bytes_per_s = _vgg19_load(gpu_hz, demand)
    return power.rails_w(
        VGG19_CPU_HZ,
        gpu_hz,
        VGG19_EMC_HZ,
        cpu_util=0.0,
        gpu_util=gpu_util,
        traffic_bytes_per_s=bytes_per_s,
    )


def vgg19_rows(light: LightLoad, rows: Vgg19Rows, latency: LatencyRows) -> list[BarRow]:
    """Errors per rail on every second GPU clock, fitted to the others, and of the optimum.

    Args:
        light: idle terms.
        rows: VGG19 rail power.
        latency: VGG19 latency over GPU and memory clocks; held-out GPU clocks are left out here
            too.
    """
    fitted = np.arange(len(rows.gpu_hz)) % 2 == 0
    known = np.isin(np.round(latency.gpu_hz), np.round(rows.gpu_hz[fitted]))
    demand = fit(latency.take(known), cpu=False, free_norm=True)
    power = fit_power(light, _take(rows, fitted), demand)
    rails = vgg19_rails_w(power, rows.gpu_hz, demand)
    measured = {
        "GPU": (rails.gpu_w, rows.gpu_w),
        "SOC": (rails.soc_w, rows.soc_w),
        "CPU": (np.broadcast_to(rails.cpu_w, rows.cpu_w.shape), rows.cpu_w),
        "DDR": (rails.ddr_w, rows.ddr_w),
        "VDD_IN": (rails.total_w, rows.total_w),
    }
    n_fitted, n_held_out = int(fitted.sum()), int((~fitted).sum())
    result = [
        BarRow(
            f"VGG19 {name} power",
            n_fitted,
            n_held_out,
            mean_error(modelled_w[~fitted], measured_w[~fitted]),
            RAIL_BAR,
        )
        for name, (modelled_w, measured_w) in measured.items()
    ]
    energy_j = rails.total_w * _vgg19_load(rows.gpu_hz, demand)[0]
    best = int(np.argmin(energy_j))
    # As a share of the nearer end of the allowed band, so that a bar of 0 means inside it.
    outside = max(OPTIMUM_HZ[0] / rows.gpu_hz[best], rows.gpu_hz[best] / OPTIMUM_HZ[1]) - 1.0
    result.append(
        BarRow(
            f"VGG19 energy optimum ({rows.gpu_hz[best] / 1e6:.0f} MHz) outside 854-931 MHz",
            n_fitted,
            n_held_out,
            max(float(outside), 0.0),
            0.0,
        )
    )
    return result


def light_load_row(power: PowerModel, rows: RailRows) -> BarRow:
    """Error of the whole model on the light load, its GPU taken as idle; for information."""
    clocks = rows.clocks
    demand = fit(clocks, cpu=True, free_norm=False)
    busy = demand.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)[0] / predict_s(demand, clocks)
    total_w = power.total_w(
        clocks.cpu_hz,
        clocks.gpu_hz,
        clocks.emc_hz,
        cpu_util=busy,
        gpu_util=0.0,
        traffic_bytes_per_s=0.0,
    )
    n_rows = len(rows.total_w)
    return BarRow(
        "light load total power (GPU idle; in sample)",
        n_rows,
        n_rows,
        mean_error(total_w, rows.total_w),
    )


def _vgg19_load(gpu_hz: Floats, demand: Demand) -> tuple[Floats, Floats, Floats]:
    """Latency s, GPU busy share and memory traffic B/s of VGG19 in a closed loop."""
    gpu_s = demand.busy_s(VGG19_CPU_HZ, gpu_hz, VGG19_EMC_HZ)[1]
    latency_s = np.asarray(demand.fixed_s + gpu_s)
    return latency_s, gpu_s / latency_s, vgg19(VGG19_PX).traffic_bytes / latency_s


def _fit_gpu(gpu_hz: Floats, busy_w: Floats) -> tuple[float, float, float, float]:
    """Base, slope, voltage knee and voltage slope of a saturated GPU."""
    giga = gpu_hz / 1e9

    def residuals(factors: Floats) -> Floats:
        base, slope, knee, rise = factors
        volt = 1.0 + rise * np.maximum(giga - knee, 0.0)
        return np.asarray(volt * (base + slope * giga * volt) / busy_w - 1.0)

    found = least_squares(residuals, [0.1, 3.5, 0.8, 0.5], bounds=(0.0, np.inf)).x
    return float(found[0]), float(found[1]) / 1e9, float(found[2]) * 1e9, float(found[3]) / 1e9


def _core_w_per_hz3() -> float:
    return (CORE_BUSY_W - CORE_IDLE_W) / CORE_ANCHOR_HZ**3


def _nonnegative(columns: list[Floats], target: Floats) -> Floats:
    """Coefficients of 0 or more in least squares of relative errors."""
    scales = np.array([column.max() for column in columns])
    matrix = np.stack(columns, axis=1) / scales
    found, _ = nnls(matrix / target[:, None], np.ones_like(target))
    return np.asarray(found / scales)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Intercept and slope in least squares of relative errors."""
    intercept, slope = _nonnegative([np.ones_like(x), x], y)
    return float(intercept), float(slope)


def _take(rows: Vgg19Rows, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Vgg19Rows:
    return Vgg19Rows(
        **{name: getattr(rows, name)[chosen] for name in Vgg19Rows.__dataclass_fields__}
    )
