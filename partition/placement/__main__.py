"""Place a network on a cluster: `python -m partition.placement --model M --cluster FILE`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from partition import cli
from partition.model.folder import ModelFolder
from partition.placement import given, report
from partition.placement.cluster import Cluster
from partition.placement.options import add_wish_options, positive, wish_of
from partition.placement.plan import Plan
from partition.placement.solver.problem import Problem, build_problem
from partition.placement.solver.solve import priced, solve
from partition.placement.what_if import find_changes

_SHARE_OF_CHANGES = 0.2
"""Of the time, kept for what changes of the cluster would bring; more where the plan took less."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m partition.placement", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--cluster", required=True, type=Path, help="TOML file (docs/placement.md)")
    add_wish_options(parser)
    parser.add_argument(
        "--memory-limit",
        type=cli.positive,
        metavar="BYTES",
        help="of a stage on any device; with --objective latency this is LMOS",
    )
    parser.add_argument(
        "--time-limit",
        type=positive,
        default=10.0,
        metavar="S",
        help="for the plan and what changes would bring, together (10)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it")
    return parser


def _main() -> None:
    arguments = _parser().parse_args()
    wish = wish_of(arguments, arguments.time_limit * (1 - _SHARE_OF_CHANGES))
    cluster = given.left_alone(Cluster.load(arguments.cluster), arguments.without)
    folder = ModelFolder.open_network(arguments.model)
    problem = build_problem(folder, cluster, arguments.memory_limit)
    problem = replace(problem, pins=given.pins(arguments.pin, problem))
    placed = None
    if arguments.plan:
        placed = given.saved(arguments.plan, problem, folder.fingerprint, wish.max_replicas)
    began_s = time.monotonic()
    plan = best = solve(problem, wish)
    if placed is not None:
        plan = priced(problem, wish, placed, best.bound)
    left_s = arguments.time_limit - (time.monotonic() - began_s)
    say = _nothing if arguments.json else _say
    say(report.text(folder.name, cluster, plan))
    if arguments.picture:
        _draw(folder.name, cluster, problem, plan, arguments.picture)
    changes = []
    if placed is not None:
        say(report.beside(plan, best) + "\n")
    else:
        for change in find_changes(problem, wish, plan, left_s):
            say(report.change(plan, change) + "\n")
            changes.append(asdict(change))
    if arguments.json:
        result: dict[str, Any] = {"model": folder.name, "cluster": cluster.name}
        result["fingerprint"] = folder.fingerprint
        result["left_out"] = [asdict(device) for device in cluster.left_out]
        result |= plan.to_json() | {"changes": changes, "planned_anew": best.value}
        _say(json.dumps(result, allow_nan=False) + "\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()  # a plan is read while the rest is still looked for


def _nothing(_: str) -> None:
    pass


def _draw(model: str, cluster: Cluster, problem: Problem, plan: Plan, path: Path) -> None:
    from partition.placement import picture  # noqa: PLC0415 - a planner's host may lack matplotlib

    picture.save(model, cluster, problem, plan, path)


if __name__ == "__main__":
    sys.exit(cli.run(_main))
