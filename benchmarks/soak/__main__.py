"""Soak test of a daemon, under faults and under signals: `python -m benchmarks.soak`, `make soak`.

Exit code 1 where something came out that must not be; --seed draws the same faults again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.soak.kinds import ALL
from benchmarks.soak.signals import COLD_SHARE, SignalReport, send_signals
from benchmarks.soak.soak import SoakPlan, SoakReport, soak
from partition.prepare.build import prepare


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    logging.disable(logging.WARNING)  # of boards that are opened here; the daemon's are kept
    arguments.log.parent.mkdir(parents=True, exist_ok=True)
    arguments.log.write_text("")
    n_findings = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = Path(scratch)
        model = prepare("tiny-cnn", folder / "tiny-cnn").path
        sets = [[name] for name in arguments.faults] if arguments.each else [arguments.faults]
        for number, kinds in enumerate(sets if arguments.duration else []):
            place = folder / f"soak-{number}"
            place.mkdir()
            plan = SoakPlan(
                kinds=kinds,
                seconds=arguments.duration,
                seed=arguments.seed,
                board=arguments.board,
                hold=arguments.hold,
            )
            report = soak(model, plan, place, arguments.log)
            _tell(", ".join(kinds) if arguments.each else "all faults", report, arguments.each)
            n_findings += len(report.findings)
        if arguments.signals:
            place = folder / "signals"
            place.mkdir()
            n_cold = round(COLD_SHARE * arguments.signals)
            began_s = time.monotonic()
            found = send_signals(
                model,
                place,
                arguments.log,
                arguments.signals,
                n_cold,
                arguments.seed,
                arguments.board,
            )
            _tell_signals(found, time.monotonic() - began_s)
            n_findings += len(found.findings)
    return int(n_findings > 0)


def _tell(name: str, report: SoakReport, in_short: bool) -> None:
    print(f"{name}: {'FAILED' if report.findings else 'held'}", flush=True)
    for words in report.findings:
        print(f"  {words}")
    if report.findings:
        print("    " + report.diagnosis.replace("\n", "\n    "))
    if not in_short or report.findings:
        drawn = ", ".join(f"{kind} {n}" for kind, n in sorted(report.drawn.items()))
        print(f"  {sum(report.drawn.values())} faults: {drawn}")
        print(f"  {report.n_writes} writes of clocks; cuts {report.cuts}")
        print("  " + report.table.replace("\n", "\n  "), flush=True)


def _tell_signals(report: SignalReport, seconds: float) -> None:
    print(f"signals: {'FAILED' if report.findings else 'held'}, {seconds:.0f} s")
    for words in report.findings:
        print("  " + words.replace("\n", "\n    "))
    print("  " + report.table.replace("\n", "\n  "), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--duration", type=float, default=1800.0, help="of faults, s (1800)")
    parser.add_argument("--signals", type=int, default=1000, help="that are sent after that (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    parser.add_argument(
        "--faults",
        type=_kinds,
        default=ALL,
        metavar="NAME,..",
        help=f"kinds; all of {', '.join(ALL)}",
    )
    parser.add_argument(
        "--each", action="store_true", help="a daemon of its own for each kind, DURATION long"
    )
    parser.add_argument("--board", default="jetson-orin-nano-super", help="fake board")
    parser.add_argument("--hold", default="cap", help="how the daemon holds clocks (cap)")
    parser.add_argument(
        "--log",
        type=Path,
        default=Path("soak.jsonl"),
        help="faults and signals, a line each (soak.jsonl)",
    )
    return parser


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = set(names) - set(ALL)
    if unknown:
        raise argparse.ArgumentTypeError(f"no kind {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
