"""The plan and the fit on tables of a Jetson TX2 that no part of them was made for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration.tables import ENGINES, THREE_CLOCKS, Table

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the measured data is not beside the repository ({DATA})"
)


@pytest.mark.parametrize("network", ENGINES)
def test_ten_points_of_an_engine_tell_the_others(network):
    mean, largest = Table(DATA, network, 10).planned()
    assert mean <= 0.01
    assert largest <= 0.03


def test_thirty_points_over_three_clocks_tell_the_others():
    errors = [Table(DATA, network, 30).planned() for network in THREE_CLOCKS]
    assert np.mean([mean for mean, _ in errors]) <= 0.05


@pytest.mark.parametrize(("networks", "n_points"), [(ENGINES, 10), (THREE_CLOCKS, 30)])
def test_chosen_points_tell_more_than_drawn_ones(networks, n_points):
    benches = [Table(DATA, network, n_points) for network in networks]
    planned = np.mean([bench.planned() for bench in benches], axis=0)
    drawn = np.mean([bench.drawn() for bench in benches], axis=0)
    assert (planned < drawn).all(), (planned, drawn)
