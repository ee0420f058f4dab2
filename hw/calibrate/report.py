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
        board: that it is about.
        runtime: that it is about.
        reason: why a bar that is missed is known not to be met.
    """

    source: str
    n_fitted: int
    n_held_out: int
    error: float
    bar: float | None = None
    board: str = "tx2"
    runtime: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the bar, if any, is met."""
        return self.bar is None or self.error <= self.bar


@dataclass(frozen=True, slots=True)
class Point:
    """A measured value beside the model's.

    Attributes:
        board: name.
        runtime: what computed.
        network: what was computed, and where several rows of it were, which.
        quantity: "ratio" (latency over that at the highest clocks), "latency" (s), "power" (W).
        measured: value.
        predicted: by a model no coefficient or factor of which has seen the row; None for none.
        fitted: by the model that ships; None where the row is no use to it.
    """

    board: str
    runtime: str
    network: str
    quantity: str
    measured: float
    predicted: float | None
    fitted: float | None


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
        """Whether every bar is met, or it is known why not."""
        return all(row.ok or row.reason for row in self.rows)

    def table(self) -> str:
        """The rows as aligned text."""
        lines = [
            f"{'board':<10} {'run-time':<15} {'source':<78} {'fitted':>6} {'held out':>8} "
            f"{'error':>7} {'bar':>7}"
        ]
        for row in self.rows:
            bar = "-" if row.bar is None else f"{row.bar:.1%}"
            verdict = "" if row.bar is None else " ok" if row.ok else f" MISSED {row.reason}"
            lines.append(
                f"{row.board:<10} {row.runtime or '-':<15} {row.source:<78} {row.n_fitted:>6} "
                f"{row.n_held_out:>8} {row.error:>7.2%} {bar:>7}{verdict}"
            )
        return "\n".join(lines)
