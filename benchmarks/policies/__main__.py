"""Compare everything that decides: `python -m benchmarks.policies [--short | --quick]`.

Writes `benchmark.csv`, `benchmark-speed.csv`, `benchmark.md` and pictures, and keeps what each fit
came to beside them: a run that was cut goes on where it was, and what rests on changed code or data
is done again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agents.errors import AgentError
from agents.training.run import open_or_prepare
from benchmarks.policies import plan
from benchmarks.policies.compared import COMPARED
from benchmarks.policies.report import write
from benchmarks.policies.run import run_jobs
from benchmarks.policies.table import TableRow, over_all
from benchmarks.policies.traces import recorded_scenarios
from common import command
from envs.errors import EnvError
from envs.sim.build import build_sim_config
from hw.errors import HardwareError
from partition.errors import PartitionError

JOBS = Path("results/runs/benchmark")
"""Fits of comparisons without `--out`."""
FITS = "fits"
"""Folder of the fits in the one of `--out`."""
USER_ERRORS = (AgentError, EnvError, HardwareError, PartitionError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; 0 when it is complete, 2 on bad input."""
    arguments = _parser().parse_args(argv)
    default = JOBS / "quick" if arguments.quick else Path("results")
    out: Path = arguments.out or default
    fits = arguments.out / FITS if arguments.out else JOBS
    report = partial(print, file=sys.stderr, flush=True)
    try:
        recorded = recorded_scenarios(arguments.traces) if arguments.traces else ()
        cases = _cases(arguments)
        for model in dict.fromkeys(case.model for case in cases):
            _open(model)
        todo = plan.jobs(cases)
        results = run_jobs(todo, fits, recorded, arguments.processes, report)
        rows = write(results, out, _command(arguments), shows_goals=not arguments.quick)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: cannot write the comparison ({error}); free space or give --out",
            file=sys.stderr,
        )
        return 2
    print(json.dumps(_document(rows)) if arguments.json else _text(rows, out))
    return 0


def _cases(arguments: argparse.Namespace) -> list[plan.Case]:
    """What is compared.

    Raises:
        AgentError: something that was added is no decider, or one for another board.
    """
    added: list[str] = arguments.add
    if arguments.quick:
        cases = plan.quick_plan(added)
    else:
        cases = (plan.short_plan if arguments.short else plan.full_plan)(arguments.seeds, added)
    main = cases[0]
    for name in added:
        if COMPARED.entry(name).kind == "frozen":  # whether it fits, before an hour's work
            world = build_sim_config(main.device, open_or_prepare(main.model), main.scenarios)
            COMPARED.fit(name, world, 0)
    return cases


def _open(model: str) -> None:
    """Prepare a network, unless that takes more than preparing.

    Raises:
        AgentError: its accuracy is to be known and was not measured yet.
    """
    if open_or_prepare(model).attention is None and model in plan.WITH_ACCURACY:
        raise AgentError(
            f"{model} is compared with its accuracy, which has not been measured yet: run "
            f"python -m partition.train_attention --model {model} --data fashion-mnist"
        )


def _command(arguments: argparse.Namespace) -> str:
    words = ["python -m benchmarks.policies"]
    words += ["--short"] if arguments.short else []
    words += ["--quick"] if arguments.quick else [f"--seeds {arguments.seeds}"]
    words += [f"--add {' '.join(arguments.add)}"] if arguments.add else []
    words += [f"--traces {arguments.traces}"] if arguments.traces else []
    return " ".join(words)


def _document(rows: Sequence[TableRow]) -> dict[str, object]:
    return {
        "rows": [
            {
                "device": row.device,
                "model": row.model,
                "scenario": row.scenario,
                "decider": row.decider,
                "energy_j": row.energy_j.mean,
                "latency_s": row.latency_s.mean,
                "pooled_p95_latency_s": row.pooled_p95_latency_s,
                "deadline_hit_rate": row.deadline_hit_rate.mean,
                "accuracy": None if math.isnan(row.accuracy.mean) else row.accuracy.mean,
                "cost": row.cost.mean,
                "oracle_gap": row.oracle_gap.mean,
            }
            for row in rows
        ],
    }


def _text(rows: Sequence[TableRow], out: Path) -> str:
    first = rows[0]
    mine = [row for row in rows if (row.device, row.model) == (first.device, first.model)]
    lines = [f"{first.device}, {first.model}, over all scenarios (modelled)"]
    lines += [
        f"{row.decider:20} {row.energy_j.mean:6.3f} J {1e3 * row.latency_s.mean:7.1f} ms "
        f"{100 * row.deadline_hit_rate.mean:6.2f} % in time  cost {row.cost.mean:.4f}"
        for row in over_all(mine)
    ]
    return "\n".join([*lines, f"tables and pictures are in {out}"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policies", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a few minutes, fewer of everything")
    size.add_argument(
        "--short",
        action="store_true",
        help="one device and network, the deciders asked for first: with --seeds 3 half an hour",
    )
    parser.add_argument("--seeds", type=_positive, default=10, help="of each fit (%(default)s)")
    parser.add_argument(
        "--add",
        nargs="+",
        default=[],
        metavar="NAME",
        help="compare these, too: MODULE:CLASS of your own, run folders",
    )
    parser.add_argument("--traces", type=Path, default=None, help="folder of recorded links")
    parser.add_argument(
        "--processes",
        type=_positive,
        default=os.cpu_count() or 1,
        help="jobs at once (%(default)s)",
    )
    parser.add_argument("--out", type=Path, default=None, help="where everything goes (results)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(command.run(main, "the same command goes on after the last finished job"))
