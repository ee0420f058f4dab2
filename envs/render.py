"""Rendering of a board's last steps: clocks, cut, link and cost, as text or as a picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.plant import Layout

N_SHOWN = 40
"""Steps in a picture: ten seconds."""
N_LINES = 12
"""Steps in a text."""
MOST_NAMES = 8
"""Cuts that are named beside their axis."""
LINK_MBPS = 0.1, 1000.0
SIZE_INCHES, DPI = (6.4, 4.8), 100
COLOURS = "#0b7285", "#e8590c", "#7048e8", "#5f3dc4"
"""Colours of the clocks; told apart by the colour-blind, too."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One control step.

    Attributes:
        step: number in its episode, the first one 1.
        clocks_hz: as read back, one per domain.
        route: index of the route in force.
        link_bps: estimated uplink rate.
        latency_s: mean of the step.
        cost: of the step.
    """

    step: int
    clocks_hz: tuple[float, ...]
    route: int
    link_bps: float
    latency_s: float
    cost: float


class History:
    """The last steps of an episode."""

    def __init__(self, layout: Layout, route_names: Sequence[str]) -> None:
        """Remember what the axes mean.

        Args:
            layout: of the board.
            route_names: of every route.
        """
        self._layout, self._names = layout, list(route_names)
        self._frames: deque[Frame] = deque(maxlen=N_SHOWN)

    def clear(self) -> None:
        """Begin an episode."""
        self._frames.clear()

    def add(self, frame: Frame) -> None:
        """Remember a step, and forget the one before the last `N_SHOWN`."""
        self._frames.append(frame)

    def text(self) -> str:
        """A line per step, the latest last."""
        domains = "".join(f"{domain + ' MHz':>9}" for domain in self._layout.domains)
        width = max(4, *(len(name) for name in self._names))
        lines = [f"step{domains}  {'cut':<{width}}{'link Mbit/s':>13}{'ms':>8}{'cost':>8}"]
        for frame in list(self._frames)[-N_LINES:]:
            clocks = "".join(f"{hz / 1e6:9.0f}" for hz in frame.clocks_hz)
            lines.append(
                f"{frame.step:4d}{clocks}  {self._names[frame.route]:<{width}}"
                f"{frame.link_bps / 1e6:13.2f}{1e3 * frame.latency_s:8.1f}{frame.cost:8.3f}"
            )
        return "\n".join(lines)

    def picture(self) -> NDArray[np.uint8]:
        """Four charts over the last steps, shape (height, width, 3)."""
        # Only who renders needs it, and boards do not have it.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        self._draw(figure.subplots(4, 1, sharex=True))
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _draw(self, panels: Any) -> None:
        frames = list(self._frames)
        steps = [frame.step for frame in frames]
        clocks, cut, link, cost = panels
        for k, axis in enumerate(self._layout.axes[:-1]):
            shares = [100.0 * frame.clocks_hz[k] / axis.values[-1] for frame in frames]
            clocks.step(
                steps, shares, where="mid", label=axis.name, color=COLOURS[k % len(COLOURS)]
            )
        clocks.set_ylim(0.0, 105.0)
        clocks.set_ylabel("clock, %")
        if self._layout.domains:
            clocks.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)
        cut.step(steps, [frame.route for frame in frames], where="mid", color=COLOURS[0])
        named = range(0, len(self._names), -(-len(self._names) // MOST_NAMES))
        cut.set_yticks(list(named), [self._names[route] for route in named], fontsize=6)
        cut.set_ylim(-0.5, len(self._names) - 0.5)
        cut.set_ylabel("cut")
        link.semilogy(steps, [max(f.link_bps / 1e6, 1e-3) for f in frames], color=COLOURS[1])
        link.set_ylim(LINK_MBPS)
        link.set_ylabel("Mbit/s")
        cost.plot(steps, [frame.cost for frame in frames], color=COLOURS[2])
        cost.set_ylim(bottom=0.0)
        cost.set_ylabel("cost")
        cost.set_xlabel("control step")
