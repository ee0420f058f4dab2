"""Points of a measured table that a plan chooses, beside points by chance."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from envs.arrays import Floats
from envs.calibration.design import usual_latency
from envs.calibration.fitting.latency_form import LatencyForm, Rows
from envs.calibration.plan import Plan, Quantity, extremes, places, relative_slopes
from hw.boards.measured_table import load, network_names

N_DRAWS = 50
THREE_CLOCKS = tuple(name for name in network_names() if name.endswith("px"))
"""Networks whose tables are over all three clocks, with four processors."""
ENGINES = tuple(name for name in network_names() if name not in THREE_CLOCKS)
"""Networks that TensorRT ran, over clocks of GPU and memory."""


class Errors(NamedTuple):
    """Relative errors on all points that were not fitted."""

    mean: float
    largest: float


class Table:
    """One network's table, and a fit to a few of its points.

    Args:
        data: folder with the measured data.
        network: one of `network_names`.
        n_points: to fit to.
        form: of the fit; the one that the table allows if None.
    """

    def __init__(
        self, data: Path, network: str, n_points: int, form: LatencyForm | None = None
    ) -> None:
        table = load(data, network)
        clocks_hz = np.array(list(table.latency_s), dtype=np.float64)
        self.latency_s: Floats = np.array(list(table.latency_s.values()))
        self.rows = Rows(np.ones((len(clocks_hz), 1)), *clocks_hz.T)
        usual = LatencyForm(1, ("fixed", *table.axes), is_norm_free="cpu" not in table.axes)
        self.form = form or usual
        self.n_points = n_points

    def planned(self) -> Errors:
        """With the points that tell most."""
        return self._errors(self.planned_points())

    def planned_points(self) -> list[int]:
        """Places of those points."""
        x, n = usual_latency(self.form, self.rows), len(self.rows)
        slopes = relative_slopes(
            self.form.jacobian(x, self.rows), x, self.form.predict(x, self.rows)
        )
        points = places(list(self.rows.hz.values()))
        latency = Quantity(slopes, points, np.zeros(n), np.ones(n, dtype=np.bool_))
        plan = Plan([latency], np.ones(n))
        for index in extremes(points):
            plan.add(index)
        while len(plan.chosen) < self.n_points:
            plan.add(plan.best(is_new=True))
        return plan.chosen

    def rows_hz(self, chosen: list[int]) -> list[tuple[float, float]]:
        """GPU and memory clocks of some points."""
        rows = self.rows.take(np.array(chosen))
        return list(zip(rows.gpu_hz.tolist(), rows.emc_hz.tolist(), strict=True))

    def fitted(self, chosen: list[int]) -> Floats:
        """Parameters of the form by some points."""
        rows, weights = self.rows.take(np.array(chosen)), np.ones(len(chosen))
        return self.form.fit(rows, self.latency_s[chosen], weights, None)

    def drawn(self) -> Errors:
        """Median over draws of the points by chance."""
        rng, n = np.random.default_rng(0), len(self.rows)
        draws = [rng.choice(n, self.n_points, replace=False).tolist() for _ in range(N_DRAWS)]
        mean, largest = np.median([self._errors(draw) for draw in draws], axis=0)
        return Errors(float(mean), float(largest))

    def _errors(self, chosen: list[int]) -> Errors:
        known = np.isin(np.arange(len(self.rows)), chosen)
        x = self.fitted(np.flatnonzero(known).tolist())
        predicted_s = self.form.predict(x, self.rows.take(~known))
        errors = np.abs(predicted_s / self.latency_s[~known] - 1.0)
        return Errors(float(errors.mean()), float(errors.max()))
