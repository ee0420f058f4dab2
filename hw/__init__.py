"""Access to a machine: its clocks, its power and its temperature, real or modelled.

`open_board` gives a board, `DeviceModel.load` the model of a device. Neither needs torch,
gymnasium or Stable-Baselines3.
"""

from __future__ import annotations

from common import command

if command.is_started_from(__name__):
    command.begin()

from hw.base import (
    Applied,
    Board,
    Cause,
    EnergyReading,
    FrequencyDomain,
    Hold,
    OperatingPoint,
    PowerSensor,
    ThermalZone,
)
from hw.boards.registry import board_names, open_board
from hw.device.file import device_names
from hw.device.model import Demand, DeviceModel, RailPower

__all__ = [
    "Applied",
    "Board",
    "Cause",
    "Demand",
    "DeviceModel",
    "EnergyReading",
    "FrequencyDomain",
    "Hold",
    "OperatingPoint",
    "PowerSensor",
    "RailPower",
    "ThermalZone",
    "board_names",
    "device_names",
    "open_board",
]
