"""The table of errors that a calibration ends with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BarRow:
    """Error of one fit on configurations that it was not fitted on.

    Attributes:
        source: data and quantity.
        n_fitted: configurations fitted on.
        n_held_out: configurations the error was taken on.
        error: mean absolute error over held-out configurations, as a share.
        bar: largest error allowed, as a share; None where the number is for information.
    """

    source: str
    n_fitted: int
    n_held_out: int
    error: float
    bar: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the bar, if any, is met."""
        return self.bar is None or self.error <= self.bar


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What a calibration found.

    Attributes:
        rows: errors next to their targets.
        device_toml: the device file with the refitted coefficients.
    """

    rows: tuple[BarRow, ...]
    device_toml: str

    @property
    def ok(self) -> bool:
        """Whether every bar is met."""
        return all(row.ok for row in self.rows)

    def table(self) -> str:
        """The rows as aligned text."""
        lines = [f"{'source':<58} {'fitted':>6} {'held out':>8} {'error':>7} {'bar':>7}"]
        for row in self.rows:
            bar = "-" if row.bar is None else f"{row.bar:.1%}"
            verdict = "" if row.bar is None else " ok" if row.ok else " MISSED"
            lines.append(
                f"{row.source:<58} {row.n_fitted:>6} {row.n_held_out:>8} {row.error:>7.2%} "
                f"{bar:>7}{verdict}"
            )
        return "\n".join(lines)
