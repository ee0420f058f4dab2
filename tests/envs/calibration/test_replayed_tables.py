"""The plan and the fit on tables of a Jetson TX2 that no part of them was made for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.calibration.design import usual_latency
from envs.calibration.fitting.latency_form import LatencyForm, Rows
from envs.calibration.plan import Plan, Quantity, extremes, places, relative_slopes
from hw.boards.measured_table import load, network_names

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the measured data is not beside the repository ({DATA})"
)
N_DRAWS = 50
THREE_CLOCKS = [name for name in network_names() if name.endswith("px")]
ENGINES = [name for name in network_names() if name not in THREE_CLOCKS]


class Bench:
    """One network's table; errors are taken on what was not fitted on."""

    def __init__(self, network: str, n_points: int) -> None:
        table = load(DATA, network)
        clocks_hz = np.array(list(table.latency_s), dtype=np.float64)
        self.latency_s = np.array(list(table.latency_s.values()))
        self.rows = Rows(np.ones((len(clocks_hz), 1)), *clocks_hz.T)
        self.form = LatencyForm(1, ("fixed", *table.axes), is_norm_free="cpu" not in table.axes)
        self.n_points = n_points

    def errors(self, chosen) -> tuple[float, float]:
        """Mean and largest one."""
        known = np.isin(np.arange(len(self.latency_s)), chosen)
        assert known.sum() == self.n_points
        x = self.form.fit(
            self.rows.take(known), self.latency_s[known], np.ones(self.n_points), None
        )
        predicted_s = self.form.predict(x, self.rows.take(~known))
        errors = np.abs(predicted_s / self.latency_s[~known] - 1.0)
        return float(errors.mean()), float(errors.max())

    def planned(self) -> tuple[float, float]:
        x, n = usual_latency(self.form, self.rows), len(self.rows)
        slopes = relative_slopes(
            self.form.jacobian(x, self.rows), x, self.form.predict(x, self.rows)
        )
        points = places(list(self.rows.hz.values()))
        plan = Plan([Quantity(slopes, points, np.zeros(n), np.ones(n, bool))], np.ones(n))
        for index in extremes(points):
            plan.add(index)
        while len(plan.chosen) < self.n_points:
            plan.add(plan.best(is_new=True))
        return self.errors(plan.chosen)

    def drawn(self) -> tuple[float, float]:
        """Median over draws by chance."""
        rng, n = np.random.default_rng(0), len(self.latency_s)
        draws = [rng.choice(n, self.n_points, replace=False) for _ in range(N_DRAWS)]
        mean, largest = np.median([self.errors(draw) for draw in draws], axis=0)
        return float(mean), float(largest)


@pytest.mark.parametrize("network", ENGINES)
def test_ten_points_of_an_engine_tell_the_others(network):
    mean, largest = Bench(network, 10).planned()
    assert mean <= 0.01
    assert largest <= 0.03


def test_thirty_points_over_three_clocks_tell_the_others():
    errors = [Bench(network, 30).planned() for network in THREE_CLOCKS]
    assert np.mean([mean for mean, _ in errors]) <= 0.05


@pytest.mark.parametrize(("networks", "n_points"), [(ENGINES, 10), (THREE_CLOCKS, 30)])
def test_chosen_points_tell_more_than_drawn_ones(networks, n_points):
    benches = [Bench(network, n_points) for network in networks]
    planned = np.mean([bench.planned() for bench in benches], axis=0)
    drawn = np.mean([bench.drawn() for bench in benches], axis=0)
    assert (planned < drawn).all(), (planned, drawn)
