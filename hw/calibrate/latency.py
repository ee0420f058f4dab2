"""Fits of the latency form of `Demand` to measured configurations."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares, nnls

from hw.calibrate.networks import NetworkSize, xception
from hw.calibrate.report import BarRow
from hw.calibrate.sources import DataError, LatencyRows
from hw.device.latency import Demand, NetworkScaling
from hw.device.units import Floats

N_SPLITS = 20
N_FITTED_TENSORRT = 10
TENSORRT_BAR = 0.01
FLEXIBO_BAR = 0.04
LARGEST_NORM = 10.0
NEGLIGIBLE = 1e-9


def predict_s(demand: Demand, rows: LatencyRows) -> Floats:
    """Latency of the fitted form, shape (n,), s."""
    cpu_s, gpu_s = demand.busy_s(rows.cpu_hz, rows.gpu_hz, rows.emc_hz)
    return np.asarray(demand.fixed_s + cpu_s + gpu_s)


def mean_error(predicted: Floats, measured: Floats) -> float:
    """Mean absolute error as a share of the measured values."""
    return float(np.mean(np.abs(predicted / measured - 1.0)))


def fit(rows: LatencyRows, *, cpu: bool, free_norm: bool) -> Demand:
    """Fit the latency form by least squares of relative errors.

    Args:
        rows: measured configurations.
        cpu: whether the host's clock matters and is known.
        free_norm: whether the overlap norm is fitted; otherwise it is 2.

    Raises:
        DataError: fewer configurations than parameters.
    """
    n_parameters = 3 + cpu + free_norm
    if len(rows.latency_s) < n_parameters:
        raise DataError(
            f"{len(rows.latency_s)} configurations are too few to fit {n_parameters} latency "
            "parameters; copy the data files again"
        )
    typical_s = float(np.median(rows.latency_s))
    scale = np.array(
        [
            0.05 * typical_s,
            0.6 * typical_s * float(np.median(rows.gpu_hz)),
            0.6 * typical_s * float(np.median(rows.emc_hz)),
            *([0.1 * typical_s * float(np.median(rows.cpu_hz))] if cpu else []),
            *([2.0] if free_norm else []),
        ]
    )
    lower = np.zeros_like(scale)
    upper = np.full_like(scale, np.inf)
    if free_norm:
        lower[-1], upper[-1] = 1.0 / 2.0, LARGEST_NORM / 2.0

    def demand(factors: Floats) -> Demand:
        # The solver stops a hair above a bound of 0.
        values = [float(value) for value in np.where(factors < NEGLIGIBLE, 0.0, factors) * scale]
        return Demand(
            fixed_s=values[0],
            cpu_cycles=values[3] if cpu else 0.0,
            gpu_cycles=values[1],
            emc_cycles=values[2],
            overlap_norm=values[-1] if free_norm else 2.0,
        )

    def residuals(factors: Floats) -> Floats:
        return predict_s(demand(factors), rows) / rows.latency_s - 1.0

    found = least_squares(
        residuals, np.ones_like(scale), bounds=(lower, upper), xtol=1e-12, ftol=1e-12
    )
    return demand(found.x)


def tensorrt_row(name: str, rows: LatencyRows) -> BarRow:
    """Error on the configurations left over by fits to ten; mean over seeded draws."""
    errors = []
    for seed in range(N_SPLITS):
        fitted = np.zeros(len(rows.latency_s), dtype=np.bool_)
        chosen = np.random.default_rng(seed).permutation(len(fitted))[:N_FITTED_TENSORRT]
        fitted[chosen] = True
        held_out = rows.take(~fitted)
        demand = fit(rows.take(fitted), cpu=False, free_norm=True)
        errors.append(mean_error(predict_s(demand, held_out), held_out.latency_s))
    return BarRow(
        f"TensorRT latency, {name}, mean of {N_SPLITS} draws",
        N_FITTED_TENSORRT,
        len(rows.latency_s) - N_FITTED_TENSORRT,
        float(np.mean(errors)),
        TENSORRT_BAR,
    )


def leave_one_out_row(rows: LatencyRows) -> BarRow:
    """Mean error at each configuration of the unnamed light load, fitted to the others."""
    n_rows = len(rows.latency_s)
    errors = []
    for index in range(n_rows):
        held_out = np.arange(n_rows) == index
        one = rows.take(held_out)
        demand = fit(rows.take(~held_out), cpu=True, free_norm=False)
        errors.append(mean_error(predict_s(demand, one), one.latency_s))
    return BarRow(
        "unicorn latency, memory from 204 MHz, each left out once",
        n_rows - 1,
        n_rows,
        float(np.mean(errors)),
    )


def flexibo_row(workloads: dict[tuple[str, int], LatencyRows]) -> BarRow:
    """Mean error over workloads, each fitted to half of its clock triples."""
    errors, n_fitted, n_held_out = [], 0, 0
    for rows in workloads.values():
        triple = rows.configurations()
        order = np.random.default_rng(0).permutation(int(triple.max()) + 1)
        fitted = np.isin(triple, order[: len(order) // 2])
        held_out = rows.take(~fitted)
        demand = fit(rows.take(fitted), cpu=True, free_norm=False)
        errors.append(mean_error(predict_s(demand, held_out), held_out.latency_s))
        n_fitted += int(fitted.sum())
        n_held_out += int((~fitted).sum())
    return BarRow(
        f"FlexiBO latency, mean of {len(errors)} workloads, 2 or more cores",
        n_fitted,
        n_held_out,
        float(np.mean(errors)),
        FLEXIBO_BAR,
    )


def fit_scaling(demands: dict[int, Demand]) -> NetworkScaling:
    """Turn the demands of Xception at several input sizes into costs per kernel, FLOP and byte.

    The fixed time grows with the image, not with the network: what pixels explain is left out.

    Args:
        demands: fitted demand by input size in pixels.
    """
    sizes = {px: xception(px) for px in demands}
    kernels = _column(sizes, "kernels")
    pixels = np.array([float(px * px) for px in demands])
    gpu = _nonnegative(demands, "gpu_cycles", kernels, _column(sizes, "flops"))
    emc = _nonnegative(demands, "emc_cycles", kernels, _column(sizes, "traffic_bytes"))
    fixed = _nonnegative(demands, "fixed_s", kernels, pixels, relative=False)
    cpu_cycles = np.array([float(demand.cpu_cycles) for demand in demands.values()])
    return NetworkScaling(
        fixed_s_per_kernel=fixed[0],
        cpu_cycles_per_kernel=float(np.mean(cpu_cycles / kernels)),
        cpu_cycles_per_flop=0.0,
        gpu_cycles_per_kernel=gpu[0],
        gpu_cycles_per_flop=gpu[1],
        emc_cycles_per_kernel=emc[0],
        emc_cycles_per_byte=emc[1],
    )


def scaling_row(workloads: dict[int, LatencyRows], demands: dict[int, Demand]) -> BarRow:
    """Error at each input size of Xception when the scaling is fitted to the other sizes."""
    errors = []
    for px, rows in workloads.items():
        others = {size: demand for size, demand in demands.items() if size != px}
        size = xception(px)
        demand = fit_scaling(others).demand(size.flops, size.traffic_bytes, size.kernels)
        errors.append(mean_error(predict_s(demand, rows), rows.latency_s))
    n_rows = sum(len(rows.latency_s) for rows in workloads.values())
    return BarRow(
        "Xception latency scaled from its other input sizes",
        n_rows * (len(workloads) - 1) // len(workloads),
        n_rows,
        float(np.mean(errors)),
    )


def _column(sizes: dict[int, NetworkSize], name: str) -> Floats:
    return np.array([float(getattr(size, name)) for size in sizes.values()])


def _nonnegative(
    demands: dict[int, Demand], name: str, first: Floats, second: Floats, relative: bool = True
) -> tuple[float, float]:
    """Coefficients of both columns, 0 or more, in least squares (of relative errors)."""
    target = np.array([float(getattr(demand, name)) for demand in demands.values()])
    weight = 1.0 / target if relative else np.ones_like(target)
    columns = np.stack([first / first.max(), second / second.max()], axis=1)
    unit = float(target.max())
    found, _ = nnls(columns * weight[:, None], target * weight / unit)
    return float(found[0] * unit / first.max()), float(found[1] * unit / second.max())
