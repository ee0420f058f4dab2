"""Report what can be driven and measured on this machine: `python -m hw.doctor`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from common import command
from hw.device.match import devices_like
from hw.doctor import systems
from hw.doctor.record import record
from hw.doctor.survey import ClockSurvey, RailSurvey, Survey, ZoneSurvey, survey
from hw.errors import HardwareError
from hw.sysfs import Sysfs

BOLD, GREEN, YELLOW, RED, PLAIN = "\033[1m", "\033[32m", "\033[33m", "\033[31m", "\033[0m"
HOT_MARGIN_C = 5.0
WIDTH = 100
_NUMBERED = re.compile(r"(/policy|/intel-rapl:)[\d:]+")
GRANT = "  sudo sh -c 'chgrp $0 $* && chmod g+{right} $*' $(id -gn) {files}"
"""Lets the caller's group at files, by one command that any shell takes."""


class Style:
    """Colours, on a terminal only."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, colour: str, text: str) -> str:
        """A text in a colour."""
        return f"{colour}{text}{PLAIN}" if self._coloured else text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 with one sentence when something cannot be read."""
    parser = argparse.ArgumentParser(
        "python -m hw.doctor", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="look at a recorded tree")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--record", type=Path, metavar="DIR", help="save a tree for --root")
    parser.add_argument(
        "--systems", action="store_true", help="print the table of systems that boards come with"
    )
    arguments = parser.parse_args(argv)
    if arguments.systems:
        print("\n".join(systems.table()))
        return 0
    try:
        if not (arguments.root / "sys").is_dir():
            raise HardwareError(f"{arguments.root} holds no folder sys; name a recorded tree")
        with closing(Sysfs(arguments.root)) as sysfs:
            if arguments.record is not None:
                print(f"{record(sysfs, arguments.record)} files saved in {arguments.record}")
                return 0
            found = survey(sysfs)
    except HardwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print("\n".join(report(found, Style(coloured=sys.stdout.isatty()))))
    return 0


def report(found: Survey, style: Style) -> Iterator[str]:
    """The survey in lines for people."""
    mode = f", power mode {found.power_mode}" if found.power_mode else ""
    yield style(BOLD, found.machine) + f" (Linux {found.kernel}{mode})"
    for place, line in enumerate(systems.lines(found.system)):
        yield style(BOLD, "" if place else "system") + " " * (8 if place else 2) + line
    if found.clocks:
        head = f"{'clocks':<12}{'points':>6}{'MHz':>12}{'now':>7}{'limits':>12}"
        yield style(BOLD, f"{head}  {'governor':<16} hold by")
    else:
        yield style(BOLD, "clocks") + "  none that the kernel lets be set"
    yield from (_clock_line(clock, style) for clock in found.clocks)
    if found.rails:
        head = f"{'power':<24}{'now':>10}{'in steps of':>14}{'new every':>12}{'shunt':>12}"
        yield style(BOLD, head)
    else:
        yield style(BOLD, "power") + "  no sensor that can be read"
    yield from (_rail_line(rail, style) for rail in found.rails)
    yield style(BOLD, "temperature") + ("" if found.zones else "  no sensor")
    yield from (_zone_line(zone, style) for zone in found.zones)
    yield from _problems(found, style)
    yield style(BOLD, "an agent could")
    for line in _abilities(found):
        yield from textwrap.wrap(
            line, WIDTH, initial_indent="  ", subsequent_indent=" " * 12, break_on_hyphens=False
        )


def _clock_line(clock: ClockSurvey, style: Style) -> str:
    span = _span_mhz((clock.available_hz[0], clock.available_hz[-1]))
    now = "?" if clock.now_hz is None else f"{clock.now_hz / 1e6:.0f}"
    limits = "" if clock.limits_hz is None else _span_mhz(clock.limits_hz)
    holds = style(RED, "not writable") if clock.denied else style(GREEN, ", ".join(clock.holds))
    numbers = f"{len(clock.available_hz):>6}{span:>12}{now:>7}{limits:>12}"
    return f"  {clock.name:<10}{numbers}  {clock.governor or '':<16} {holds}"


def _span_mhz(span_hz: tuple[int, int]) -> str:
    return f"{span_hz[0] / 1e6:.0f}-{span_hz[1] / 1e6:.0f}"


def _rail_line(rail: RailSurvey, style: Style) -> str:
    if rail.problem is not None:
        return f"  {rail.name:<22} {style(RED, rail.problem)}"
    now = "counter" if rail.power_w is None else f"{rail.power_w:.3f} W"
    step = "" if rail.step_w is None else f"{1e3 * rail.step_w:.3g} mW"
    shunt = "" if rail.shunt_ohm is None else f"{1e3 * rail.shunt_ohm:.3g} mOhm"
    mark = style(GREEN, "  in the total") if rail.in_total else ""
    return f"  {rail.name:<22}{now:>10}{step:>14}{_duration(rail.period_s):>12}{shunt:>12}{mark}"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _zone_line(zone: ZoneSurvey, style: Style) -> str:
    limit = "no limit reported" if zone.limit_c is None else f"slows down at {zone.limit_c:.1f} C"
    hot = zone.limit_c is not None and zone.temperature_c > zone.limit_c - HOT_MARGIN_C
    now = f"{zone.temperature_c:.1f} C"
    return f"  {zone.name:<26}{style(RED if hot else GREEN, f'{now:>8}')}  {limit}"


def _problems(found: Survey, style: Style) -> Iterator[str]:
    """Obstacles, each with the command that removes it."""
    yield from (style(RED, f"software: {text}") for text in found.system.problems)
    yield from (style(YELLOW, f"slowed down: {reason}") for reason in found.throttled)
    files = sorted({file for clock in found.clocks for file in clock.denied})
    if files and found.read_only is not None:
        yield style(RED, f"read-only: {found.read_only}")
    elif files:
        what = f"permission: you may not write {len(files)} files"
        yield style(RED, f"{what}; this lets you until the next boot (then: docs/permissions.md):")
        yield GRANT.format(right="w", files=_patterns(files))
    yield from (style(YELLOW, f"not measured: {text}") for text in found.unread)
    yield from (style(YELLOW, f"left out: {text}") for text in found.left_out)
    yield from (style(YELLOW, f"doubtful: {text}") for text in found.doubts)
    if found.closed:
        yield style(RED, "permission: you may not read energy counters; until the next boot:")
        yield GRANT.format(right="r", files=_patterns(found.closed))
    yield from (style(YELLOW, f"permission: {text}") for text in found.unseen)
    if found.driver is not None:
        yield style(YELLOW, f"driven now by {found.driver}")
    for rival in found.rivals:
        yield style(RED, f"conflict: {rival.name} sets clocks too; {rival.remedy}")
    if found.left_behind:
        yield style(
            RED,
            f"left behind: a killed process left {found.left_behind} settings changed; "
            "sudo python -m hw.restore",
        )


def _patterns(files: Sequence[str]) -> str:
    """Files as a shell takes them; one pattern for all processors and all counters."""
    return " ".join(dict.fromkeys(_NUMBERED.sub(r"\1*", file) for file in files))


def _abilities(found: Survey) -> Iterator[str]:
    clocks = ", ".join(clock.name for clock in found.clocks if not clock.denied)
    yield f"drive     {clocks or 'no clock'}"
    rails = " + ".join(rail.name for rail in found.rails if rail.in_total)
    if rails and found.shortest_window_s is not None:
        window = _duration(found.shortest_window_s)
        yield f"measure   {rails} over {window} and more: {found.total}"
    else:
        yield "measure   no energy"
    limits_c = [zone.limit_c for zone in found.zones if zone.limit_c is not None]
    yield f"stay below {min(limits_c):.0f} C" if limits_c else "not be guarded against heat"
    alike = devices_like(found.clocks, found.boards)
    if alike:
        yield f"be taken for {alike[0]}: {command.call('train')} --device {alike[0]}"
    elif found.clocks:
        yield "be described after a similar board: python -m hw.describe --help"


if __name__ == "__main__":
    sys.exit(command.run(main))
