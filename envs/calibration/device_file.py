"""The device model of a measured board, and where each of its numbers comes from."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from envs.calibration.fitting.confidence import Confidence, HeldOut
from envs.calibration.fitting.fit import Measured
from envs.calibration.samples import NETWORK, NOT_SET_HZ
from hw.base import Board
from hw.device.governors import Governors
from hw.device.latency import HostScaling
from hw.device.match import KINDS
from hw.device.model import DeviceModel, DomainModel, SensorModel
from hw.device.runtime import Runtime
from hw.errors import HardwareError

HEAT_OF = "tx2"
"""Device whose heat, and power where there is no sensor, a board has that is no model itself."""
USUAL_DELAY_S = {"cpu": 0.001, "gpu": 0.005, "emc": 0.008}
"""Of a clock whose delay the network does not show: those of an Orin Nano (arXiv 2606.16106)."""
NO_SENSOR = SensorModel(shunt_ohm=1.0, shunt_step_v=0.01, supply_v=1.0, period_s=0.01)


@dataclass(frozen=True, slots=True)
class Identity:
    """What was measured, for people.

    Attributes:
        name: of the new device.
        board: as `--board` names it.
        title: of the machine.
        kernel: release.
        power_mode: None without any.
        model: the network.
        runtime: what ran it.
        modelled: what of the board is modelled, in words.
    """

    name: str
    board: str
    title: str
    kernel: str
    power_mode: str | None
    model: str
    runtime: str
    modelled: tuple[str, ...] = ()

    def sentence(self, day: datetime.date) -> str:
        """Where and when, for the end of a sentence."""
        modelled = f" (its {', '.join(self.modelled)} modelled)" if self.modelled else ""
        return (
            f"{self.title}, board {self.board}{modelled}, kernel {self.kernel}, power mode "
            f"{self.power_mode or 'none'}, run-time {self.runtime}, {day.isoformat()}"
        )


def in_words(held_out: HeldOut) -> str:
    """Held-out errors as a part of a sentence."""
    low, high = held_out.interval()
    return (
        f"off by {held_out.mean:.1%} ({low:.1%} to {high:.1%}) on average and "
        f"{held_out.largest:.1%} at most on {len(held_out.index)} measurements that it was not "
        "fitted to"
    )


def device_model(
    identity: Identity,
    confidence: Confidence,
    measured: Measured,
    board: Board,
    delays_s: Mapping[str, float | None],
    day: datetime.date,
) -> DeviceModel:
    """The device model of a measured board.

    Args:
        identity: of the board.
        confidence: the fit.
        measured: what it was fitted to.
        board: that was measured.
        delays_s: actuation delays of its clocks; None where they are unknown.
        day: of the measurement.
    """
    fit, like = confidence.fit, board.device or DeviceModel.load(HEAT_OF)
    network = measured.work.take(measured.work.is_of(*NETWORK))
    peak = float(np.max(fit.load(network).traffic_bytes_per_s))
    errors = [f"latency {in_words(confidence.latency)}"]
    if confidence.energy is not None:
        errors.append(
            f"energy {in_words(confidence.energy)}, beside a sensor's gain of +-"
            f"{confidence.sensor_gain:.0%}"
        )
    is_model = board.device is not None
    runtime = Runtime(fit.network, f"{identity.model} on {identity.title}", "nothing")
    return DeviceModel(
        name=identity.name,
        title=identity.title,
        domains={kind: _domain(kind, board, delays_s) for kind in KINDS},
        runtime=identity.runtime,
        runtimes={identity.runtime: runtime},
        power=fit.power.model(peak) if fit.power is not None else like.power,
        thermal=structs.replace(like.thermal, throttle_c=_limit_c(board, like)),
        sensor=_sensor(board),
        workloads={},
        governors=like.governors if is_model else Governors(),
        validated_on=(
            f"heads, tails and the whole of {identity.model}: {'; '.join(errors)}; "
            f"{identity.sentence(day)}",
        ),
        modelled=tuple(_modelled(identity, confidence, board)),
        replay=like.replay if is_model else None,
        host=fit.host,
    )


def provenance(device: DeviceModel, board: Board) -> dict[str, str]:
    """Where the numbers of each section come from."""
    measured = f"Measured by calibrate.py, see validated_on, and fitted: {device.title}."
    heat = board.device.title if board.device is not None else DeviceModel.load(HEAT_OF).title
    return {
        "domains": "Operating points as the board has them; delays as the network showed them, or "
        "else those of an Orin Nano (arXiv 2606.16106). A clock with one point is not set.",
        "network": measured,
        "power": measured if board.power_sensors else f"That of {heat}: no sensor.",
        "thermal": f"That of {heat}; the limit is the board's.",
        "sensor": "Step and period as the board's sensors report them.",
        "workloads": "none",
        "host": measured if device.host != HostScaling() else "not measured",
        "governors": f"Those of {heat}." if board.device is not None else "The kernel's usual.",
    }


def _modelled(identity: Identity, confidence: Confidence, board: Board) -> list[str]:
    found = [
        f"latency of any network but {identity.model}, scaled by operations, traffic and kernels",
        "temperature and throttling",
        "what governors below a cap come to",
    ]
    if confidence.fit.power is None:
        found.append("power, for the board has no sensor")
    if board.modelled:
        found.append(f"of the board itself: {', '.join(board.modelled)}")
    return found


def _domain(kind: str, board: Board, delays_s: Mapping[str, float | None]) -> DomainModel:
    points_hz = board.domains[kind].available_hz if kind in board.domains else (NOT_SET_HZ,)
    delay_s = delays_s.get(kind)
    return DomainModel(kind, points_hz, USUAL_DELAY_S[kind] if delay_s is None else delay_s)


def _sensor(board: Board) -> SensorModel:
    sensors = list(board.power_sensors.values())
    if not sensors:
        return NO_SENSOR
    step_w = max(sensor.step_w for sensor in sensors) or NO_SENSOR.step_w
    period_s = max(sensor.period_s for sensor in sensors) or NO_SENSOR.period_s
    return SensorModel(shunt_ohm=1.0, shunt_step_v=step_w, supply_v=1.0, period_s=period_s)


def _limit_c(board: Board, like: DeviceModel) -> float:
    try:
        return board.temperature_limit_c
    except HardwareError:
        return like.thermal.throttle_c
