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
from partition.placement.errors import PlacementError
from partition.placement.plan import Plan
from partition.placement.solver.problem import Problem, build_problem
from partition.placement.solver.solve import OBJECTIVES, PlacementObjective, priced, solve
from partition.placement.what_if import find_changes

_SHARE_OF_CHANGES = 0.2
"""Of the time, kept for what changes of the cluster would bring; more where the plan took less."""


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m partition.placement", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--cluster", required=True, type=Path, help="TOML file (docs/placement.md)")
    parser.add_argument(
        "--objective", choices=OBJECTIVES, default="throughput", help="default: %(default)s"
    )
    parser.add_argument(
        "--rate", type=_positive, metavar="HZ", help="frames per second to keep up with"
    )
    parser.add_argument(
        "--max-latency", type=_positive, metavar="S", help="of a frame, for objective throughput"
    )
    parser.add_argument(
        "--memory-limit",
        type=cli.positive,
        metavar="BYTES",
        help="of a stage on any device; with --objective latency this is LMOS",
    )
    parser.add_argument(
        "--replicas", type=cli.positive, default=1, help="most devices that share a stage"
    )
    parser.add_argument(
        "--time-limit",
        type=_positive,
        default=10.0,
        metavar="S",
        help="for the plan and what changes would bring, together (10)",
    )
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="FIRST..LAST=DEVICE",
        help="blocks that this device is to compute, named as a plan names them; more than once",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="DEVICE",
        help="leave a device alone, or all of a name with a count; more than once",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE.json",
        help="check and price a plan that --json printed, or one of your own",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it")
    return parser


def _main() -> None:
    arguments = _parser().parse_args()
    wish = PlacementObjective(
        objective=arguments.objective,
        rate_hz=arguments.rate,
        max_latency_s=arguments.max_latency,
        max_replicas=arguments.replicas,
        time_limit_s=arguments.time_limit * (1 - _SHARE_OF_CHANGES),
    )
    cluster = given.left_alone(Cluster.load(arguments.cluster), arguments.without)
    folder = ModelFolder.open_network(arguments.model)
    problem = build_problem(folder, cluster, arguments.memory_limit)
    if arguments.plan and arguments.pin:
        raise PlacementError("--plan says where each block runs: leave --pin out")
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
