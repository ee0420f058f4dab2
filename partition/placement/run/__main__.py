"""Run a network on a Ray cluster: `python -m partition.placement.run --model M --cluster FILE`.

Every device of the cluster file is a Ray node labelled with its name. Stages are placed for the
most frames per second, supervised and, when a node dies or a link changes, placed again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partition import cli
from partition.model.folder import ModelFolder
from partition.placement import given
from partition.placement import report as placement_report
from partition.placement.cluster import Cluster
from partition.placement.errors import PlacementError
from partition.placement.options import add_wish_options, wish_of
from partition.placement.run.replan import Replanner, devices_of
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, priced

if TYPE_CHECKING:
    from partition.placement.run.supervisor import PlacementRecord

_SEARCH_S = 5.0
"""For each placement; the line goes on as it is, or stands still, meanwhile."""


def run(
    model: str,
    cluster: Cluster,
    address: str,
    n_frames: int,
    *,
    wish: PlacementObjective,
    pins: Sequence[str] = (),
    plan_file: Path | None = None,
    spares: int = 0,
    quiet: bool,
) -> dict[str, Any]:
    """Run a network on a cluster with random frames.

    Args:
        model: folder, or its name under models/.
        cluster: the devices.
        address: HOST:PORT of Ray's head, or "auto".
        n_frames: to send.
        wish: what placements are for.
        pins: as of `given.pins`.
        plan_file: of the placement to keep; None: the best one.
        spares: processes that wait on each device with a stage.
        quiet: print nothing meanwhile.

    Returns:
        model, cluster, left_out (devices of the file), frames, wrong (results that are not their
        frame's), largest_error, placements, breaks.

    Raises:
        PartitionError: the network, the cluster file, the cluster, or a stage that fails for good.
    """
    from partition.placement.run import ray_cluster  # noqa: PLC0415 - an extra
    from partition.placement.run.supervisor import Supervisor  # noqa: PLC0415

    folder = ModelFolder.open(model).plain
    planner = Replanner(folder, cluster, wish, pins)
    first = None
    if plan_file is not None:
        problem = build_problem(folder, cluster)
        placed = given.saved(plan_file, problem, folder.fingerprint, wish.max_replicas)
        first = priced(problem, wish, placed, 0.0)

    def report(line: str) -> None:
        if not quiet:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    for device in cluster.left_out:
        report(placement_report.left_out(device))
    with (
        ray_cluster.joined(address),
        Supervisor(folder, cluster, planner, report, first=first, spares=spares) as supervisor,
    ):
        result = supervisor.run(n_frames)
        used, left_out = supervisor.placed, supervisor.left_out
    seconds = result.pop("seconds")
    return {
        "model": folder.name,
        "cluster": cluster.name,
        "left_out": [asdict(device) for device in (*cluster.left_out, *left_out)],
        "frames": len(seconds),
        **{key: result[key] for key in ("wrong", "largest_error")},
        "placements": [describe(version, each, seconds) for version, each in enumerate(used)],
        "breaks": [
            {"reason": each["reason"], "seconds": each["ended_s"] - each["began_s"]}
            for each in result["breaks"]
            if each["ended_s"] is not None
        ],
    }


def describe(
    version: int, placed: PlacementRecord, seconds: list[tuple[float, int]]
) -> dict[str, Any]:
    """A placement as `--json` tells it: stages, links, what was expected and what was measured.

    Args:
        version: its place among all of the run's.
        placed: what was used.
        seconds: when each result of the run came, and of which version it is.
    """
    plan = placed.plan
    for_latency = plan.objective == "latency"
    measured = frames_per_s(
        [when_s for when_s, used in seconds if used == version], len(devices_of(plan))
    )
    return {
        "reason": placed.reason,
        "stages": [
            {
                "device": device,
                "start": stage.start,
                "end": stage.end,
                "frames": placed.frames.get(device),
                "expected_s": stage.compute_s,
                "measured_s": placed.busy_s.get(device),
            }
            for stage in plan.stages
            for device in stage.devices
        ],
        "links": [
            {"from": a, "to": b, "measured_bps": rate_bps}
            for (a, b), rate_bps in placed.rates_bps.items()
        ],
        "expected_frames_per_s": 1 / plan.period_s if plan.period_s else None,
        "bound_frames_per_s": 1 / plan.bound if plan.bound and not for_latency else None,
        "expected_latency_s": plan.latency_s,
        "bound_latency_s": plan.bound if plan.bound and for_latency else None,
        "measured_frames_per_s": measured,
        "share": measured * plan.period_s if measured and plan.period_s else None,
    }


def frames_per_s(seconds: list[float], fill: int) -> float | None:
    """Rate of results once the line is full; None where there are too few.

    Args:
        seconds: when each came.
        fill: results to leave out at the beginning.
    """
    steady = seconds[fill:]
    if len(steady) < 2 or steady[-1] <= steady[0]:
        return None
    return (len(steady) - 1) / (steady[-1] - steady[0])


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['frames']} frames, {result['wrong']} wrong, "
        f"largest error {result['largest_error']:.2g}"
    ]
    for each in result["placements"]:
        measured = each["measured_frames_per_s"]
        found = "not measured" if measured is None else f"{measured:.2f} measured"
        share = "" if each["share"] is None else f" ({each['share']:.0%})"
        expected = each["expected_frames_per_s"]
        limit = "no limit to the rate" if expected is None else f"{expected:.2f} frames/s"
        lines.append(f"{each['reason']}: {limit} expected, {found}{share}")
    lines += [f"stood still for {b['seconds']:.1f} s: {b['reason']}" for b in result["breaks"]]
    return "".join(f"{line}\n" for line in lines)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m partition.placement.run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--cluster", required=True, type=Path, help="cluster file, TOML")
    parser.add_argument("--ray", default="auto", metavar="ADDRESS", help="Ray cluster (this one's)")
    parser.add_argument("--frames", type=cli.positive, default=200, help="to send (200)")
    add_wish_options(parser)
    parser.add_argument(
        "--spare",
        action="store_true",
        help="keep a second process ready on every device with a stage, for when one is killed",
    )
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    arguments = parser.parse_args()
    if arguments.objective == "energy":
        raise PlacementError(
            "objective energy is planned, not run: nobody sets the devices' clocks here"
        )
    result = run(
        arguments.model,
        given.left_alone(Cluster.load(arguments.cluster), arguments.without),
        arguments.ray,
        arguments.frames,
        wish=wish_of(arguments, _SEARCH_S),
        pins=arguments.pin,
        plan_file=arguments.plan,
        spares=int(arguments.spare),
        quiet=arguments.json,
    )
    sys.stdout.write(json.dumps(result) + "\n" if arguments.json else _text(result))


if __name__ == "__main__":
    sys.exit(cli.run(_main))
