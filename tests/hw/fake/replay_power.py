"""Recorded rails whose power follows clocks and load as a self-test's windows say."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from hw.errors import HardwareError
from hw.sensors.find import find_power
from hw.sensors.pmic import INPUT_OFFSET_W, INPUT_PER_RAIL
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.attribute import Computed
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.emc import Emc
from tests.hw.fake.kernel import FakeKernel, kernel_error

_UNITS = (
    (re.compile(r"/power\d+_input$|/power_now$"), 1e6, False),
    (re.compile(r"/in_power\d+_input$"), 1e3, False),
    (re.compile(r"/curr\d+_input$"), 1e3, True),
    (re.compile(r"/current_now$"), 1e6, True),
)
"""Files that show power, or current, and their units per W or A."""
_VOLTS = ((re.compile(r"/in\d+_input$"), 1e-3), (re.compile(r"/voltage_now$"), 1e-6))
_AMPERES = re.compile(r"(?<=_A )(\s*current\(\d+\)=)([\d.]+)A")


class ReplayedPower:
    """What a replayed board draws.

    Args:
        kernel: the board, whose rails still show what they showed.
        document: the self-test's file.

    Attributes:
        is_loaded: whether all processors are busy.
    """

    def __init__(self, kernel: FakeKernel, document: dict[str, Any]) -> None:
        self.is_loaded = False
        self._kernel = kernel
        self._series = {series["rail"]: series for series in document["series"]}
        self._windows: dict[str, dict[tuple[str, bool], dict[str, Any]]] = {}
        for window in document["windows"]:
            ends = self._windows.setdefault(window["domain"], {})
            ends[window["end"], window["is_loaded"]] = window
        self._energy_j: dict[str, float] = {}
        self._since_s = kernel.now_s
        self._animate()
        kernel.before_access = lambda operation, path: self._advance()

    @contextmanager
    def load(self) -> Iterator[None]:
        """Keep all processors busy; for a self-test's `load`."""
        self._set_load(True)
        try:
            yield
        finally:
            self._set_load(False)

    def power_w(self, rail: str) -> float:
        """Power of a rail at the present clocks and load, W."""
        slopes = {name: self._slope(name, rail) for name in self._windows}
        if not slopes:
            series = self._series[rail]
            return fmean((series["lowest_w"] or 0.0, series["highest_w"] or 0.0))
        bases_w, moved_w = [], 0.0
        for name, (highest_w, slope_w) in slopes.items():
            # Where its governor leaves a clock that is not driven.
            natural = float(self.is_loaded and name.startswith("cpu"))
            bases_w.append(highest_w - slope_w * (1.0 - natural))
            moved_w += slope_w * (self._place(name) - natural)
        return max(fmean(bases_w) + moved_w, 0.0)

    def _slope(self, name: str, rail: str) -> tuple[float, float]:
        """Power at a clock's highest end, and how much that is above the lowest."""
        low, high = (self._windows[name][end, self.is_loaded] for end in ("lowest", "highest"))
        highest_w = high["reading"]["mean_w"].get(rail, 0.0)
        return highest_w, highest_w - low["reading"]["mean_w"].get(rail, 0.0)

    def _place(self, name: str) -> float:
        """Where a clock is between its ends, 0 to 1."""
        windows = self._windows[name]
        low_hz, high_hz = (windows[e, self.is_loaded]["clock_hz"] for e in ("lowest", "highest"))
        if high_hz <= low_hz:
            return 1.0
        return min(max((self._clock_hz(name) - low_hz) / (high_hz - low_hz), 0.0), 1.0)

    def _clock_hz(self, name: str) -> float:
        devices = self._kernel.devices
        if name.startswith("cpu"):
            wanted = devices.get(f"policy{name.removeprefix('cpu') or 0}")
            policies = [d for d in devices.values() if isinstance(d, CpufreqPolicy) and d.online]
            chosen = policies if wanted is None else [wanted]
            return 1000.0 * min(policy.cur_khz() for policy in chosen)
        if name in devices and isinstance(devices[name], Emc):
            return devices[name].rate_hz()
        nodes = [d for d in devices.values() if isinstance(d, DevfreqDevice)]
        named = [d for d in nodes if d.name == name] or [d for d in nodes if _is(name, d.name)]
        return named[0].cur_hz()

    def _set_load(self, is_loaded: bool) -> None:
        self._advance()
        self.is_loaded = is_loaded
        for device in self._kernel.devices.values():
            if isinstance(device, CpufreqPolicy):
                device.load = float(is_loaded)
                device.cur_khz()  # its governor acts now, not when somebody looks

    def _advance(self) -> None:
        """Let counters count up to now."""
        passed_s = self._kernel.now_s - self._since_s
        self._since_s = self._kernel.now_s
        if passed_s:
            for rail in self._energy_j:
                self._energy_j[rail] += self.power_w(rail) * passed_s

    def _animate(self) -> None:
        """Find out which files each rail reads, and let them follow."""
        sysfs = FakeSysfs(self._kernel, Path("/nowhere"))
        found = find_power(sysfs)
        for name, sensor in found.sensors.items():
            accesses = self._watched(sensor.read_w)
            volts = self._volts(path for _, path in accesses)
            for operation, path in accesses:
                if operation == "run":
                    self._follow_command(name, path)
                for pattern, unit, is_current in _UNITS:
                    if operation == "read" and pattern.search(path):
                        self._follow_file(name, path, unit / volts if is_current else unit)
        for name, counter in found.counters.items():
            self._energy_j[name] = 0.0
            for _, path in self._watched(counter.read_j):
                self._count(name, self._kernel.real_path(path))

    def _watched(self, read: Any) -> list[tuple[str, str]]:
        """What is accessed by a reading: operations and paths."""
        accesses: list[tuple[str, str]] = []
        self._kernel.before_access = lambda operation, path: accesses.append((operation, path))
        with suppress(HardwareError):
            read()
        self._kernel.before_access = None
        return accesses

    def _volts(self, paths: Iterable[str]) -> float:
        for path in paths:
            for pattern, unit in _VOLTS:
                if pattern.search(path):
                    return int(self._kernel.read(path)) * unit
        return 1.0

    def _follow_file(self, rail: str, path: str, unit: float) -> None:
        real = self._kernel.real_path(path)
        fails = _Failing(self._series.get(rail))

        def show() -> int:
            fails.once()
            return round(self.power_w(rail) * unit)

        self._kernel.add({real: Computed(show)})

    def _count(self, rail: str, real: str) -> None:
        start_uj = int(self._kernel.read(real))
        self._kernel.add({real: Computed(lambda: start_uj + round(self._energy_j[rail] * 1e6))})

    def _follow_command(self, rail: str, command: str) -> None:
        text = str(self._kernel.commands[command])
        volts = dict(re.findall(r"(\w+)_V\s+volt\(\d+\)=([\d.]+)V", text))
        amperes = re.findall(r"(\w+)_A\s+current\(\d+\)=([\d.]+)A", text)
        rails_w = sum(float(a) * float(volts[name]) for name, a in amperes if name in volts)

        def show() -> str:
            wanted_w = (self.power_w(rail) - INPUT_OFFSET_W) / INPUT_PER_RAIL
            factor = wanted_w / rails_w
            return _AMPERES.sub(lambda m: f"{m[1]}{float(m[2]) * factor:.8f}A", text)

        self._kernel.commands[command] = show


class _Failing:
    """Fails as often as a rail's recorded series did."""

    def __init__(self, series: dict[str, Any] | None) -> None:
        n_failed = series["n_failed"] if series else 0
        self._every = round(series["n_reads"] / n_failed) if series and n_failed else 0
        self._n_reads = 0

    def once(self) -> None:
        self._n_reads += 1
        if self._every and self._n_reads % self._every == 0:
            raise kernel_error(errno.EIO, os.strerror(errno.EIO))


def _is(domain: str, node: str) -> bool:
    words = {"gpu": ("gpu", "gp10b", "gv11b", "ga10b", "gm20b"), "npu": ("npu",)}
    return any(word in node for word in words.get(domain, ("emc", "dmc", "bwmgr")))
