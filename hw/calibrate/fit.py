"""The device model of the Jetson TX2, fitted to published measurements."""

from __future__ import annotations

from pathlib import Path

from hw.calibrate import latency, power, sources, tx2
from hw.calibrate.report import CalibrationReport

__all__ = ["CalibrationReport", "calibrate"]


def calibrate(data_dir: Path) -> CalibrationReport:
    """Refit the Jetson TX2 and take every error on configurations that were not fitted on.

    Deterministic: draws are seeded. The coefficients of the device file are then fitted to all
    configurations.

    Args:
        data_dir: folder with the measured data (CSV).

    Raises:
        DataError: a file is missing, lacks a column or holds something that is no number.
    """
    engines = sources.tensorrt(data_dir)
    flexibo = sources.flexibo(data_dir)
    light_rows = sources.light_load(data_dir)
    vgg19_rows = sources.vgg19(data_dir)
    _require("xception", {name for name, _ in flexibo}, sources.FLEXIBO)
    for name in tx2.TENSORRT_NAMES:
        _require(name, set(engines), sources.TENSORRT)
    tensorrt = {name: engines[name] for name in tx2.TENSORRT_NAMES}

    workloads = {
        tx2.TENSORRT_NAMES[name]: latency.fit(rows, cpu=False, free_norm=True)
        for name, rows in tensorrt.items()
    }
    keras = {key: latency.fit(rows, cpu=True, free_norm=False) for key, rows in flexibo.items()}
    workloads |= {f"{name}_{px}px_tensorflow": demand for (name, px), demand in keras.items()}
    xception = {px: demand for (name, px), demand in keras.items() if name == "xception"}
    xception_rows = {px: rows for (name, px), rows in flexibo.items() if name == "xception"}
    light = power.fit_light_load(light_rows)
    model = power.fit_power(light, vgg19_rows, workloads["vgg19_tensorrt"])

    rows = [latency.tensorrt_row(name, rows) for name, rows in tensorrt.items()]
    rows.append(latency.flexibo_row(flexibo))
    rows.extend(power.vgg19_rows(light, vgg19_rows, tensorrt["vgg19_N2"]))
    rows.append(latency.leave_one_out_row(sources.unicorn_latency(data_dir)))
    rows.append(latency.scaling_row(xception_rows, xception))
    rows.append(power.light_load_row(model, light_rows))
    network = latency.fit_scaling(xception)
    return CalibrationReport(tuple(rows), tx2.device_toml(network, model, workloads))


def _require(name: str, present: set[str], file: str) -> None:
    if name not in present:
        raise sources.DataError(f"data file {file} holds no rows of {name!r}; copy it again")
