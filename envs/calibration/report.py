"""What a calibration tells its user, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from envs.calibration.bench import Bench
from envs.calibration.campaign import Campaign
from envs.calibration.design import Design
from envs.calibration.device_file import in_words
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.samples import Kind, Piece
from hw.base import Board
from partition.model.routes import RouteOption


def errors(confidence: Confidence, board: Board) -> Iterator[str]:
    """How far the fit can be believed, and what was taken out of the samples."""
    yield f"latency is {in_words(confidence.latency)}"
    if confidence.energy is None:
        yield "energy: not measured, for the board has no power sensor"
        return
    modelled = " (modelled)" if "power" in " ".join(board.modelled) else ""
    yield (
        f"energy{modelled} is {in_words(confidence.energy)}; what the sensor's gain may be off by "
        f"comes on top, {confidence.sensor_gain:.0%}"
    )
    drift = confidence.fit.power_drift
    yield (
        f"meanwhile power{modelled} drifted by {drift.range:.1%} and changed by "
        f"{100.0 * drift.per_degree:+.2f} % per degree; both are taken out"
    )


def delays(delays_s: Mapping[str, float | None]) -> Iterator[str]:
    """Time until each clock is in force."""
    for name, delay_s in delays_s.items():
        told = "not shown by this network" if delay_s is None else f"{1e3 * delay_s:.1f} ms"
        yield f"delay of the {name} clock: {told}"


def warnings(sentences: Iterable[str]) -> Iterator[str]:
    """Where the form does not fit."""
    return (f"warning: {sentence}" for sentence in sentences)


def unknown(
    measurement: Campaign, confidence: Confidence, bench: Bench, options: Sequence[RouteOption]
) -> str:
    """What more time would be spent on."""
    done = measurement.work
    design = Design(done, np.ones(len(done)), bench.has_power)
    chosen = design.next(confidence.fit, measurement.measured())
    told = (_told(*measurement.candidates[index], options) for index in chosen)
    return f"with more --minutes the same command goes on, first with: {'; '.join(told)}"


def _told(piece: Piece, point: Mapping[str, int], options: Sequence[RouteOption]) -> str:
    clocks = ", ".join(f"{name} {hz / 1e6:.0f} MHz" for name, hz in point.items())
    name = options[piece.route].name
    what = {
        Kind.IDLE: "idle",
        Kind.HEAD: f"head up to {name}",
        Kind.TAIL: f"tail from {name}",
        Kind.HOST: f"codec at {name}",
    }[piece.kind]
    return f"{what} at {clocks}" if clocks else what
