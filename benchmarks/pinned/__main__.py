"""Compare today's values with the stored ones: `python -m benchmarks.pinned [--write]`.

Values of five kinds, apart so that a change that has to move one shows that it moves no other:
encoded tensors, whole messages, placements, evaluations of short trainings, and decisions of their
saved policies. Each repeats exactly on the machine and with the versions that the file names;
elsewhere the last digits of a sum may differ, see `--relative`.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: more threads add up in another order

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pinned.differences import Values, differences
from benchmarks.pinned.placements import large_placements, small_placements
from benchmarks.pinned.policies import policies
from benchmarks.pinned.wire import messages, tensors
from common import command
from partition.model.machine import describe_machine

STORED = Path(__file__).with_name("values.json")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 1 if any value differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pinned", description=_summary())
    parser.add_argument("--write", action="store_true", help="store today's values")
    parser.add_argument(
        "--relative",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="difference of numbers that counts as none, for another processor (%(default)s)",
    )
    arguments = parser.parse_args(argv)
    today = values()
    if arguments.write:
        document = {"machine": describe_machine(), **today}
        STORED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"stored in {STORED}")
        return 0
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    machine = stored.pop("machine")
    if machine != describe_machine():
        print(f"note: stored on another machine or with other versions: {machine}")
    lines = list(differences(stored, today, arguments.relative))
    print("\n".join([*lines, f"{len(lines)} differences"]))
    return 1 if lines else 0


def values() -> Values:
    """Compute everything that is pinned, in about a minute."""
    with tempfile.TemporaryDirectory() as folder:
        evaluation, decisions = policies(Path(folder))
    return {
        "tensors": tensors(),
        "messages": messages(),
        "small placements": small_placements(),
        "large placements": large_placements(),
        "evaluation": evaluation,
        "decisions": decisions,
    }


def _summary() -> str:
    return (__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    sys.exit(command.run(main))
