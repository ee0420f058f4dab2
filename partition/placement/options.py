"""Options of what a placement is for and what of it is given, of all commands that place."""

from __future__ import annotations

import argparse
from pathlib import Path

from partition import cli
from partition.placement.errors import PlacementError
from partition.placement.solver.solve import OBJECTIVES, PlacementObjective


def add_wish_options(parser: argparse.ArgumentParser) -> None:
    """Add what a placement is for, and what is given beforehand."""
    parser.add_argument(
        "--objective", choices=OBJECTIVES, default="throughput", help="default: %(default)s"
    )
    parser.add_argument(
        "--rate", type=positive, metavar="HZ", help="frames per second to keep up with"
    )
    parser.add_argument(
        "--max-latency", type=positive, metavar="S", help="of a frame, for objective throughput"
    )
    parser.add_argument(
        "--replicas", type=cli.positive, default=1, help="most devices that share a stage (1)"
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
        help="the placement, as --json printed it, or one of your own (docs/placement.md)",
    )


def wish_of(arguments: argparse.Namespace, time_limit_s: float) -> PlacementObjective:
    """What those options ask for.

    Args:
        arguments: parsed.
        time_limit_s: of a search.

    Raises:
        PlacementError: they contradict one another.
    """
    if arguments.plan and arguments.pin:
        raise PlacementError("--plan says where each block runs: leave --pin out")
    return PlacementObjective(
        objective=arguments.objective,
        rate_hz=arguments.rate,
        max_latency_s=arguments.max_latency,
        max_replicas=arguments.replicas,
        time_limit_s=time_limit_s,
    )


def positive(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
