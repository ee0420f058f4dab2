"""Latency form of a device file, fitted to what was measured of one network.

The form is that of `hw.device.latency.Demand`: time that no clock changes, the processor's, and the
overlapping ones of GPU and memory. Each is linear in what a piece of the network has to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.calibration.fitting import nonnegative
from envs.calibration.fitting.nonnegative import Linearised

LARGEST_NORM = 10.0
"""Of the overlap; beyond it the larger of both times is all that is seen."""
USUAL_NORM = 2.0
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Rows:
    """Pieces of work and the clocks that they ran at; n of them.

    Attributes:
        sizes: what each has to do in k respects, shape (n, k).
        cpu_hz: shape (n,), as the other clocks.
        gpu_hz: GPU clock.
        emc_hz: memory clock.
    """

    sizes: Floats
    cpu_hz: Floats
    gpu_hz: Floats
    emc_hz: Floats

    def __len__(self) -> int:
        return len(self.cpu_hz)

    @property
    def hz(self) -> dict[str, Floats]:
        """Clocks by name, Hz."""
        return {"cpu": self.cpu_hz, "gpu": self.gpu_hz, "emc": self.emc_hz}

    def take(self, chosen: np.ndarray) -> Rows:
        """Some of them, by index or by truth value."""
        return Rows(
            self.sizes[chosen], self.cpu_hz[chosen], self.gpu_hz[chosen], self.emc_hz[chosen]
        )


@dataclass(frozen=True, slots=True)
class LatencyForm:
    """Which terms a fit may use.

    Attributes:
        n_sizes: k.
        terms: of "fixed", "cpu", "gpu" and "emc", in this order.
        is_norm_free: whether the overlap norm is fitted, too.
    """

    n_sizes: int
    terms: tuple[str, ...]
    is_norm_free: bool = False

    @property
    def n_parameters(self) -> int:
        """Parameters of the fit."""
        return self.n_sizes * len(self.terms) + self.is_norm_free

    def predict(self, x: Floats, rows: Rows) -> Floats:
        """Latency, shape (n,), s.

        Args:
            x: fitted parameters.
            rows: the work.
        """
        return self._parts(x, rows)[0]

    def fit(self, rows: Rows, latency_s: Floats, weights: Floats, start: Floats | None) -> Floats:
        """Parameters with the least weighted squares of relative errors.

        Args:
            rows: measured work.
            latency_s: of it, shape (n,).
            weights: of the relative errors, shape (n,).
            start: parameters near which to look; None finds some.
        """

        def at(x: Floats) -> Linearised:
            predicted_s, jacobian = self._parts(x, rows)
            return Linearised(
                weights * (predicted_s / latency_s - 1.0),
                jacobian * (weights / latency_s)[:, None],
            )

        most = np.full(self.n_parameters, np.inf)
        if self.is_norm_free:
            most[-1] = LARGEST_NORM - 1.0
        if start is None:
            start = self._start(rows, latency_s, weights)
        return nonnegative.fit(at, start, most)

    def jacobian(self, x: Floats, rows: Rows) -> Floats:
        """Change of the latency with each parameter, shape (n, n_parameters)."""
        return self._parts(x, rows)[1]

    def coefficients(self, x: Floats) -> dict[str, Floats]:
        """Seconds ("fixed") and cycles by clock, per unit of each size, shape (k,) each."""
        parts = x[: self.n_sizes * len(self.terms)].reshape(-1, self.n_sizes)
        return dict(zip(self.terms, parts, strict=True))

    def norm(self, x: Floats) -> float:
        """The overlap norm."""
        return 1.0 + float(x[-1]) if self.is_norm_free else USUAL_NORM

    def _start(self, rows: Rows, latency_s: Floats, weights: Floats) -> Floats:
        """As if nothing overlapped, which is linear; nothing is quite 0, where slopes vanish."""
        summed = self._columns(rows)
        scaled = summed * (weights / latency_s)[:, None]
        found = nonnegative.nnls(scaled, weights)
        typical = 1.0 / (np.median(summed / latency_s[:, None], axis=0) + _TINY) / len(found)
        start = np.maximum(found, 0.02 * typical)
        return np.append(start, USUAL_NORM - 1.0) if self.is_norm_free else start

    def _columns(self, rows: Rows) -> Floats:
        """Seconds per unit of each linear parameter, shape (n, k terms)."""
        rate = {"fixed": np.ones(len(rows)), **rows.hz}
        return np.concatenate([rows.sizes / rate[name][:, None] for name in self.terms], axis=1)

    def _parts(self, x: Floats, rows: Rows) -> tuple[Floats, Floats]:
        k = self.n_sizes
        columns = self._columns(rows)
        linear = x[: columns.shape[1]]
        jacobian = np.zeros((len(rows), self.n_parameters))
        jacobian[:, : columns.shape[1]] = columns
        if not {"gpu", "emc"} <= set(self.terms):
            return columns @ linear, jacobian
        places = {name: i * k for i, name in enumerate(self.terms)}
        gpu, emc = (slice(places[name], places[name] + k) for name in ("gpu", "emc"))
        gpu_s, emc_s = columns[:, gpu] @ linear[gpu], columns[:, emc] @ linear[emc]
        p = self.norm(x)
        longer_s = np.maximum(np.maximum(gpu_s, emc_s), _TINY)
        powers = [(part_s / longer_s) ** p for part_s in (gpu_s, emc_s)]
        both_s = longer_s * (powers[0] + powers[1]) ** (1.0 / p)
        for part, part_s in ((gpu, gpu_s), (emc, emc_s)):
            slope = (part_s / np.maximum(both_s, _TINY)) ** (p - 1.0)
            jacobian[:, part] = columns[:, part] * slope[:, None]
        if self.is_norm_free:
            jacobian[:, -1] = _by_norm(gpu_s, emc_s, both_s, p)
        rest = columns @ linear - gpu_s - emc_s
        return rest + both_s, jacobian


def _by_norm(gpu_s: Floats, emc_s: Floats, both_s: Floats, p: float) -> Floats:
    """Change of `(gpu^p + emc^p)^(1/p)` with p."""
    change = np.zeros_like(both_s)
    for part_s in (gpu_s, emc_s):
        share = part_s / np.maximum(both_s, _TINY)
        change += np.where(share > 0.0, share**p * np.log(np.maximum(share, _TINY)), 0.0)
    return both_s * change / p
