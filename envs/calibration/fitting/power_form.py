"""Power form of a device file, fitted to the power at a board's input.

The form is that of `hw.device.power.PowerModel`, its rails taken together: nobody sees what a rail
draws by itself, and nothing that a policy chooses depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from envs.arrays import Floats
from envs.calibration.fitting import nonnegative
from envs.calibration.fitting.latency_form import Rows
from hw.device.power import PowerModel

KNEES = (0.0, 0.25, 0.5, 0.75)
"""Clocks from which on the GPU's voltage rises, as shares of its range."""
RISES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Relative rise of the voltage from there to the top; 0.35 is the TX2's."""
FLAT = (1e12, 0.0)
"""Knee in Hz and slope in 1/Hz of a voltage that does not rise."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a board does while its power is read; n readings.

    Attributes:
        rows: with the clocks.
        cpu_util: share of the time during which the processor works, shape (n,).
        gpu_util: the same of the GPU.
        traffic_bytes_per_s: of memory.
    """

    rows: Rows
    cpu_util: Floats
    gpu_util: Floats
    traffic_bytes_per_s: Floats

    def take(self, chosen: np.ndarray) -> Load:
        """Some of them, by index or by truth value."""
        return Load(
            self.rows.take(chosen),
            self.cpu_util[chosen],
            self.gpu_util[chosen],
            self.traffic_bytes_per_s[chosen],
        )


@dataclass(frozen=True, slots=True)
class FittedPower:
    """Parameters of the form.

    Attributes:
        values: by name of `PowerModel`'s attributes.
        voltage: knee in Hz and slope in 1/Hz of the GPU's voltage.
    """

    values: dict[str, float]
    voltage: tuple[float, float]

    def predict_w(self, load: Load) -> Floats:
        """Power, shape (n,), W."""
        columns = _columns(load, self.voltage, tuple(self.values))
        return np.asarray(columns @ np.array(list(self.values.values())))

    def model(self, peak_traffic_bytes_per_s: float) -> PowerModel:
        """The same as a device file has it."""
        zero = {
            name: 0.0
            for name in PowerModel.__struct_fields__
            if name not in ("wall_w", "wall_share")
        }
        knee_hz, slope = self.voltage
        return PowerModel(
            **zero
            | {
                "board_share": 1.0,
                "gpu_voltage_knee_hz": knee_hz,
                "gpu_voltage_per_hz": slope,
                "peak_traffic_bytes_per_s": peak_traffic_bytes_per_s,
            }
            | self.values
        )


def terms(settable: Sequence[str], busy: Sequence[str]) -> tuple[str, ...]:
    """Attributes of `PowerModel` that can be told apart.

    Args:
        settable: clocks that can be set.
        busy: of "cpu" and "gpu", what does any work.
    """
    names = ["board_w"]
    names += ["cpu_idle_w_per_hz3"] * ("cpu" in settable)
    names += ["gpu_idle_w_per_hz3"] * ("gpu" in settable)
    names += ["soc_w_per_emc_hz"] * ("emc" in settable)
    names += ["cpu_busy_w_per_hz3"] * ("cpu" in busy)
    names += ["cpu_busy_w_per_hz"] * ("cpu" in busy and "cpu" in settable)
    names += ["gpu_busy_w"] * ("gpu" in busy)
    names += ["gpu_busy_w_per_hz"] * ("gpu" in busy and "gpu" in settable)
    names += ["soc_j_per_byte"] * bool(busy)
    return tuple(names)


def columns(load: Load, fitted: FittedPower) -> Floats:
    """Change of the power with each parameter, shape (n, p)."""
    return _columns(load, fitted.voltage, tuple(fitted.values))


def fit(
    load: Load,
    power_w: Floats,
    weights: Floats,
    names: Sequence[str],
    voltage: tuple[float, float] | None = None,
) -> FittedPower:
    """Parameters with the least weighted squares of relative errors.

    Args:
        load: what the board did.
        power_w: measured, shape (n,).
        weights: of the relative errors, shape (n,).
        names: see `terms`.
        voltage: of the GPU, if it is known; otherwise it is searched on a grid.
    """
    tried = [voltage] if voltage is not None else _voltages(load.rows.gpu_hz, names)
    best, least = None, np.inf
    for one in tried:
        matrix = _columns(load, one, names) * (weights / power_w)[:, None]
        found = nonnegative.nnls(matrix, weights)
        error = float(np.sum((matrix @ found - weights) ** 2))
        if best is None or error < least:
            values = dict(zip(names, map(float, found), strict=True))
            best, least = FittedPower(values, one), error
    assert best is not None
    return best


def _voltages(gpu_hz: Floats, names: Sequence[str]) -> list[tuple[float, float]]:
    low_hz, high_hz = float(gpu_hz.min()), float(gpu_hz.max())
    if "gpu_busy_w_per_hz" not in names or high_hz <= low_hz:
        return [FLAT]
    knees_hz = [low_hz + knee * (high_hz - low_hz) for knee in KNEES]
    rising = [(knee, rise / (high_hz - knee)) for knee, rise in product(knees_hz, RISES[1:])]
    return [FLAT, *rising]


def _columns(load: Load, voltage: tuple[float, float], names: Sequence[str]) -> Floats:
    hz, knee_hz, slope = load.rows.hz, *voltage
    volt = 1.0 + slope * np.maximum(hz["gpu"] - knee_hz, 0.0)
    by_name = {
        "board_w": np.ones_like(hz["cpu"]),
        "cpu_idle_w_per_hz3": hz["cpu"] ** 3,
        "gpu_idle_w_per_hz3": hz["gpu"] ** 3 * (1.0 - load.gpu_util),
        "soc_w_per_emc_hz": hz["emc"],
        "cpu_busy_w_per_hz3": hz["cpu"] ** 3 * load.cpu_util,
        "cpu_busy_w_per_hz": hz["cpu"] * load.cpu_util,
        "gpu_busy_w": volt * load.gpu_util,
        "gpu_busy_w_per_hz": hz["gpu"] * volt**2 * load.gpu_util,
        "soc_j_per_byte": load.traffic_bytes_per_s,
    }
    return np.stack([by_name[name] for name in names], axis=1)
