"""Where the guest's hardware is, and how to put it back into its state after boot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

CPUFREQ = Path("/sys/devices/system/cpu/cpufreq")
CPU_HZ = (346_000_000, 806_000_000, 1_267_000_000, 1_728_000_000, 2_035_000_000)
GPU = Path("/sys/class/devfreq/17000000.gpu")
GPU_HZ = (
    *(114_750_000, 216_750_000, 318_750_000, 420_750_000, 522_750_000, 624_750_000, 726_750_000),
    *(854_250_000, 930_750_000, 1_032_750_000, 1_122_000_000, 1_236_750_000, 1_300_500_000),
)
EMC = Path("/sys/class/devfreq/31b0000.emc")
EMC_HZ = (
    *(204_000_000, 408_000_000, 665_600_000, 800_000_000),
    *(1_062_400_000, 1_331_200_000, 1_600_000_000, 1_866_000_000),
)
SECOND = Path("/sys/devices/system/cpu/cpu1/online")
TEMPERATURE = Path("/sys/module/dvfo_heat/parameters/millicelsius")
THERMAL = Path("/sys/class/thermal")

# Firmware's side: what a test may do to the hardware behind the driver's back.
SWITCHES = Path("/sys/kernel/debug/dvfo")
PSTATE_PORTS = (0xE0, 0xE1)


def read(path: Path) -> str:
    """Read a sysfs file."""
    return path.read_text(encoding="ascii").strip()


def write(path: Path, value: object) -> None:
    """Write a sysfs file."""
    path.write_text(f"{value}\n", encoding="ascii")


def settles(value: Callable[[], object], to: object, within_s: float = 5.0) -> bool:
    """Wait for a value. cpufreq needs this: a worker applies new limits after the write returned.

    Args:
        value: reads it.
        to: what it should become.
        within_s: longest wait, s; emulated processors can be slow.
    """
    end_s = time.monotonic() + within_s
    while value() != to:
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True


def limits(folder: Path) -> tuple[int, int]:
    """Read minimum and maximum of a cpufreq policy (kHz) or a devfreq device (Hz)."""
    prefix = "scaling_" if folder.parent == CPUFREQ else ""
    return int(read(folder / f"{prefix}min_freq")), int(read(folder / f"{prefix}max_freq"))


def policies() -> list[Path]:
    """List the cpufreq policies."""
    return sorted(CPUFREQ.glob("policy*"))


def cooling_devices(kind: str = "Processor") -> list[Path]:
    """List the cooling devices of a type, in the order of what they cool."""
    devices = [path for path in THERMAL.glob("cooling_device*") if read(path / "type") == kind]
    return sorted(devices, key=lambda path: os.path.realpath(path / "device"))


def zone() -> Path:
    """Find the thermal zone."""
    return next(p for p in THERMAL.glob("thermal_zone*") if read(p / "type") == "plant-thermal")


def hwmon(name: str) -> Path:
    """Find the hwmon node of a chip."""
    return next(p for p in Path("/sys/class/hwmon").iterdir() if read(p / "name") == name)


def pstate(cpu: int) -> int:
    """Read the register that acpi-cpufreq sets: 1 is the highest clock, 5 the lowest."""
    with open("/dev/port", "rb", buffering=0) as ports:
        return os.pread(ports.fileno(), 1, PSTATE_PORTS[cpu])[0]


def reset() -> None:
    """Put everything back as it was after boot."""
    write(SECOND, 1)
    kinds = ("Processor", "devfreq-17000000.gpu", "hot-surface-alert")
    for device in [device for kind in kinds for device in cooling_devices(kind)]:
        write(device / "cur_state", 0)
    write(zone() / "policy", "user_space")
    write(TEMPERATURE, 40_000)
    for device in (GPU, EMC):
        switches = SWITCHES / device.name
        for name, value in (("refuse", "N"), ("delay_ms", 0), ("cap_hz", 0)):
            write(switches / name, value)
        write(device / "governor", "performance")
        write(device / "max_freq", 0)
        write(device / "min_freq", 0)
    for policy in policies():
        lowest, highest = CPU_HZ[0] // 1000, CPU_HZ[-1] // 1000
        write(policy / "scaling_governor", "schedutil")
        write(policy / "scaling_max_freq", highest)
        write(policy / "scaling_min_freq", lowest)
        if not settles(partial(limits, policy), (lowest, highest)):
            raise RuntimeError(f"{policy} keeps the limits {limits(policy)} kHz")
