"""Rows of live runs, and whether this machine can tell anything by one."""

from __future__ import annotations

import os

import pytest

from benchmarks.live import link
from benchmarks.live.plan import CONTROL

POSSIBLE = os.geteuid() == 0 and link.TUN.exists()
BUSY = 0.05
"""Of a machine on which the board's own computing takes so much longer, nothing can be said."""


def row(**changes):
    """A run that is as simulated."""
    compared = {
        f"{side}_{name}": "1"
        for name in ("latency_s", "p95_s", "energy_j", "cost", "in_time")
        for side in ("live", "sim")
    }
    fell_back = {"live_fell_back": "0", "sim_fell_back": "0"}
    about = {"requests": "200", "tries": "1", "control_off": "0.01", "gflop_per_s": "100"}
    key = {"board": "sim", "action": CONTROL, "rate_mbps": "10", "rtt_ms": "3.5", "repeat": "0"}
    return key | about | compared | fell_back | changes


def skip_if_busy(found):
    """Say nothing of a fault where the machine disturbed every run."""
    off = min(float(each["control_off"]) for each in found)
    load, n_cores = os.getloadavg()[0], os.cpu_count() or 1
    if off > BUSY or load > n_cores:
        pytest.skip(
            f"this machine is too busy: the board alone takes {off:.0%} longer, and {load:.1f} "
            f"processes want {n_cores} cores"
        )
