"""The shortest period by OR-Tools CP-SAT: another road to the same answer.

Devices are nodes of a circuit through a depot, which is where the input comes from and the output
goes to; a device without a stage loops on itself. Each device has a table of the stages that it has
room for with their times; an arc ties the end of one stage to the start of the next and holds the
period above its transfer. Times are rounded up to whole nanoseconds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from partition.placement.solver.problem import Problem

_NS = 1e9


def least_period_by_cpsat(problem: Problem, time_limit_s: float) -> float:
    """The proved optimum, to the nanosecond; inf: there is no placement."""
    model = cp_model.CpModel()
    period = _build(model, problem)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    assert status in (cp_model.OPTIMAL, cp_model.INFEASIBLE), solver.status_name(status)
    return solver.value(period) / _NS if status == cp_model.OPTIMAL else math.inf


def _build(model: Any, problem: Problem) -> Any:
    """Variables and constraints; returns the period in ns."""
    n, last = problem.n_devices, problem.n_blocks
    finite_s = problem.kind_stage_s[np.isfinite(problem.kind_stage_s)]
    links = problem.s_per_byte[np.isfinite(problem.s_per_byte)]
    ends_s = [*problem.entry_period_s[np.isfinite(problem.entry_period_s)]]
    ends_s += [*problem.exit_s[np.isfinite(problem.exit_s)]]
    most_s = max(
        finite_s.max(initial=0), problem.cut_bytes.max() * links.max(initial=0), *ends_s, 0
    )
    period = model.new_int_var(0, _ns(float(most_s)), "period")
    starts = [model.new_int_var(0, last, f"start {u}") for u in range(n)]
    ends = [model.new_int_var(0, last, f"end {u}") for u in range(n)]
    arcs = []
    for u in range(n):
        loop = model.new_bool_var(f"without {u}")
        arcs.append((u, u, loop))
        _add_stages(model, problem, u, (starts[u], ends[u], loop), period)
        first, final = model.new_bool_var(f"first {u}"), model.new_bool_var(f"last {u}")
        arcs += [(n, u, first), (u, n, final)]
        model.add(starts[u] == 0).only_enforce_if(first)
        model.add(ends[u] == last).only_enforce_if(final)
        for seconds, arc in ((problem.entry_period_s[u], first), (problem.exit_s[u], final)):
            if np.isfinite(seconds):
                model.add(period >= _ns(float(seconds))).only_enforce_if(arc)
            else:
                model.add(arc == 0)
        for v in range(n):
            if v != u and np.isfinite(problem.s_per_byte[u, v]):
                arc = model.new_bool_var(f"{u} to {v}")
                arcs.append((u, v, arc))
                model.add(starts[v] == ends[u]).only_enforce_if(arc)
                times = [_ns(problem.transfer_s(cut, u, v)) for cut in range(last + 1)]
                transfer = model.new_int_var(0, max(times), f"transfer {u} to {v}")
                model.add_element(ends[u], times, transfer)
                model.add(period >= transfer).only_enforce_if(arc)
    model.add_circuit(arcs)
    model.minimize(period)
    return period


def _add_stages(
    model: Any, problem: Problem, u: int, stage: tuple[Any, Any, Any], period: Any
) -> None:
    start, end, loop = stage
    seconds = problem.kind_stage_s[problem.kinds[0][u]]
    rows = [
        (int(i), int(j), _ns(float(seconds[i, j])), 0) for i, j in np.argwhere(np.isfinite(seconds))
    ]
    time = model.new_int_var(0, max([row[2] for row in rows], default=0), f"time {u}")
    # Without a stage: no time, and an end that fits any transfer's table.
    model.add_allowed_assignments([start, end, time, loop], [*rows, (0, 0, 0, 1)])
    model.add(period >= time)


def _ns(seconds: float) -> int:
    return int(np.ceil(seconds * _NS - 1e-6))
