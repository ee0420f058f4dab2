"""The bench: pieces of a network that run again and again on a board at chosen clocks."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from envs.calibration.samples import Kind, Piece, Sample
from envs.errors import CalibrationError
from hw.base import Board, OperatingPoint
from hw.errors import HardwareError, SensorReadError, UnsupportedError
from partition.model.routes import RouteOption

SETTLE_S = 0.15
"""After clocks were set, before anything is measured: drivers ramp a rail within some 10 ms, and
what was computed before has left the averages of the power sensor."""
WINDOW_S = 1.0
N_WINDOWS = 5
"""Shortest energy windows of the sensors in one measurement."""
N_WARM, N_RUNS = 2, 5
"""Runs of a piece that do not count, and fewest that do."""
LONGEST_S = 20.0
"""Of one measurement, whatever a run takes."""
MEDIAN_ERROR = 1.2533 * 1.4826
"""Standard error of a median over the median deviation and the root of the count."""
LEAST_ERROR = 1e-3
N_TRIES = 3
"""Of one measurement; a sensor or a clock that fails so often does not fail by chance."""
PROBE_S = 0.2
"""Of runs that only tell a latency, and of those that show a delay: drivers take up to 10 ms."""
N_DELAYS = 5
LEAST_APART_S, LEAST_APART = 2e-3, 0.3
"""Of the delays, half of which lie nearer to their median, or else other programs are measured."""
LEAST_RATIO = 1.2
"""Of the latencies at both ends of a clock; a smaller one hides the delay in noise."""


class Runner(Protocol):
    """Runs pieces of one network on a board.

    Attributes:
        options: the network's routes.
        kinds: of pieces that it can run.
    """

    options: Sequence[RouteOption]
    kinds: frozenset[Kind]

    def prepared(self, piece: Piece) -> Callable[[], object]:
        """What runs a piece once; whatever it needs is ready."""


class Bench:
    """Measures pieces at points on an open board.

    Args:
        board: open; its clocks are named "cpu", "gpu" and "emc".
        runner: runs the pieces.
        clock: present time, s.
        sleep: waits for a number of seconds.

    Attributes:
        available_hz: operating points of the clocks that have more than one.
        has_power: whether the board measures power.
    """

    def __init__(
        self,
        board: Board,
        runner: Runner,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._board, self._runner = board, runner
        self._clock, self._sleep = clock, sleep
        self._began_s = clock()
        self.available_hz = {
            name: domain.available_hz
            for name, domain in board.domains.items()
            if len(domain.available_hz) > 1
        }
        self.has_power = self._measures_power()

    def go_on_at(self, began_s: float) -> None:
        """Let samples begin at a time, after those of an earlier process."""
        self._began_s = self._clock() - began_s

    @property
    def elapsed_s(self) -> float:
        """Time since the first measurement could have begun, s."""
        return self._clock() - self._began_s

    @property
    def window_s(self) -> float:
        """Shortest time of one measurement, s."""
        if not self.has_power:
            return WINDOW_S
        return max(WINDOW_S, N_WINDOWS * self._board.shortest_window_s)

    @property
    def top(self) -> dict[str, int]:
        """The highest operating points."""
        return {name: points[-1] for name, points in self.available_hz.items()}

    @property
    def bottom(self) -> dict[str, int]:
        """The lowest operating points."""
        return {name: points[0] for name, points in self.available_hz.items()}

    def cost_s(self, latency_s: float) -> float:
        """Time that measuring a piece takes of which one run takes so long, s."""
        runs_s = min(max(self.window_s, N_RUNS * latency_s), LONGEST_S)
        return SETTLE_S + N_WARM * latency_s + runs_s

    def measure(
        self, piece: Piece, point: Mapping[str, int], *, is_control: bool = False
    ) -> Sample:
        """Run a piece again and again at some clocks.

        Raises:
            CalibrationError: clocks or sensors fail again and again.
        """
        reason: HardwareError | None = None
        for _ in range(N_TRIES):
            try:
                return self._measured(piece, point, is_control)
            except HardwareError as error:
                reason = error
        raise CalibrationError(
            f"board {self._board.name} fails to measure at {_words(point)}: {reason}"
        ) from reason

    def latency_s(self, piece: Piece, point: Mapping[str, int], seconds: float) -> float:
        """Median time of one run at some clocks, s; power is not looked at."""
        run = self._ready(piece, point)
        return statistics.median(self._runs_s(run, seconds))

    def actuation_delay_s(self, name: str, pieces: Sequence[Piece]) -> float | None:
        """Time until a higher point of a clock takes effect, s; None where that is not to be seen.

        Runs that begin when the clock is asked for take longer in all, by what the delay costs.

        Args:
            name: of the clock.
            pieces: of which the one is taken that the clock changes most.
        """
        low, high = {**self.top, name: self.available_hz[name][0]}, self.top
        times_s = [[self.latency_s(p, point, PROBE_S) for point in (low, high)] for p in pieces]
        slow_s, fast_s = max(times_s, key=lambda pair: pair[0] / pair[1])
        if slow_s < LEAST_RATIO * fast_s:
            return None
        run = self._runner.prepared(pieces[times_s.index([slow_s, fast_s])])
        delays_s = []
        for _ in range(N_DELAYS):
            self._set(low)
            self._sleep(SETTLE_S)
            run()
            start_s, n_runs = self._clock(), 0
            self._set(high)
            while n_runs < N_RUNS or self._clock() - start_s < PROBE_S:
                run()
                n_runs += 1
            lost_s = self._clock() - start_s - n_runs * fast_s
            delays_s.append(lost_s / (1.0 - fast_s / slow_s))
        delay_s = statistics.median(delays_s)
        apart_s = statistics.median(abs(one - delay_s) for one in delays_s)
        is_seen = apart_s <= max(LEAST_APART_S, LEAST_APART * delay_s) and delay_s < PROBE_S
        return max(delay_s, 0.0) if is_seen else None

    def _measured(self, piece: Piece, point: Mapping[str, int], is_control: bool) -> Sample:
        run = self._ready(piece, point)
        began_s = self.elapsed_s
        if self.has_power:
            self._board.begin_window()
        start_s = self._clock()
        if piece.kind is Kind.IDLE:
            self._sleep(self.window_s)
            runs_s = []
        else:
            runs_s = self._runs_s(run, self.window_s)
        duration_s = self._clock() - start_s
        energy = self._board.end_window() if self.has_power else None
        self._board.verify()
        return Sample(
            kind=piece.kind,
            route=piece.route,
            requested_hz={name: float(hz) for name, hz in point.items()},
            applied_hz={
                name: float(self._board.applied[name].applied_hz or hz)
                for name, hz in point.items()
            },
            began_s=began_s,
            duration_s=duration_s,
            n_runs=len(runs_s),
            latency_s=statistics.median(runs_s) if runs_s else None,
            latency_error=_median_error(runs_s),
            power_w=energy.energy_j / energy.duration_s if energy else None,
            power_error=energy.uncertainty_j / energy.energy_j if energy else 0.0,
            temperature_c=self._temperature_c(),
            is_control=is_control,
        )

    def _ready(self, piece: Piece, point: Mapping[str, int]) -> Callable[[], object]:
        """Set clocks, let them settle, and warm up."""
        self._set(point)
        self._sleep(SETTLE_S)
        if piece.kind is Kind.IDLE:
            return lambda: None
        run = self._runner.prepared(piece)
        for _ in range(N_WARM):
            run()
        return run

    def _set(self, point: OperatingPoint) -> None:
        if point:
            self._board.apply(point)

    def _runs_s(self, run: Callable[[], object], seconds: float) -> list[float]:
        start_s = now_s = self._clock()
        times_s: list[float] = []
        while now_s - start_s < seconds or len(times_s) < N_RUNS:
            run()
            before_s, now_s = now_s, self._clock()
            times_s.append(now_s - before_s)
            if now_s - start_s > LONGEST_S:
                break
        return times_s

    def _temperature_c(self) -> float | None:
        with suppress(HardwareError):
            return self._board.temperature_c()
        return None

    def _measures_power(self) -> bool:
        try:
            self._board.begin_window()
        except UnsupportedError:
            return False
        self._sleep(N_WINDOWS * self._board.shortest_window_s)
        with suppress(SensorReadError):
            self._board.end_window()
        return True


def _median_error(times_s: Sequence[float]) -> float:
    """Relative standard error of a median."""
    if len(times_s) < 2:
        return LEAST_ERROR
    middle_s = statistics.median(times_s)
    deviation_s = float(np.median(np.abs(np.array(times_s) - middle_s)))
    return max(MEDIAN_ERROR * deviation_s / middle_s / math.sqrt(len(times_s)), LEAST_ERROR)


def _words(point: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {hz / 1e6:.0f} MHz" for name, hz in point.items()) or "its clocks"
