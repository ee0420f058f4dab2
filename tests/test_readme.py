"""The README says what was measured."""

from __future__ import annotations

import csv
import re

from tests.conftest import REPOSITORY

README_NAMES = {
    "learned policy (PPO)": "ppo",
    "per-state optimum": "oracle",
    "best fixed setting, searched per scenario": "best-static",
    "stock governors, edge-only": "governor",
    "maximum clocks, edge-only": "max-edge",
    "maximum clocks, cloud-only": "max-cloud",
}


def test_the_readmes_table_is_the_published_evaluation():
    with (REPOSITORY / "results" / "evaluation.csv").open() as stream:
        rows = {row["policy"]: row for row in csv.DictReader(stream) if row["scenario"] == "all"}
    pattern = r"^\| \**([^|*]+?)\** \| ([\d.]+) \| (\d+) ms \| ([\d.]+) % \|$"
    shown = re.findall(pattern, (REPOSITORY / "README.md").read_text(), flags=re.MULTILINE)
    assert [name for name, *_ in shown] == list(README_NAMES)
    for name, energy, p95, in_time in shown:
        row = rows[README_NAMES[name]]
        assert energy == f"{float(row['energy_j']):.2f}"
        assert p95 == f"{1e3 * float(row['p95_latency_s']):.0f}"
        assert in_time == f"{100 * float(row['qos_met']):.1f}"
