"""The simulator's errors of a link's estimate, and the table that they come from."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.live import link_errors as command
from benchmarks.live.estimates import COLUMNS, KEY
from benchmarks.live.rows import Rows
from envs.sim.link_errors import LinkErrors

N = 20_000


@pytest.fixture
def measured(tmp_path):
    """Runs in which 16 kB requests read 10 Mbit/s a tenth too high, and all else is exact."""
    rows = Rows(tmp_path / "live-estimates.csv", COLUMNS, KEY)
    for repeat in range(3):
        for sends, n_bytes in (("nothing", 0), ("16 kB cut", 16_384)):
            for rate_mbps in (2.0, 10.0, 50.0):
                for rtt_ms in (3.5, 45.0):
                    off = sends != "nothing" and rate_mbps == 10.0 and rtt_ms == 45.0
                    key = dict(zip(KEY, (sends, rate_mbps, rtt_ms, repeat), strict=True))
                    found = {"bytes": n_bytes, "median": 1.1 + 0.02 * (repeat - 1) if off else 1.0}
                    found |= {"scatter": 0.03 * off, "within_10": 1.0, "within_25": 1.0}
                    rows.add(key | found | {"rtt_read_ms": rtt_ms, "age_s": 0.1})
    return tmp_path / "live-estimates.csv"


@pytest.fixture
def errors(measured, tmp_path):
    table = tmp_path / "table.csv"
    assert command.main(measured, table) == 0
    return LinkErrors(table)


def factor(errors, n_bytes, rate_bps, rtt_s):
    draw = np.random.default_rng(0).standard_normal(N)
    one = np.ones(N)
    return errors.factor(n_bytes * one, rate_bps * one, rtt_s * one, draw)


def test_errors_are_as_measured_between_runs_and_within_them(errors):
    found = np.log(factor(errors, 16_384.0, 10e6, 0.045))
    assert np.exp(np.median(found)) == pytest.approx(1.1, rel=0.005)
    assert found.std() == pytest.approx(np.hypot(0.03, 0.0149), rel=0.05)


@pytest.mark.parametrize(
    ("n_bytes", "rate_bps", "rtt_s"),
    [(0.0, 10e6, 0.045), (16_384.0, 2e6, 0.045), (16_384.0, 10e6, 0.0035)],
)
def test_they_are_those_of_the_route_the_rate_and_the_round_trip(errors, n_bytes, rate_bps, rtt_s):
    assert factor(errors, n_bytes, rate_bps, rtt_s) == pytest.approx(np.ones(N))


def test_what_was_not_measured_is_taken_for_the_nearest(errors):
    near = factor(errors, 8_000.0, 14e6, 0.03)
    assert (near == factor(errors, 16_384.0, 10e6, 0.045)).all()
    assert factor(errors, 1e7, 1e9, 1.0) == pytest.approx(np.ones(N))


def test_the_shipped_table_is_complete_and_within_the_bars():
    errors = LinkErrors()
    assert len(errors._log_bias) == 32
    assert np.abs(np.exp(errors._log_bias) - 1.0).max() <= 0.11
    assert errors._scatter.max() <= 0.15


def test_without_measurements_the_command_says_what_makes_them(tmp_path, capsys):
    assert command.main(tmp_path / "none.csv", tmp_path / "table.csv") == 2
    assert "python -m benchmarks.live estimates" in capsys.readouterr().err
    assert not (tmp_path / "table.csv").exists()
