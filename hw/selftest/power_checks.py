"""Checks of power rails: how often they answer and renew, and power against clocks and load."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from itertools import pairwise
from statistics import median

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import HardwareError
from hw.selftest.bench import SelfTestBench
from hw.selftest.clock_checks import HIGHEST, LOWEST, drive_to
from hw.selftest.findings import PowerWindow, RailSeries, Verdict

READS_PER_PERIOD = 8
N_PERIODS = 25
SERIES_S = 2.0
"""Longest time for one rail."""
FEWEST_CHANGES = 5
"""With fewer, the time between two new readings is not known."""
MOST_FAILED = 0.1
"""Single failed reads are usual on an I2C bus; a rail that fails more often is not measured."""
WINDOWS_S = 130.0
"""Time for all windows together."""
SETTLE_S = 1.0
"""Time for regulators and averaging monitors to follow, before a window."""
SHORTEST_S, LONGEST_S = 1.5, 6.0
"""Of a window; heat makes longer ones drift."""
MOST_CLOCKS = 12


def check_rails(bench: SelfTestBench) -> None:
    """Read each rail many times in a row, with the processors busy so that it changes.

    Raises:
        HardwareError: the board cannot be opened, or not be given back.
    """
    with bench.load(), bench.open(Hold.CAP) as board:
        bench.findings.total = board.power.total.rails
        for text in board.power.unread:
            bench.note("power", Verdict.UNTOLD, text)
        if not board.power.sensors and not board.power.counters:
            bench.note("power", Verdict.UNTOLD, "no sensor that can be read")
        for sensor in board.power.sensors.values():
            _note_series(bench, read_series(bench, sensor.name, sensor.period_s, sensor.read_w))
        for counter in board.power.counters.values():
            series = read_series(bench, counter.name, counter.period_s, counter.read_j, True)
            _note_series(bench, series)


def read_series(
    bench: SelfTestBench,
    rail: str,
    period_s: float,
    read: Callable[[], float],
    is_counter: bool = False,
) -> RailSeries:
    """Read a rail so often that the time between two new readings shows."""
    values: list[tuple[float, float]] = []  # s, W or J
    took_s: list[float] = []
    problem, n_failed = None, 0
    end_s = bench.clock() + min(SERIES_S, N_PERIODS * period_s)
    while bench.clock() < end_s and len(took_s) < N_PERIODS * READS_PER_PERIOD:
        asked_s = bench.clock()
        try:
            values.append((asked_s, read()))
        except HardwareError as error:
            n_failed += 1
            problem = problem or str(error)
        took_s.append(bench.clock() - asked_s)
        bench.wait(max(0.0, period_s / READS_PER_PERIOD - took_s[-1]))
    powers_w = [value for _, value in values]
    if is_counter:
        powers_w = [(b - a) / (t - s) for (s, a), (t, b) in pairwise(values) if t > s]
    return RailSeries(
        rail=rail,
        is_counter=is_counter,
        told_period_s=period_s,
        seen_period_s=_shortest_change_s(values),
        n_reads=len(took_s),
        n_failed=n_failed,
        problem=problem,
        read_s=median(took_s),
        longest_read_s=max(took_s),
        lowest_w=min(powers_w, default=None),
        highest_w=max(powers_w, default=None),
    )


def _shortest_change_s(values: list[tuple[float, float]]) -> float | None:
    changes_s = [t for (_, a), (t, b) in pairwise(values) if a != b]
    if len(changes_s) <= FEWEST_CHANGES:
        return None
    return min(t - s for s, t in pairwise(changes_s))


def _note_series(bench: SelfTestBench, series: RailSeries) -> None:
    bench.findings.series.append(series)
    title = f"rail {series.rail}"
    if series.n_failed > MOST_FAILED * series.n_reads:
        text = f"{series.n_failed} of {series.n_reads} reads failed: {series.problem}"
        bench.note(title, Verdict.FAILED, text)
        return
    if series.lowest_w is None or series.highest_w is None:
        bench.note(title, Verdict.UNTOLD, "no time passed between its readings")
        return
    if series.lowest_w == series.highest_w == 0.0 and series.rail in bench.findings.total:
        bench.note(title, Verdict.UNTOLD, "0 W all the time, though it is part of the total")
        return
    seen_s = series.seen_period_s
    renews = "hardly changes" if seen_s is None else f"new every {1e3 * seen_s:.1f} ms"
    bench.note(
        title,
        Verdict.PASSED,
        f"{series.lowest_w:.3f} to {series.highest_w:.3f} W, {renews} "
        f"(taken for {1e3 * series.told_period_s:.1f}), {series.n_failed} of {series.n_reads} "
        f"reads failed, one takes {1e3 * series.read_s:.2f} ms",
    )


def check_power(bench: SelfTestBench) -> None:
    """Power with each clock pinned at its ends, idle and with the processors busy.

    Raises:
        HardwareError: the board cannot be opened, or not be given back.
    """
    if not bench.findings.total:
        return
    with bench.open(Hold.PIN) as board:
        names = list(board.domains)
    window_s = WINDOWS_S / (4 * min(len(names), MOST_CLOCKS)) - SETTLE_S
    window_s = min(max(window_s, SHORTEST_S), LONGEST_S)
    for name in names[:MOST_CLOCKS]:
        with bench.open(Hold.PIN, name) as board:
            _check_power(bench, board, name, max(window_s, 2 * board.shortest_window_s))
    for name in names[MOST_CLOCKS:]:
        bench.note(
            f"power by {name}", Verdict.UNTOLD, f"no time for more than {MOST_CLOCKS} clocks"
        )


def _check_power(bench: SelfTestBench, board: LinuxBoard, name: str, window_s: float) -> None:
    windows = []
    for is_loaded in (False, True):
        with bench.load() if is_loaded else nullcontext():
            for end in (LOWEST, HIGHEST):
                bench.wait()
                try:
                    windows.append(_measure(bench, board, name, end, is_loaded, window_s))
                except HardwareError as error:
                    bench.note(f"power by {name}", Verdict.UNTOLD, str(error))
                    return
    bench.findings.windows += windows
    bench.note(f"power by {name}", *_judge(name, windows))


def _measure(
    bench: SelfTestBench, board: LinuxBoard, name: str, end: str, is_loaded: bool, window_s: float
) -> PowerWindow:
    drive_to(bench, board, name, Hold.PIN, end)
    bench.wait(SETTLE_S)
    board.begin_window()
    bench.wait(window_s)
    reading = board.end_window()
    return PowerWindow(name, end, is_loaded, board.domains[name].read_hz(), asdict(reading))


def _judge(name: str, windows: list[PowerWindow]) -> tuple[Verdict, str]:
    """Whether power follows a processor's clock under load; for others there is no load here."""
    idle_low, idle_high, low, high = windows
    text = (
        f"{idle_low.power_w:.2f} to {idle_high.power_w:.2f} W idle, {low.power_w:.2f} to "
        f"{high.power_w:.2f} W with busy processors (+-{high.error_w:.2f})"
    )
    powers_w = {window.power_w for window in windows}
    if not name.startswith("cpu"):
        return Verdict.PASSED, f"{text}; nothing here loads it"
    if len(powers_w) == 1:
        return Verdict.FAILED, f"{text}; the sensor shows the same whatever the machine does"
    rise_w, error_w = high.power_w - low.power_w, low.error_w + high.error_w
    if rise_w < -error_w:
        return Verdict.FAILED, f"{text}; the highest clock draws less than the lowest"
    if rise_w <= error_w:
        return Verdict.UNTOLD, f"{text}; the difference lies within the error"
    return Verdict.PASSED, text
