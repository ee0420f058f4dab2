"""What holds for the repository as a whole."""

from __future__ import annotations

import ast
import csv
import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("agents", "envs", "hw", "partition")
README_NAMES = {
    "learned policy (PPO)": "ppo",
    "per-state optimum": "oracle",
    "best fixed setting, searched per scenario": "best-static",
    "stock governors, edge-only": "governor",
    "maximum clocks, edge-only": "max-edge",
    "maximum clocks, cloud-only": "max-cloud",
}


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_are_the_repositorys_own(name):
    # Distributions of other people install packages of these names too.
    assert Path(importlib.import_module(name).__file__).parents[1] == REPOSITORY


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_nothing_that_travels_is_pickled():
    sources = [path for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py")]
    assert len(sources) > 50
    offenders = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    assert [path for path in sources if imported_names(path) & offenders] == []


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
