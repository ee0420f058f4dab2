"""The state of a driven board on one screen of a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from agents.watch.protocol import SILENT_S

_BARS = "▁▂▃▄▅▆▇█"
_N_BARS = 24
"""Of history, so that 80 columns hold the rest of a line as well."""
_N_EVENTS = 6


def screen(state: Mapping[str, Any]) -> RenderableType:
    """What a person wants to know at a glance.

    Args:
        state: as `BoardState.document`.
    """
    totals = state["totals"]
    title = Text.assemble(
        (f"{totals['model']} on {totals['board']}", "bold"), "  ", _standing(state)
    )
    what = [totals["policy"], totals["runs_on"], f"for {_span(totals['duration_s'])}"]
    what += ["board modelled"] if totals["board_is_modelled"] else []
    what += ["dry run: clocks are left alone"] if totals["dry_run"] else []
    lately = _span(state["recent"]["duration_s"])
    parts: list[RenderableType] = [
        *(title, Text(" · ".join(what), "dim"), Text(), _figures(state)),
        Text(f"of the last {lately}; {saving_line(state['saving'])}", "dim"),
        Text(),
    ]
    if state["clocks"]:
        parts += [_clocks(state["clocks"]), Text()]
    parts += [_counts("cut", totals["requests_per_cut"])]
    if any(state["fallbacks_by_reason"].values()):
        parts += [_counts("finished here", state["fallbacks_by_reason"])]
    parts += [Rule(style="dim"), *_events(state["events"])]
    return Group(*parts)


def _standing(state: Mapping[str, Any]) -> Text:
    if state["age_s"] > SILENT_S:
        return Text(f"the control loop has not moved for {_span(state['age_s'])}", "bold red")
    if state["stood_in_for"] is not None:
        return Text(f"the policy is stood in for: {state['stood_in_for']}", "bold red")
    if state["promise_is_broken"]:
        return Text("the promise cannot be kept at present", "bold red")
    return Text("the policy decides", "green")


def _figures(state: Mapping[str, Any]) -> Table:
    recent, totals, history = state["recent"], state["totals"], state["history"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    counts = zip(history["in_time"], history["late"], history["dropped"], strict=True)
    table.add_row(
        "in time",
        f"{_number(recent['deadline_hit_rate'], 100, 1)} %",
        _bars([_share(met, met + late + dropped) for met, late, dropped in counts], 1.0),
        f"{recent['requests']} answered, {recent['dropped']} dropped",
    )
    table.add_row(
        "energy",
        f"{_number(recent['energy_per_request_j'], 1, 3)} J",
        _bars(history["energy_per_request_j"]),
        "per request",
    )
    table.add_row(
        "latency",
        f"{_number(recent['latency_p95_s'], 1e3, 1)} ms",
        _bars(history["latency_p95_s"]),
        f"p95; target {_number(state['latency_target_s'], 1e3, 0)} ms",
    )
    table.add_row(
        "power",
        f"{_number(state['power_w'], 1, 2)} W",
        _bars(history["power_w"]),
        "modelled" if totals["board_is_modelled"] else _measured(state),
    )
    table.add_row("link", *_link(state["cloud"], history["link_bps"]))
    return table


def _link(cloud: Mapping[str, Any], history: Sequence[float | None]) -> tuple[str, str, str]:
    if not cloud["is_there"]:
        return "none", "", "this board alone"
    if cloud["link_bps"] is None:
        return "-", _bars(history), "the cloud does not answer"
    return (
        f"{_number(cloud['link_bps'], 1e-6, 1)} Mbit/s",
        _bars(history),
        f"{_number(cloud['rtt_s'], 1e3, 1)} ms, server {_number(cloud['server_load'], 100, 0)} %",
    )


def _measured(state: Mapping[str, Any]) -> str:
    words = "measured" if state["power_is_measured"] else "not measured now"
    margin_c = state["temperature_margin_c"]
    return words if margin_c is None else f"{words}, {margin_c:.0f} °C to go"


def saving_line(saving: Mapping[str, Any] | None) -> str:
    """What the last comparison found, in words."""
    if saving is None:
        return "saved against the governor: not measured (deploy.py --against governor)"
    found = saving["energy_saving"]
    ends = ""
    if found["low"] is not None and found["high"] is not None:
        ends = f" ({100 * found['low']:.1f} to {100 * found['high']:.1f})"
    unclear = "" if saving["is_shown"] else ", not clear"
    modelled = ", modelled power" if saving["board_is_modelled"] else ""
    share, day = f"{100 * found['value']:.1f} %{ends}{unclear}{modelled}", saving["measured"]
    return (
        f"saved against {saving['against']}: {share}, in {saving['scenario']} on "
        f"{day[:4]}-{day[4:6]}-{day[6:8]}"
    )


def _clocks(clocks: Sequence[Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for clock in clocks:
        asked = "left to the board's governor"
        if clock["asked_hz"] is not None:
            asked = f"asked for {clock['asked_hz'] / 1e9:.2f} GHz"
        if clock["overruled_by"]:
            asked += f", overruled by {clock['overruled_by']}"
        name = Text.assemble(("clock ", "dim"), clock["name"])
        table.add_row(name, f"{clock['hz'] / 1e9:.2f} GHz", Text(asked))
    return table


def _counts(name: str, counts: Mapping[str, int]) -> Text:
    each = sorted(((n, key) for key, n in counts.items() if n), reverse=True)
    words = ", ".join(f"{key} {n}" for n, key in each) or "none yet"
    return Text.assemble((f"{name}: ", "dim"), words)


def _events(events: Sequence[Mapping[str, Any]]) -> list[Text]:
    """The newest first, a line each, so that a small terminal cuts off the oldest."""
    if not events:
        return [Text("no events", "dim")]
    lines = [
        Text.assemble(
            (f"{time.strftime('%H:%M:%S', time.localtime(event['time_s']))}  ", "dim"),
            (event["text"], "" if event["level"] == "info" else "yellow"),
        )
        for event in events[: -_N_EVENTS - 1 : -1]
    ]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _bars(values: Sequence[float | None], top: float | None = None) -> str:
    """A curve in block characters, from 0; blanks where nothing is known."""
    last = values[-_N_BARS:]
    limit = top or max((value for value in last if value is not None), default=0.0) or 1.0
    return "".join(
        " " if value is None else _BARS[min(int(value / limit * len(_BARS)), len(_BARS) - 1)]
        for value in last
    )


def _number(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
