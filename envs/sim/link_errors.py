"""Errors of the link's estimate, as boards make them on links whose rate is known.

Drawn from what was measured (`link-errors.csv`, made by `python -m benchmarks.live.link_errors` out
of results/live-estimates.csv): by what requests send, by rate and by round trip, the nearest
of those that were measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats

TABLE = Path(__file__).with_name("link-errors.csv")
COLUMNS = ("bytes", "rate_mbps", "rtt_ms", "bias", "scatter")


class LinkErrors:
    """A table of estimated over true rate: its median, and the scatter of its logarithm.

    Args:
        path: of the table, one row for each combination of bytes, rate and round trip.
    """

    def __init__(self, path: Path = TABLE) -> None:
        rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        n_bytes, mbps, rtt_ms = (np.unique(column) for column in rows.T[:3])
        self._bytes = _middles(np.maximum(n_bytes, 1.0))
        self._rates_bps, self._rtts_s = _middles(mbps * 1e6), _middles(rtt_ms / 1e3)
        self._n_rates, self._n_rtts = len(mbps), len(rtt_ms)
        order = np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))
        self._log_bias, self._scatter = np.log(rows[order, 3]), rows[order, 4]

    def factor(self, n_bytes: Floats, rate_bps: Floats, rtt_s: Floats, draw: Floats) -> Floats:
        """Estimated over true rate.

        Args:
            n_bytes: that each request sends, 0 where none does.
            rate_bps: of the link.
            rtt_s: of the link.
            draw: standard normal.
        """
        sends = _place(self._bytes, n_bytes) * self._n_rtts + _place(self._rtts_s, rtt_s)
        place = sends * self._n_rates + _place(self._rates_bps, rate_bps)
        return np.asarray(np.exp(self._log_bias[place] + self._scatter[place] * draw))


def _middles(values: Floats) -> list[float]:
    """Between neighbours, by their logarithms."""
    return [float(middle) for middle in np.sqrt(values[1:] * values[:-1])]


def _place(middles: list[float], values: Floats) -> NDArray[np.intp]:
    """Which measured value is nearest; faster than a search while there are few."""
    place = np.zeros(np.shape(values), dtype=np.intp)
    for middle in middles:
        place += values > middle
    return place
