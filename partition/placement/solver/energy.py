"""Energy per inference at a given rate, each device at the clock that is best for its stage.

At a rate every stage has the same period, so the clocks can be chosen stage by stage and are still
the best together: a device takes `busy_w` while it computes and `idle_w` for the rest of the
period, and the slowest clock that keeps up is not always the one that takes least. Sending costs
`send_w` on top. Devices without a stage are off. All of it is modelled.
"""

from __future__ import annotations

import numpy as np

from partition.placement.cluster import ClockPoint, Floats
from partition.placement.errors import PlacementError
from partition.placement.solver import a_star
from partition.placement.solver.a_star import Costs
from partition.placement.solver.problem import Problem


def energy_costs(problem: Problem, period_s: float) -> Costs:
    """Joules of every part of a placement that takes a frame per period, but for rounding.

    Raises:
        PlacementError: a device's power is not known.
    """
    for name, clocks in zip(problem.devices, problem.clocks, strict=True):
        if not clocks:
            raise PlacementError(
                f"device {name!r} has no clocks with busy_w: energy needs [[devices.clocks]] in "
                "the cluster file"
            )
    if problem.idle_w is None or problem.send_w is None:
        raise PlacementError("energy needs the power of every device: give a cluster file")
    first = [group[0] for group in problem.classes]
    send_w = problem.send_w[first]
    transfer_s = a_star.transfers_s(problem)
    exit_s, entry_s = problem.exit_s[first], problem.entry_s[first]
    source_w = 0.0 if problem.source is None else problem.send_w[problem.source]
    linked_s = np.where(np.isfinite(transfer_s), transfer_s, 0.0)
    most_s = a_star.relaxed(period_s)
    return Costs(
        stage=np.array([_stage_j(problem, device, period_s).min(axis=0) for device in first]),
        link=a_star.within(transfer_s, linked_s * send_w[:, None], most_s),
        entry=a_star.within(
            problem.entry_period_s[first], np.where(entry_s < np.inf, entry_s, 0) * source_w, most_s
        ),
        exit=a_star.within(exit_s, np.where(exit_s < np.inf, exit_s, 0) * send_w, most_s),
    )


def best_clock(problem: Problem, device: int, i: int, j: int, period_s: float) -> ClockPoint:
    """The clock that stage [i, j) takes least energy at."""
    return problem.clocks[device][int(_stage_j(problem, device, period_s)[:, i, j].argmin())]


def _stage_j(problem: Problem, device: int, period_s: float) -> Floats:
    """(clocks, L + 1, L + 1); inf where a clock does not keep up."""
    assert problem.idle_w is not None
    fastest_s = problem.kind_stage_s[problem.kinds[0][device]]
    finite_s = np.where(np.isfinite(fastest_s), fastest_s, 0.0)
    idle_w = float(problem.idle_w[device])
    return np.array(
        [
            a_star.within(
                fastest_s / clock.speed,
                idle_w * period_s + (clock.busy_w - idle_w) * finite_s / clock.speed,
                a_star.relaxed(period_s),
            )
            for clock in problem.clocks[device]
        ]
    )
