"""The README says what was measured."""

from __future__ import annotations

import csv
import re

from tests.conftest import REPOSITORY

README_NAMES = {
    "learned policy (`advised`)": "advised",
    "per-state optimum (sees what no sensor shows)": "oracle",
    "search of the model in every step (`model-search`)": "model-search",
    "DVFO's learner (branching Q-network)": "dvfo",
    "best fixed setting, searched per scenario": "best-static",
    "DynaSplit as published": "dynasplit-published",
    "maximum clocks, cloud-only": "max-cloud",
    "stock governors, edge-only": "governor",
}
MAIN = {"device": "tx2", "model": "efficientnet-lite0", "scenario": "all"}


def test_the_readmes_table_is_the_published_comparison():
    with (REPOSITORY / "results" / "benchmark.csv").open() as stream:
        table = [row for row in csv.DictReader(stream) if MAIN.items() <= row.items()]
    rows = {row["decider"]: row for row in table}
    pattern = r"^\| \**([^|*]+?)\** \| ([\d.]+) \| (\d+) ms \| ([\d.]+) % \| ([\d.]+) \|$"
    text = (REPOSITORY / "README.md").read_text()
    shown = re.findall(pattern, text, flags=re.MULTILINE)
    assert [name for name, *_ in shown] == list(README_NAMES)
    for name, energy, p95, deadline_hit_rate, cost in shown:
        row = rows[README_NAMES[name]]
        assert energy == f"{float(row['energy_j']):.2f}"
        assert p95 == f"{1e3 * float(row['pooled_p95_latency_s']):.0f}"
        assert deadline_hit_rate == f"{100 * float(row['deadline_hit_rate']):.1f}"
        assert cost == f"{float(row['cost']):.3f}"
    seeds = re.search(r"`python -m benchmarks.policies --short --seeds (\d+) ", text)
    assert seeds[1] == rows["oracle"]["n_seeds"]
    closed = re.search(r"The policy\s+closes\s+(\d+) % of the gap", text)
    assert closed[1] == f"{100 * float(rows['advised']['gap_closed']):.0f}"
