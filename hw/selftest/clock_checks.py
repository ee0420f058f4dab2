"""Clock checks: each to both of its ends and back, read back, and how soon it is in force."""

from __future__ import annotations

from hw.base import Cause, Hold
from hw.boards.linux import LinuxBoard
from hw.clocks.cpufreq import MEASURING_DRIVERS, POLICIES
from hw.errors import HardwareError
from hw.selftest.bench import SelfTestBench
from hw.selftest.findings import ClockStep, Verdict, worst
from hw.sysfs import Sysfs

LOWEST, HIGHEST = "lowest", "highest"
STEPS = (LOWEST, HIGHEST, LOWEST, HIGHEST)
"""Both ways twice, for the first request of a board also saves what it finds."""
SEEN_WITHIN_S = 1.0
"""Real clocks follow within 8 ms (arXiv 2606.16106); slow firmware gets a hundred times that."""
LOOK_AGAIN_S, LOOK_AGAIN_SHARE = 5e-4, 0.05
"""Rests between two looks: the longer of a time, and of a part of what has passed."""
SLACK = 0.005
MEASURED_SLACK = 0.03
"""What x86 shows is counted over the last milliseconds, and lies between the operating points."""
_BOUNDS = (Cause.POWER_MODE, Cause.LIMIT)
_OTHERS = (Cause.THERMAL, Cause.GUARD, Cause.PROGRAM, Cause.OFFLINE)


def check_clocks(bench: SelfTestBench, hold: Hold) -> None:
    """Drive all clocks, one after another, with the processors busy: else governors would idle.

    Raises:
        HardwareError: the board cannot be opened, or not be given back.
    """
    with bench.load(), bench.open(hold) as board:
        for name in board.domains:
            _check_clock(bench, board, name, hold)


def _check_clock(bench: SelfTestBench, board: LinuxBoard, name: str, hold: Hold) -> None:
    title = f"clock {name} by {hold.value}"
    verdicts, words = [], []
    for end in STEPS:
        bench.wait()
        try:
            step = drive_to(bench, board, name, hold, end)
        except HardwareError as error:
            bench.fail(title, error)
            return
        bench.findings.steps.append(step)
        verdict, text = _judge(step, is_measured(bench.sysfs, name))
        verdicts.append(verdict)
        words.append(text)
    bench.note(title, worst(verdicts), "; ".join(words[-2:]))


def drive_to(bench: SelfTestBench, board: LinuxBoard, name: str, hold: Hold, end: str) -> ClockStep:
    """Ask for one end of a clock and wait until it is in force.

    Raises:
        HardwareError: refused, or not readable.
    """
    domain = board.domains[name]
    slack = MEASURED_SLACK if is_measured(bench.sysfs, name) else SLACK
    begun_s = bench.clock()
    board.apply({name: domain.available_hz[0 if end == LOWEST else -1]})
    write_s = bench.clock() - begun_s
    applied = board.applied[name]
    while True:
        asked_s = bench.clock()
        seen_hz = domain.read_hz()
        now_s = bench.clock()
        is_low = hold is Hold.CAP and end == LOWEST and seen_hz < applied.applied_hz
        is_there = is_low or abs(seen_hz - applied.applied_hz) <= slack * applied.applied_hz
        if is_there or now_s - begun_s > SEEN_WITHIN_S:
            break
        bench.wait(max(LOOK_AGAIN_S, LOOK_AGAIN_SHARE * (now_s - begun_s)))
    return ClockStep(
        domain=name,
        hold=hold.value,
        end=end,
        requested_hz=applied.requested_hz,
        applied_hz=applied.applied_hz,
        cause=None if applied.cause is None else applied.cause.value,
        write_s=write_s,
        seen_s=now_s - begun_s if is_there else None,
        seen_hz=seen_hz,
        read_s=now_s - asked_s,
    )


def is_measured(sysfs: Sysfs, domain: str) -> bool:
    """Whether the clock that the kernel shows is counted, not the one that it has set."""
    drivers = sysfs.glob(f"{POLICIES}/policy*/scaling_driver") if domain.startswith("cpu") else []
    return any(sysfs.read_text(driver) in MEASURING_DRIVERS for driver in drivers)


def _judge(step: ClockStep, measured: bool) -> tuple[Verdict, str]:
    """What a step proves, with its figures."""
    cause = None if step.cause is None else Cause(step.cause)
    words = f"{step.end} {step.applied_hz / 1e6:.0f} MHz"
    if cause is not None:
        words += f" of {step.requested_hz / 1e6:.0f} ({cause.value})"
    if cause in _OTHERS:
        return Verdict.UNTOLD, words
    if cause is not None and cause not in _BOUNDS:
        return Verdict.FAILED, words
    if step.seen_s is not None:
        return Verdict.PASSED, f"{words} after {1e3 * step.seen_s:.1f} ms"
    seen = f"the clock itself is at {step.seen_hz / 1e6:.0f} MHz" if step.seen_hz else "no clock"
    if step.hold == Hold.CAP.value and step.end == HIGHEST:
        return Verdict.PASSED, f"{words}, {seen} as its governor chose"
    return Verdict.UNTOLD if measured else Verdict.FAILED, f"{words}, but {seen}"
