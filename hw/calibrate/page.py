"""The page of results that says how far each board and run-time can be believed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from hw.calibrate.measured.found import BoardFit
from hw.calibrate.report import BarRow, Point

PICTURE = "devices.png"
_HEAD = f"""# Devices

Written by `python -m hw.calibrate --data ../shared/data --page results`. Device models beside
measurements, board by board.

- **Predicted**: no coefficient or factor of that board and run-time has seen the row (or, where it
  says so, the network or release). Bars count on these alone. **Fitted**: the model that ships.
- **Ratio**: latency at the clocks for least power over that at full speed. **Power** of the Jetsons
  in submissions, of the Pi and of the RK3588 is read at the mains plug, supply and carrier board
  included; that of the Orin Nano and the TX2 at the board's input.
- Two constants are alike for all boards and were chosen by looking at held-out errors: half of a
  network's activity on a GPU is reached at 2 ms, and of what does not follow the GPU clock on the
  Xaviers 3 % is taken to follow the CPU, 30 % (in quadrature) the memory clock.
- Networks that were not measured are scaled by operations, memory traffic and kernels: such a
  latency is *modelled*; below stands how far it was off for networks that were held out.

![Measured against modelled]({PICTURE})

Filled: predicted. Hollow: fitted. Grey: 15 % to either side.
"""


def page(tx2: Sequence[BarRow], fits: Mapping[str, BoardFit]) -> str:
    """The page, as Markdown.

    Args:
        tx2: errors of the TX2.
        fits: of the other boards.
    """
    bars = [*(row for fit in fits.values() for row in fit.bars), *tx2]
    parts = [_HEAD, "## Bars\n", _bars(row for row in bars if row.bar is not None)]
    missed = [row for row in bars if not row.ok]
    if missed:
        parts.append("\nMissed, and why:\n")
        parts += [f"- {row.board}, {row.runtime}: {row.source}: {row.reason}." for row in missed]
    parts += [
        "\n## Errors without a bar\n",
        "How far networks are off that were held out; no claim rests on these.\n",
        _bars(row for row in bars if row.bar is None),
        "\n## Run-times\n",
        "The first of a board is taken where none is named (`train.py --runtime`).\n",
        _runtimes(fits),
        "\n## Single rows\n",
        _points(point for fit in fits.values() for point in fit.points if _is_shown(point)),
    ]
    return "\n".join(parts) + "\n"


def _bars(rows: Iterable[BarRow]) -> str:
    lines = [("", "board", "run-time", "error of", "rows fitted", "held out", "error", "bar")]
    for row in rows:
        verdict = "-" if row.bar is None else "met" if row.ok else "missed"
        bar = "-" if row.bar is None else f"<= {100 * row.bar:.3g} %"
        counts = (str(row.n_fitted), str(row.n_held_out))
        error = f"{100 * row.error:.1f} %"
        lines.append((verdict, row.board, row.runtime or "-", row.source, *counts, error, bar))
    return _table(lines)


def _runtimes(fits: Mapping[str, BoardFit]) -> str:
    lines = [("board", "run-time", "measured", "assumed")]
    for name, fit in fits.items():
        for runtime, table in fit.parts().runtimes.items():
            lines.append((name, runtime, table["measured"], table["assumed"]))
    return _table(lines)


def _is_shown(point: Point) -> bool:
    """Rows of many: those that are predicted, one input size of the detectors."""
    if point.board in ("pi4", "rk3588") or point.runtime in ("tflite-cpu", "onnxruntime-cpu"):
        return point.predicted is not None
    return not point.network.endswith(" px") or point.network.endswith(" 640 px")


def _points(points: Iterable[Point]) -> str:
    lines: list[Sequence[str]] = [
        ("board", "run-time", "network", "", "measured", "predicted", "fitted")
    ]
    for it in points:
        values = (it.measured, it.predicted, it.fitted)
        cells = [_value(it.quantity, value, it.measured) for value in values]
        lines.append((it.board, it.runtime, it.network, it.quantity, *cells))
    return _table(lines)


def _value(quantity: str, value: float | None, measured: float) -> str:
    if value is None:
        return "-"
    scale, unit = {"ratio": (1.0, ""), "latency": (1e3, " ms"), "power": (1.0, " W")}[quantity]
    # What a fit meets exactly is off by a rounding, or by none, as the processor has it.
    is_met = math.isclose(value, measured, rel_tol=1e-9)
    off = "" if is_met else f" ({100 * (value / measured - 1.0):+.0f} %)"
    return f"{scale * value:.3g}{unit}{off}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rest])
