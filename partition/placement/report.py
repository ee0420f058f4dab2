"""A plan as text."""

from __future__ import annotations

from partition.placement.cluster import Cluster, LeftOut
from partition.placement.plan import Plan, PlannedStage
from partition.placement.what_if import Change

_MS = 1e3
_MB = 1e6
_LEVEL = 1e-9
"""Share of the objective that is rounding."""


def text(model: str, cluster: Cluster, plan: Plan) -> str:
    """Stages, devices, seconds, bound and gap, what binds and what was left out."""
    used = sum(len(stage.devices) for stage in plan.stages)
    lines = [
        f"{model} on {cluster.name}: {len(plan.stages)} stages on {used} of "
        f"{len(cluster.devices)} devices",
        *map(left_out, cluster.left_out),
        "",
        *_table(plan),
        "",
        f"period {_ms(plan.period_s)}, {rate(plan.period_s)}; latency {_ms(plan.latency_s)}"
        + ("" if plan.energy_j is None else f"; {plan.energy_j:.4g} J per inference (modelled)"),
        _proof(plan),
        f"bottleneck: {plan.binding}",
    ]
    return "\n".join(lines) + "\n"


def left_out(device: LeftOut) -> str:
    """Why a device of the file has no stage, and what would help."""
    return f"left out: device {device.name!r} {device.reason}: add a link or a [switch]"


def _table(plan: Plan) -> list[str]:
    rows = [("stage", "device", "blocks", "compute", "receive", "memory", "of")]
    rows += [
        (
            f"{n}",
            " + ".join(stage.devices) + _clock(stage),
            f"{stage.first_block} .. {stage.last_block}",
            _ms(stage.compute_s) + (f" / {len(stage.devices)}" if len(stage.devices) > 1 else ""),
            _ms(stage.receive_s),
            f"{stage.memory_bytes / _MB:.1f} MB",
            f"{stage.free_bytes / _MB:.1f} MB",
        )
        for n, stage in enumerate(plan.stages, 1)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _clock(stage: PlannedStage) -> str:
    return "" if stage.clock_hz is None else f" @ {stage.clock_hz / 1e6:.0f} MHz"


def _proof(plan: Plan) -> str:
    unit = "J" if plan.objective == "energy" else "ms"
    bound = plan.bound if plan.objective == "energy" else plan.bound * _MS
    if plan.proved:
        return f"proved: no placement has less {_noun(plan)}"
    return f"no placement has less than {bound:.4g} {unit} of {_noun(plan)}: gap {plan.gap:.2%}"


def _noun(plan: Plan) -> str:
    return "period" if plan.objective == "throughput" else plan.objective


def beside(plan: Plan, best: Plan) -> str:
    """How much better than a plan that was given the best one is that was found."""
    less = 1.0 - best.value / plan.value if plan.value else 0.0
    if less < _LEVEL:
        return "planned anew it would be no better"
    value = f"{best.value:.4g} J" if plan.objective == "energy" else _ms(best.value)
    return f"planned anew: {_noun(plan)} {value}, {less:.1%} less"


def change(plan: Plan, found: Change) -> str:
    """What a change of the cluster would bring."""
    if not found.saves:
        nothing = "brings nothing" if found.proved else "nothing better was found in time"
        return f"{found.what}: {nothing}"
    saves = f"{found.saves:.1%} less" + ("" if found.proved else " or better")
    if plan.objective == "energy":
        return f"{found.what}: {found.value:.4g} J, {saves}"
    faster = "" if plan.objective == "latency" else f" ({rate(found.value)})"
    return f"{found.what}: {_noun(plan)} {_ms(found.value)}{faster}, {saves}"


def _ms(seconds: float) -> str:
    return f"{seconds * _MS:.4g} ms"


def rate(period_s: float) -> str:
    """Frames per second, in words."""
    return f"{1 / period_s:.4g} frames per second" if period_s > 0 else "no limit to the rate"
