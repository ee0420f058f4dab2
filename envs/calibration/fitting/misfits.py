"""Where the forms of a device file do not describe a board, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from envs.arrays import Floats
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import BoardFit, Measured, fit_board
from envs.calibration.samples import NETWORK, Kind, Sample, Work

NOTHING = 0.02
"""Relative change from a clock's lowest to its highest point that counts as none."""
TOLERANCE = 0.03
"""Relative error of the form at one operating point that is no reason to speak."""
SIGMAS = 3.0
UNSTEADY = 0.15
"""Relative difference of one point's latencies beyond which it is no drift."""
LARGE_ERROR = 0.05
"""Mean held-out error beyond which a fit is called bad."""
SAME_CLOCK = 0.01
"""Relative difference of clocks that are the same."""


def misfits(
    confidence: Confidence,
    measured: Measured,
    samples: Sequence[Sample],
    available_hz: Mapping[str, Sequence[int]],
) -> Iterator[str]:
    """Sentences about clocks and fits that are not as the forms expect.

    Args:
        confidence: the fit.
        measured: what it was fitted to.
        samples: the same as they were taken.
        available_hz: operating points of each clock that can be set, ascending.
    """
    yield from _disturbed(measured)
    for name, points_hz in available_hz.items():
        yield from _held_elsewhere(name, samples)
        if _changes_nothing(confidence.fit, name, measured):
            yield (
                f"the {name} clock changes neither latency nor power here: leave it at "
                f"{points_hz[0] / 1e6:.0f} MHz, a policy has nothing to gain from it"
            )
            continue
        for levels in _levels(confidence.fit, name, measured)[0]:
            yield from _odd_steps(name, levels)
    errors = {"latency": confidence.latency, "energy": confidence.energy}
    for what, held_out in errors.items():
        if held_out is not None and held_out.mean > LARGE_ERROR:
            yield (
                f"{what} is off by {held_out.mean:.0%} on average where it was not fitted: the "
                f"model's form describes this board badly, so compare what a policy saves on it"
            )


def _disturbed(measured: Measured) -> Iterator[str]:
    """The control point took longer at times than any drift explains."""
    seen_s = measured.latency_s[measured.is_control]
    if len(seen_s) > 1 and seen_s.max() > (1.0 + UNSTEADY) * seen_s.min():
        yield (
            f"the same piece at the same clocks took from {1e3 * seen_s.min():.2f} to "
            f"{1e3 * seen_s.max():.2f} ms: other programs took the processor, so end them and "
            "measure again"
        )


def _held_elsewhere(name: str, samples: Sequence[Sample]) -> Iterator[str]:
    off = [
        sample
        for sample in samples
        if abs(sample.applied_hz[name] / sample.requested_hz[name] - 1.0) > SAME_CLOCK
    ]
    if off:
        lowest = min(off, key=lambda sample: sample.applied_hz[name])
        yield (
            f"the {name} clock was not what was asked for in {len(off)} of {len(samples)} "
            f"measurements ({lowest.applied_hz[name] / 1e6:.0f} instead of "
            f"{lowest.requested_hz[name] / 1e6:.0f} MHz): something else holds it, see python -m "
            "hw.doctor"
        )


@dataclass(frozen=True, slots=True)
class _Levels:
    """How measured values change from operating point to operating point of one clock.

    Attributes:
        hz: ascending, shape (k,).
        means: logarithms of the values, all else alike, shape (k,).
        errors: their standard errors, shape (k,).
    """

    hz: Floats
    means: Floats
    errors: Floats

    @classmethod
    def of(cls, name: str, done: Work, seen: Floats, value: Callable[[Work], Floats]) -> _Levels:
        """Take what the other clocks do off by a fit.

        Args:
            name: of the clock.
            done: what was measured, at least once.
            seen: measured values, shape (n,).
            value: the fitted one.
        """
        hz = np.round(done.rows.hz[name])
        levels_hz = np.unique(hz)
        ratio = np.log(seen / value(_at(done, name, np.full(len(hz), levels_hz[-1]))))
        chosen = [hz == level for level in levels_hz]
        means = np.array([ratio[level].mean() for level in chosen])
        scatter = ratio - means[np.searchsorted(levels_hz, hz)]
        counts = np.array([level.sum() for level in chosen])
        return cls(levels_hz, means, np.sqrt(np.mean(scatter**2) / counts))

    @property
    def are_alike(self) -> bool:
        """Whether it is known that the clock changes nothing."""
        slack = SIGMAS * float(self.errors.max())
        return slack < TOLERANCE and float(np.ptp(self.means)) < NOTHING + slack


def _changes_nothing(fit: BoardFit, name: str, measured: Measured) -> bool:
    """Whether a fit that does not know the clock is as good at each of its points."""
    top = np.full(len(measured), measured.work.rows.hz[name].max())
    without = fit_board(replace(measured, work=_at(measured.work, name, top)), fit.setting)
    latency, power = _levels(without, name, measured)
    return all(levels.are_alike for levels in (*latency, *power))


def _levels(fit: BoardFit, name: str, measured: Measured) -> tuple[list[_Levels], list[_Levels]]:
    """Of latency, and of power, for each kind of work that a clock may matter to."""
    when = measured.began_s, measured.temperature_c
    seen_s = measured.latency_s / fit.latency_drift.factor(*when)
    seen_w = measured.power_w / fit.power_drift.factor(*when)
    latency: list[_Levels] = []
    power: list[_Levels] = []
    for kinds in (NETWORK, (Kind.HOST,), (Kind.IDLE,)):
        of_kind = measured.work.is_of(*kinds)
        for seen, value, found in (
            (seen_s, fit.latency_s, latency),
            (seen_w, fit.power_w, power),
        ):
            chosen = of_kind & np.isfinite(seen)
            if chosen.any():
                found.append(_Levels.of(name, measured.work.take(chosen), seen[chosen], value))
    return latency, power


def _odd_steps(name: str, levels: _Levels) -> Iterator[str]:
    """Steps of a clock over which latency rises, or falls by more than the clock can explain."""
    for i in range(len(levels.hz) - 1):
        change = levels.means[i + 1] - levels.means[i]
        slack = TOLERANCE + SIGMAS * float(np.hypot(*levels.errors[i : i + 2]))
        low_hz, high_hz = levels.hz[i], levels.hz[i + 1]
        step = f"from {low_hz / 1e6:.0f} to {high_hz / 1e6:.0f} MHz of the {name} clock"
        if change > slack:
            yield (
                f"{step} latency rises by {np.expm1(change):.0%}: the higher point is no faster, "
                "see whether its table is right"
            )
        elif change < -np.log(high_hz / low_hz) - slack:
            yield (
                f"{step} latency falls by {-np.expm1(change):.0%}, more than the clock can "
                "explain: units may be switched off below, as a power mode does"
            )


def _at(done: Work, name: str, hz: Floats) -> Work:
    """The same pieces with one clock elsewhere."""
    return Work(done.kind, replace(done.rows, **{f"{name}_hz": hz}), done.sent_bytes)
