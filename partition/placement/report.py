"""A plan as text."""

from __future__ import annotations

from partition.placement.plan import Plan, Stage
from partition.placement.what_if import Change

_MS = 1e3
_MB = 1e6


def text(model: str, cluster: str, n_devices: int, plan: Plan, changes: list[Change]) -> str:
    """Stages, devices, seconds, bound and gap, what binds and what a change would bring."""
    used = sum(len(stage.devices) for stage in plan.stages)
    lines = [
        f"{model} on {cluster}: {len(plan.stages)} stages on {used} of {n_devices} devices",
        "",
        *_table(plan),
        "",
        f"period {_ms(plan.period_s)}, {_rate(plan.period_s)}; latency {_ms(plan.latency_s)}"
        + ("" if plan.energy_j is None else f"; {plan.energy_j:.4g} J per inference (modelled)"),
        _proof(plan),
        f"bottleneck: {plan.binding}",
        *(_change(plan, change) for change in changes),
    ]
    return "\n".join(lines) + "\n"


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


def _clock(stage: Stage) -> str:
    return "" if stage.clock_hz is None else f" @ {stage.clock_hz / 1e6:.0f} MHz"


def _proof(plan: Plan) -> str:
    unit = "J" if plan.objective == "energy" else "ms"
    bound = plan.bound if plan.objective == "energy" else plan.bound * _MS
    if plan.proved:
        return f"proved: no placement has less {_noun(plan)}"
    return f"no placement has less than {bound:.4g} {unit} of {_noun(plan)}: gap {plan.gap:.2%}"


def _noun(plan: Plan) -> str:
    return "period" if plan.objective == "throughput" else plan.objective


def _change(plan: Plan, change: Change) -> str:
    if not change.saves:
        return f"{change.what}: brings nothing"
    if plan.objective == "energy":
        return f"{change.what}: {change.value:.4g} J, {change.saves:.1%} less"
    now = _ms(change.value)
    faster = "" if plan.objective == "latency" else f" ({_rate(change.value)})"
    return f"{change.what}: {_noun(plan)} {now}{faster}, {change.saves:.1%} less"


def _ms(seconds: float) -> str:
    return f"{seconds * _MS:.4g} ms"


def _rate(period_s: float) -> str:
    return f"{1 / period_s:.4g} frames per second" if period_s > 0 else "no limit to the rate"
