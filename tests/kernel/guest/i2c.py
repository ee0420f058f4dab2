"""Sets registers of the emulated I2C chips from outside, as measurements would."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

I2C_SLAVE_FORCE = 0x0706
I2C_SMBUS = 0x0720
I2C_SMBUS_WRITE = 0
I2C_SMBUS_WORD_DATA = 3

INA3221_ADDRESS, INA226_ADDRESS, FREE_ADDRESS = 0x40, 0x41, 0x42
INA3221_SHUNT_STEP_V, INA3221_BUS_STEP_V = 40e-6, 8e-3


class _SmbusCall(ctypes.Structure):
    _fields_ = (
        ("read_write", ctypes.c_uint8),
        ("command", ctypes.c_uint8),
        ("size", ctypes.c_uint32),
        ("data", ctypes.c_void_p),
    )


class Chip:
    """The registers of one chip on i2c-stub's bus, while a kernel driver holds it."""

    def __init__(self, address: int) -> None:
        self._file = os.open(_bus(), os.O_RDWR)
        fcntl.ioctl(self._file, I2C_SLAVE_FORCE, address)

    def write(self, register: int, value: int) -> None:
        """Set a 16-bit register; the INA chips send the high byte first, SMBus the low one."""
        swapped = int.from_bytes((value & 0xFFFF).to_bytes(2, "big"), "little")
        word = ctypes.c_uint16(swapped)
        call = _SmbusCall(I2C_SMBUS_WRITE, register, I2C_SMBUS_WORD_DATA, ctypes.addressof(word))
        fcntl.ioctl(self._file, I2C_SMBUS, call)

    def close(self) -> None:
        """Close the bus."""
        os.close(self._file)


class Ina3221:
    """What the INA3221 measures.

    Args:
        shunt_ohm: shunt resistors of its three channels, ohm.
    """

    def __init__(self, shunt_ohm: Sequence[float]) -> None:
        self._chip = Chip(INA3221_ADDRESS)
        self._shunt_ohm = shunt_ohm
        # Conversion ready: the driver may wait for it.
        self._chip.write(0x0F, 1)

    def measure(self, channel: int, volt: float, ampere: float) -> None:
        """Set voltage and current of a channel (1 to 3) to the nearest that the chip can show."""
        shunt_v = ampere * self._shunt_ohm[channel - 1]
        self._chip.write(2 * channel - 1, round(shunt_v / INA3221_SHUNT_STEP_V) << 3)
        self._chip.write(2 * channel, round(volt / INA3221_BUS_STEP_V) << 3)

    def close(self) -> None:
        """Close the bus."""
        self._chip.close()


def adapter() -> Path:
    """Find i2c-stub's bus in sysfs."""
    adapters = Path("/sys/bus/i2c/devices").glob("i2c-*")
    return next(p for p in adapters if (p / "name").read_text().startswith("SMBus stub"))


def _bus() -> str:
    return f"/dev/{adapter().name}"
