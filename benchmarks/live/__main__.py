"""Live runs beside the simulator's prediction: `python -m benchmarks.live`.

A modelled board runs the real pipeline in one network namespace, a real server runs in another, and
a relay between them gives the link an exact rate and delay. Needs root and TUN devices. Adds a row
to a table per run, and goes on where it was interrupted; then writes a page with pictures.

  actions    fixed actions: latency, share in time, energy and cost, live and simulated; about
             four hours
  policies   the same of policies and other deciders, their order, and what they read; trains those
             that learn, where results/runs/live-NAME is not there yet; about three hours
  estimates  what boards take links of known rates for
  changes    when boards know of a change of the rate by ten times

What disturbs the machine disturbs a live run: each row has the error of a control on the board
alone just before it, and is taken again while that is off by more than 3 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.errors import AgentError
from agents.evaluation.plots import save
from agents.training.run import open_or_prepare
from benchmarks.live import actions, changes, estimates, plan, policies, readings
from benchmarks.live.comparison import compared
from benchmarks.live.course import Course, courses
from benchmarks.live.deciders import NAMES
from benchmarks.live.link import check_possible
from benchmarks.live.page import actions_page, changes_page, estimates_page, policies_page
from benchmarks.live.pictures import actions_figure, policies_figure, readings_figure
from benchmarks.live.rows import Rows
from benchmarks.page import write_page
from common import command
from envs.errors import EnvError
from hw.errors import HardwareError
from partition.cli import positive
from partition.errors import PartitionError
from partition.model.folder import ModelFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        check_possible()
        folder = open_or_prepare(plan.NETWORK)
        arguments.out.mkdir(parents=True, exist_ok=True)
        make = _MEASURES[arguments.what](arguments, folder)
    except (AgentError, EnvError, HardwareError, PartitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return write_page(make, arguments.out / f"live-{arguments.what}.md")


def _actions(arguments: argparse.Namespace, folder: ModelFolder) -> Callable[[], str]:
    out = arguments.out
    rows = Rows(out / "live-actions.csv", actions.COLUMNS, actions.KEY)
    often = _often(arguments, plan.REPEATS, plan.SECONDS)
    board = plan.SIM if arguments.device is None else plan.EMULATED
    devices = {board: arguments.device or plan.BOARDS[plan.SIM]}
    chosen = list(plan.cells(board, short=arguments.short))
    actions.measure(rows, chosen, folder, devices, n_jobs=arguments.jobs, **often)

    def make() -> str:
        cells = compared(rows.rows, actions.KEY[:-1])
        save(actions_figure(cells), out / "live-actions.png")
        return actions_page(rows.rows)

    return make


def _policies(arguments: argparse.Namespace, folder: ModelFolder) -> Callable[[], str]:
    out = arguments.out
    rows = Rows(out / "live-policies.csv", policies.COLUMNS, policies.KEY)
    seen = Rows(out / "live-readings.csv", readings.COLUMNS, readings.KEY)
    links = _links(arguments.links or (SHORT_LINKS if arguments.short else tuple(courses())))
    names = arguments.deciders or (NAMES[-2:] if arguments.short else NAMES)
    often = _often(arguments, policies.REPEATS, policies.SECONDS)
    n_jobs = arguments.jobs
    policies.measure(rows, seen, links, names, folder, arguments.runs, n_jobs=n_jobs, **often)

    def make() -> str:
        cells = compared(rows.rows, policies.KEY[:-1])
        save(policies_figure(cells), out / "live-policies.png")
        shown = next((n for n in readings.READ if any(r["decider"] == n for r in seen.rows)), None)
        if shown is not None:
            save(readings_figure(seen.rows, shown), out / "live-readings.png")
        return policies_page(rows.rows, seen.rows)

    return make


SHORT_LINKS = ("steady", "alternating")


def _links(names: Sequence[str]) -> list[Course]:
    makers = courses()
    return [makers[name]() for name in names]


def _estimates(arguments: argparse.Namespace, folder: ModelFolder) -> Callable[[], str]:
    rows = Rows(arguments.out / "live-estimates.csv", estimates.COLUMNS, estimates.KEY)
    rates_mbps = estimates.RATES_MBPS[: 2 if arguments.short else None]
    estimates.measure(rows, folder, rates_mbps, **_often(arguments, plan.REPEATS, plan.SECONDS))
    return lambda: estimates_page(rows.rows)


def _changes(arguments: argparse.Namespace, folder: ModelFolder) -> Callable[[], str]:
    rows = Rows(arguments.out / "live-changes.csv", changes.COLUMNS, changes.KEY)
    pairs_mbps = changes.PAIRS_MBPS[: 1 if arguments.short else None]
    repeats = arguments.repeats or plan.REPEATS
    changes.measure(rows, folder, pairs_mbps, repeats=repeats, report=_report)
    return lambda: changes_page(rows.rows)


_MEASURES = {
    "actions": _actions,
    "policies": _policies,
    "estimates": _estimates,
    "changes": _changes,
}


def _often(arguments: argparse.Namespace, repeats: int, seconds: float) -> dict[str, Any]:
    return {
        "repeats": arguments.repeats or repeats,
        "seconds": arguments.seconds or seconds,
        "report": _report,
    }


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = tuple(_MEASURES)
    parser.add_argument(
        "what", choices=kinds, nargs="?", default=kinds[0], help="to measure (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (%(default)s)")
    parser.add_argument(
        "--repeats",
        type=positive,
        default=None,
        help=f"of each cell ({plan.REPEATS}; policies {policies.REPEATS})",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=None,
        help=f"of a run ({plan.SECONDS:g}; policies {policies.SECONDS:g})",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        help="runs of actions or policies at a time (%(default)s)",
    )
    parser.add_argument(
        "--device",
        default=None,
        metavar="FILE",
        help="of actions on the emulated board, what calibrate.py made of it on this machine",
    )
    parser.add_argument("--short", action="store_true", help="a few cells only")
    parser.add_argument(
        "--links", nargs="+", choices=tuple(courses()), default=None, help="of policies (all)"
    )
    parser.add_argument(
        "--deciders", nargs="+", choices=NAMES, default=None, help="of policies (all)"
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("results/runs"),
        help="where run folders of policies are, or come (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main))
