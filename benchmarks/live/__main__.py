"""Live runs beside the simulator's prediction: `python -m benchmarks.live`.

A modelled board runs the real pipeline in one network namespace, a real server runs in another, and
a relay between them gives the link an exact rate and delay. Needs root and TUN devices. Adds a row
to a table per run, and goes on where it was interrupted; then writes a page.

  actions    fixed actions: latency, share in time, energy and cost, live and simulated
  estimates  what boards take links of known rates for
  changes    when boards know of a change of the rate by ten times

What disturbs the machine disturbs a live run: each row has the error of a control on the board
alone just before it, and is taken again while that is off by more than 3 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.training.run import open_or_prepare
from benchmarks.live import actions, changes, estimates
from benchmarks.live.link import check_possible
from benchmarks.live.page import actions_page, changes_page, estimates_page
from benchmarks.live.plan import NETWORK, REPEATS, SECONDS, cells
from benchmarks.live.rows import Rows
from benchmarks.page import write_page
from common import command
from envs.errors import EnvError
from partition.errors import PartitionError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = ("actions", "estimates", "changes")
    parser.add_argument(
        "what", choices=kinds, nargs="?", default=kinds[0], help="to measure (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each cell (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a run (%(default)s)")
    parser.add_argument("--short", action="store_true", help="four cells, or two rates, only")
    arguments = parser.parse_args(argv)
    try:
        check_possible()
        folder = open_or_prepare(NETWORK)
        arguments.out.mkdir(parents=True, exist_ok=True)
        often = {"repeats": arguments.repeats, "seconds": arguments.seconds, "report": _report}
        if arguments.what == "actions":
            rows = Rows(arguments.out / "live-actions.csv", actions.COLUMNS, actions.KEY)
            actions.measure(rows, list(cells(short=arguments.short)), folder, **often)
            page = actions_page(rows.rows)
        elif arguments.what == "changes":
            rows = Rows(arguments.out / "live-changes.csv", changes.COLUMNS, changes.KEY)
            pairs_mbps = changes.PAIRS_MBPS[: 1 if arguments.short else None]
            changes.measure(rows, folder, pairs_mbps, repeats=arguments.repeats, report=_report)
            page = changes_page(rows.rows)
        else:
            rows = Rows(arguments.out / "live-estimates.csv", estimates.COLUMNS, estimates.KEY)
            rates_mbps = estimates.RATES_MBPS[: 2 if arguments.short else None]
            estimates.measure(rows, folder, rates_mbps, **often)
            page = estimates_page(rows.rows)
    except (EnvError, PartitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return write_page(lambda: page, arguments.out / f"live-{arguments.what}.md")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(command.run(main))
