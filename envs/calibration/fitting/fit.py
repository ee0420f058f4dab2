"""Fit of a board's latency and power to samples, with what the fit does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.calibration.fitting import drift, nonnegative, power_form
from envs.calibration.fitting.drift import Drift
from envs.calibration.fitting.latency_form import LatencyForm
from envs.calibration.fitting.power_form import FittedPower, Load
from envs.calibration.samples import N_SIZES, NETWORK, SIZES, Kind, Sample, Work, work
from envs.errors import CalibrationError
from hw.device.latency import HostScaling, NetworkScaling
from partition.model.routes import RouteOption

MISFIT = 0.02
"""Relative error of the forms themselves, so that no single precise sample outweighs the others."""
N_DRIFT_ROUNDS = 3
"""Of fitting form and drift in turn; the third changes errors by less than a tenth of them."""
SPREAD_OF_LIMIT = 3.0**-0.5
"""Standard deviation of an error that is anything up to a limit, over that limit."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Samples as arrays; n of them.

    Attributes:
        work: pieces and clocks.
        latency_s: NaN where the board was idle.
        latency_error: relative, standard.
        power_w: NaN where it is unknown.
        power_error: relative, standard.
        began_s: since the first sample, s.
        temperature_c: NaN where it is unknown.
        is_control: repeats of one point.
    """

    work: Work
    latency_s: Floats
    latency_error: Floats
    power_w: Floats
    power_error: Floats
    began_s: Floats
    temperature_c: Floats
    is_control: NDArray[np.bool_]

    @classmethod
    def of(cls, samples: Sequence[Sample], options: Sequence[RouteOption]) -> Measured:
        """Take samples at the clocks that were read back.

        Args:
            samples: at least one.
            options: the network's routes.
        """

        def column(values: Sequence[float | None]) -> Floats:
            return np.array(values, dtype=np.float64)  # None becomes NaN

        limits = column([s.power_error for s in samples])
        return cls(
            work([s.piece for s in samples], [s.applied_hz for s in samples], options),
            column([s.latency_s for s in samples]),
            column([s.latency_error for s in samples]),
            column([s.power_w for s in samples]),
            SPREAD_OF_LIMIT * limits,
            column([s.began_s for s in samples]),
            column([s.temperature_c for s in samples]),
            np.array([s.is_control for s in samples]),
        )

    def __len__(self) -> int:
        return len(self.latency_s)

    @property
    def has_power(self) -> bool:
        """Whether any power was read."""
        return bool(np.isfinite(self.power_w).any())


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to be fitted.

    Attributes:
        settable: of "cpu", "gpu" and "emc", the clocks that can be set, in this order.
        unit: "cpu" or "gpu", what the network runs on.
    """

    settable: tuple[str, ...]
    unit: str

    @property
    def latency_form(self) -> LatencyForm:
        """Of the network; fixed time cannot be told from that of a clock that stands still."""
        clocks = [name for name in ("cpu", "gpu", "emc") if name in (*self.settable, self.unit)]
        fixed = ["fixed"] if self.unit in self.settable else []
        return LatencyForm(N_SIZES, (*fixed, *clocks))

    @property
    def power_terms(self) -> tuple[str, ...]:
        """See `power_form.terms`."""
        return power_form.terms(self.settable, tuple(dict.fromkeys(("cpu", self.unit))))


@dataclass(frozen=True, slots=True)
class BoardFit:
    """A fitted board.

    Attributes:
        setting: what was fitted.
        latency: parameters of the network's latency.
        host: cycles per request and per byte sent.
        power: None where no power was read.
        latency_drift: over the measurement.
        power_drift: the same of the power.
    """

    setting: Setting
    latency: Floats
    host: HostScaling
    power: FittedPower | None
    latency_drift: Drift
    power_drift: Drift

    def latency_s(self, done: Work) -> Floats:
        """Latency of one run of each piece, shape (n,), s; 0 of an idle board."""
        network_s = self.setting.latency_form.predict(self.latency, done.rows)
        host_s = self.host.cycles(done.sent_bytes) / done.rows.cpu_hz
        return np.where(
            done.is_of(Kind.HOST), host_s, np.where(done.is_of(*NETWORK), network_s, 0.0)
        )

    def load(self, done: Work) -> Load:
        """What a board does that runs each piece again and again."""
        latency_s = np.maximum(self.latency_s(done), 1e-12)
        parts = self.setting.latency_form.coefficients(self.latency)
        rows, is_network = done.rows, done.is_of(*NETWORK)
        busy_s = {
            name: is_network * (rows.sizes @ parts[name] / rows.hz[name])
            for name in ("cpu", "gpu", "emc")
            if name in parts
        }
        none = np.zeros(len(done))
        gpu_s = np.hypot(busy_s.get("gpu", none), busy_s.get("emc", none))
        cpu_s = np.where(done.is_of(Kind.HOST), latency_s, busy_s.get("cpu", none))
        traffic = is_network * rows.sizes[:, 2] / latency_s
        return Load(rows, cpu_s / latency_s, gpu_s / latency_s, traffic)

    def power_w(self, done: Work) -> Floats:
        """Mean power of a board that runs each piece again and again, W; NaN if unknown."""
        if self.power is None:
            return np.full(len(done), np.nan)
        return self.power.predict_w(self.load(done))

    def energy_j(self, done: Work) -> Floats:
        """Energy of one run of each piece, shape (n,), J."""
        return self.latency_s(done) * self.power_w(done)

    @property
    def network(self) -> NetworkScaling:
        """The latency as a device file has it."""
        zero = np.zeros(N_SIZES)
        parts = self.setting.latency_form.coefficients(self.latency)
        values = {}
        for term, stem in (
            ("fixed", "fixed_s"),
            ("cpu", "cpu_cycles"),
            ("gpu", "gpu_cycles"),
            ("emc", "emc_cycles"),
        ):
            for per, value in zip(SIZES, parts.get(term, zero), strict=True):
                values[f"{stem}_per_{per}"] = float(value)
        return NetworkScaling(**values)


def fit_board(
    measured: Measured,
    setting: Setting,
    weights: Floats | None = None,
    near: BoardFit | None = None,
) -> BoardFit:
    """Fit the forms of a device file to samples, drift and heat told apart.

    Args:
        measured: the samples.
        setting: what is to be fitted.
        weights: of each sample, shape (n,); 0 leaves one out. All alike if not given.
        near: a fit to much the same samples, whose drift and voltage are kept.

    Raises:
        CalibrationError: fewer samples of the network than parameters.
    """
    shares = np.ones(len(measured)) if weights is None else weights
    form = setting.latency_form
    of_network = measured.work.is_of(*NETWORK) & (shares > 0.0)
    if of_network.sum() < form.n_parameters:
        raise CalibrationError(
            f"{of_network.sum()} samples of the network are too few for the "
            f"{form.n_parameters} parameters of its latency; give more --minutes"
        )
    latency_drift = near.latency_drift if near else Drift.none()
    power_drift = near.power_drift if near else Drift.none()
    fitted: BoardFit | None = None
    for _ in range(1 if near else N_DRIFT_ROUNDS):
        start = fitted or near
        x = _latency(measured, of_network, form, shares, latency_drift, start)
        host = _host(measured, shares, latency_drift)
        fitted = BoardFit(setting, x, host, None, latency_drift, power_drift)
        if measured.has_power:
            voltage = near.power.voltage if near and near.power else None
            power = _power(measured, fitted, shares, power_drift, voltage)
            fitted = BoardFit(setting, x, host, power, latency_drift, power_drift)
        if near is None:
            latency_drift = _drift(
                measured,
                measured.latency_s,
                fitted.latency_s(measured.work),
                measured.latency_error,
                shares,
            )
            power_drift = _drift(
                measured,
                measured.power_w,
                fitted.power_w(measured.work),
                measured.power_error,
                shares,
            )
    assert fitted is not None
    return fitted


def _latency(
    measured: Measured,
    chosen: NDArray[np.bool_],
    form: LatencyForm,
    shares: Floats,
    moved: Drift,
    start: BoardFit | None,
) -> Floats:
    factor = moved.factor(measured.began_s, measured.temperature_c)
    weights = np.sqrt(shares) / np.hypot(measured.latency_error, MISFIT)
    return form.fit(
        measured.work.rows.take(chosen),
        (measured.latency_s / factor)[chosen],
        weights[chosen],
        None if start is None else start.latency,
    )


def _host(measured: Measured, shares: Floats, moved: Drift) -> HostScaling:
    chosen = measured.work.is_of(Kind.HOST) & (shares > 0.0)
    if not chosen.any():
        return HostScaling()
    done = measured.work.take(chosen)
    latency_s = (measured.latency_s / moved.factor(measured.began_s, measured.temperature_c))[
        chosen
    ]
    weights = (np.sqrt(shares) / np.hypot(measured.latency_error, MISFIT))[chosen]
    per_cycle = 1.0 / done.rows.cpu_hz
    matrix = np.stack([per_cycle, per_cycle * done.sent_bytes], axis=1)
    found = nonnegative.nnls(matrix * (weights / latency_s)[:, None], weights)
    return HostScaling(float(found[0]), float(found[1]))


def _power(
    measured: Measured,
    fitted: BoardFit,
    shares: Floats,
    moved: Drift,
    voltage: tuple[float, float] | None,
) -> FittedPower:
    chosen = np.isfinite(measured.power_w) & (shares > 0.0)
    factor = moved.factor(measured.began_s, measured.temperature_c)
    weights = np.sqrt(shares) / np.hypot(measured.power_error, MISFIT)
    return power_form.fit(
        fitted.load(measured.work).take(chosen),
        (measured.power_w / factor)[chosen],
        weights[chosen],
        fitted.setting.power_terms,
        voltage,
    )


def _drift(
    measured: Measured, values: Floats, predicted: Floats, errors: Floats, shares: Floats
) -> Drift:
    chosen = np.isfinite(values) & (predicted > 0.0) & (shares > 0.0)
    if not chosen.any():
        return Drift.none()
    return drift.regress(
        np.log(values[chosen] / predicted[chosen]),
        np.hypot(errors, MISFIT)[chosen] / np.sqrt(shares[chosen]),
        measured.began_s[chosen],
        measured.temperature_c[chosen],
    )
