"""Real networks as they ship, kinds made of them, damaged ones, and every architecture of torch.

python -m benchmarks.models [NAME ...]

All rows go to results/models.md. One that was made by the same code is not made again, so that a
run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.models import architecture_row, archives, catalog, derived, tables
from benchmarks.models.result import Result, Rows

RESULT = Path("results/models.md")
AT_ONCE = 2
LONGEST_S = 900.0
"""Of one row."""


def main() -> int:
    known = jobs()
    names = list(dict.fromkeys(name.partition("/")[0] for _, name in known))
    parser = argparse.ArgumentParser("python -m benchmarks.models", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(names)}; all, to {RESULT}")
    wanted = parser.parse_args().name
    if unknown := set(wanted) - set(names):
        parser.error(f"no network {min(unknown)}; there are {', '.join(names)}")
    archives.fetch(catalog.packages())
    rows = Rows()
    made = made_rows([j for j in known if not wanted or j[1].partition("/")[0] in wanted], rows)
    print(tables.summary(made))
    if not wanted:
        RESULT.write_text(tables.page(rows), encoding="utf-8")
    return 1 if any(row.ended == "wrong" for row in made) else 0


def jobs() -> list[tuple[str, str]]:
    """Section and name of every row, in the order of the page."""
    return [
        *(("packages", name) for name in catalog.networks()),
        *(("derived", name) for name in derived.MADE),
        *(("damage", name) for name in catalog.networks()),
        *(("torch", name) for name in architecture_row.names()),
    ]


def made_rows(wanted: list[tuple[str, str]], rows: Rows) -> list[Result]:
    """Rows, those that are missing made two at a time."""
    for row in _made([job for job in wanted if rows.get(*job) is None]):
        rows.add(row)
        print(f"{row.section} {row.name}: {row.ended}: {' | '.join(row.cells)}", flush=True)
    return [row for job in wanted if (row := rows.get(*job))]


def _made(missing: list[tuple[str, str]]) -> Iterator[Result]:
    """Strangers' files each in a process of its own, torch's in two that import it once."""
    torch = [name for section, name in missing if section == architecture_row.SECTION]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        strangers = (job for job in missing if job[0] != architecture_row.SECTION)
        yield from threads.map(made_row, strangers)
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as processes:
        yield from processes.map(architecture_row.row, torch)


def made_row(job: tuple[str, str]) -> Result:
    """A row of `job`'s; a process that is lost makes one, too."""
    command = [sys.executable, "-m", "benchmarks.models.job", *job]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Result(*job, "wrong", [f"no end after {LONGEST_S:g} s"])
    if done.returncode == 0:
        return Result(**json.loads(done.stdout.splitlines()[-1]))
    code = done.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = done.stderr.strip().splitlines()[-1:] or [""]
    return Result(*job, "wrong", [f"lost by {how}: {last[0]}"])


if __name__ == "__main__":
    sys.exit(main())
