"""CPU clocks by the kernel's cpufreq policies (Documentation/admin-guide/pm/cpufreq.rst)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hw.errors import FrequencyRejectedError, UnsupportedError
from hw.sysfs import Sysfs

POLICIES = "sys/devices/system/cpu/cpufreq"
N_GRID_POINTS = 8
HZ_PER_KHZ = 1000


@dataclass(frozen=True, slots=True)
class CpufreqLimits:
    """Limits of a policy as read, in the kernel's kHz."""

    raw_min_khz: int
    raw_max_khz: int


class CpufreqDomain:
    """One cpufreq policy; a clock is pinned by minimum == maximum under any governor.

    Drivers without a table of frequencies (intel_pstate) get a grid of eight points between the
    hardware's limits.

    Args:
        sysfs: access to the kernel's files.
        folder: the policy's folder.
        name: domain name.
    """

    def __init__(self, sysfs: Sysfs, folder: Path, name: str) -> None:
        self.name = name
        self._sysfs = sysfs
        self._folder = folder
        self.available_hz = self._read_table()

    def read_hz(self) -> int:
        """Read the present clock, Hz."""
        return self._read_khz("scaling_cur_freq") * HZ_PER_KHZ

    def pin(self, freq_hz: int) -> int:
        """Hold the clock at the operating point nearest to a frequency; return the read-back, Hz.

        Raises:
            FrequencyRejectedError: refused, or the limits read back belong to another point
                (thermal cap, another program, a power mode).
        """
        target_hz = self._nearest_hz(freq_hz)
        raw_khz = target_hz // HZ_PER_KHZ
        self.write_limits(CpufreqLimits(raw_khz, raw_khz))
        found = self.read_limits()
        for raw_found_khz in (found.raw_min_khz, found.raw_max_khz):
            if self._nearest_hz(raw_found_khz * HZ_PER_KHZ) != target_hz:
                raise FrequencyRejectedError(
                    f"{self._folder} was set to {raw_khz} kHz but reports {found.raw_min_khz} to "
                    f"{found.raw_max_khz} kHz; look for a thermal cap, a power mode or another "
                    "program that sets clocks"
                )
        return found.raw_max_khz * HZ_PER_KHZ

    def read_limits(self) -> CpufreqLimits:
        """Read the limits in effect."""
        return CpufreqLimits(self._read_khz("scaling_min_freq"), self._read_khz("scaling_max_freq"))

    def write_limits(self, limits: CpufreqLimits) -> None:
        """Write both limits, in the order in which minimum <= maximum holds all the time.

        Older kernels refuse (EINVAL) what newer ones accept and override.
        """
        order = [("scaling_min_freq", limits.raw_min_khz), ("scaling_max_freq", limits.raw_max_khz)]
        if limits.raw_min_khz > self._read_khz("scaling_max_freq"):
            order.reverse()
        for file, raw_khz in order:
            self._sysfs.write_text(self._folder / file, str(raw_khz))

    def restore_limits(self, limits: CpufreqLimits) -> None:
        """Write limits back, unless they are in effect already, and verify them.

        Raises:
            FrequencyRejectedError: refused, or something else was read back.
        """
        if self.read_limits() == limits:
            return
        self.write_limits(limits)
        found = self.read_limits()
        if found != limits:
            raise FrequencyRejectedError(
                f"{self._folder} reports {found.raw_min_khz} to {found.raw_max_khz} kHz instead of "
                f"{limits.raw_min_khz} to {limits.raw_max_khz} kHz; write these by hand"
            )

    def _read_table(self) -> tuple[int, ...]:
        table = self._folder / "scaling_available_frequencies"
        if self._sysfs.exists(table):
            raw_khz = set(self._sysfs.read_ints(table))
        else:
            low, high = self._read_khz("cpuinfo_min_freq"), self._read_khz("cpuinfo_max_freq")
            raw_khz = {
                low + (high - low) * point // (N_GRID_POINTS - 1) for point in range(N_GRID_POINTS)
            }
        if not raw_khz:
            raise UnsupportedError(f"{table} lists no frequency; check the cpufreq driver")
        return tuple(khz * HZ_PER_KHZ for khz in sorted(raw_khz))

    def _nearest_hz(self, freq_hz: int) -> int:
        return min(self.available_hz, key=lambda hz: abs(hz - freq_hz))

    def _read_khz(self, file: str) -> int:
        return self._sysfs.read_int(self._folder / file)


def cpufreq_domains(sysfs: Sysfs) -> dict[str, CpufreqDomain]:
    """Find all policies: "cpu" where there is one, "cpu0", "cpu4" and so on where several."""
    folders = sysfs.glob(f"{POLICIES}/policy*")
    names = (
        ["cpu"]
        if len(folders) == 1
        else [f"cpu{folder.name.removeprefix('policy')}" for folder in folders]
    )
    return {
        name: CpufreqDomain(sysfs, folder, name)
        for name, folder in zip(names, folders, strict=True)
    }
