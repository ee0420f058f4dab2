"""A fake board in real time, and its undriven twin as reference for the state to be restored."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

from benchmarks.soak.gate import FaultGate
from benchmarks.soak.remote import SHARED, KernelServer
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.energy import RaplZone
from tests.hw.fake.hwmon import Rail
from tests.hw.fake.kernel import NEW, FakeKernel
from tests.hw.fake.thermal import ThermalZone

TICK_S = 0.05
JITTER = 0.03
"""Share by which power wanders: nothing real stands still."""
REST_SHARE = 0.4
"""Of a rail's typical power at the lowest clocks."""


class Machine:
    """A board that a daemon drives, served at a socket; a context manager.

    Args:
        board: name of a fake board, see `tests.hw.fake.boards`.
        scratch: folder for the socket and for what is no kernel file.
        seed: of what power and temperatures do.

    Attributes:
        kernel: of the board.
        twin: a kernel to which happens what others do to the board, but nothing that the daemon
            does.
        has_modes: whether it has nvpmodel.
        gate: through which the daemon reaches the kernel.
        root: folder for the journal.
        range_w: true power at the input so far, W; [least, most].
        heat_c: added to every temperature, degrees C.
        cooled: states of cooling devices by name that are held, whatever the temperature.
    """

    def __init__(self, board: str, scratch: Path, seed: int = 0) -> None:
        self.kernel, self.twin = BOARDS[board](NEW), BOARDS[board](NEW)
        self.gate = FaultGate(self.kernel)
        self.root = scratch / "root"
        for name in ("folder", "devtmpfs"):
            (self.root / SHARED / name).mkdir(parents=True)
        self.heat_c = 0.0
        self.cooled: dict[str, int] = {}
        self.range_w = [float("inf"), 0.0]
        self._server = KernelServer(scratch / "kernel", self.gate.access)
        self.address = self._server.address
        self._random = random.Random(seed)
        self._stop = threading.Event()
        devices = self.kernel.devices.values()
        self._clocks = [d for d in devices if isinstance(d, CpufreqPolicy | DevfreqDevice)]
        self.rails = {
            name: device
            for name, device in self.kernel.devices.items()
            if isinstance(device, Rail | RaplZone)
        }
        self.zones = {n: d for n, d in self.kernel.devices.items() if isinstance(d, ThermalZone)}
        self.has_modes = "nvpmodel" in self.kernel.devices
        self._mode: int = self.kernel.devices["nvpmodel"].mode if self.has_modes else 0
        self._rest_w = {name: rail.watts for name, rail in self.rails.items()}
        self._rest_c = {name: zone.temp_c for name, zone in self.zones.items()}
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Machine:
        self._server.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._server.__exit__()

    def change(self, act: Callable[[FakeKernel], object]) -> None:
        """Change the board as another program would, first it and then its twin."""
        self.gate.wait_for_quiet()
        for kernel in (self.kernel, self.twin):
            with kernel._lock:
                act(kernel)

    def bring_online(self) -> None:
        """Let the owner choose a power mode with all processors, if possible another one.

        What is asked of a clock stays with it while its processors are offline, and cannot be
        changed then.
        """
        if not self.has_modes:
            return
        nvpmodel = self.kernel.devices["nvpmodel"]
        n_cpus = sum(len(policy.cpus) for policy in nvpmodel.policies)
        whole = [n for n, mode in nvpmodel.modes.items() if mode.n_cpus in (None, n_cpus)]
        chosen = max(whole, key=lambda number: (number != self._mode, number == nvpmodel.mode))
        if nvpmodel.mode != chosen:
            self.change(lambda kernel: kernel.devices["nvpmodel"].switch_power_mode(chosen))

    @property
    def journal(self) -> Path:
        """Where the journal lies."""
        return self.root / "var/lib/dvfo"

    def differences(self) -> list[str]:
        """What is not as it should be left, in words."""
        found = {**self.kernel.snapshot(), **_shown(self.kernel)}
        expected = {**self.twin.snapshot(), **_shown(self.twin)}
        words = [
            f"{name}: {found.get(name, 'nothing').strip()} instead of "
            f"{expected.get(name, 'nothing').strip()}"
            for name in sorted({*found, *expected})
            if found.get(name) != expected.get(name)
        ]
        left = [path.name for path in self.journal.glob("journal*")]
        return words + [f"{name} is left behind" for name in left]

    def _live(self) -> None:
        """Let power and temperatures follow the clocks."""
        with self.kernel._lock:
            speed = self._speed()
        while not self._stop.wait(TICK_S):
            with self.kernel._lock:
                self.gate.keep_time()
                speed += 0.3 * (self._speed() - speed)
                self._settle(speed)

    def _settle(self, speed: float) -> None:
        for name, rail in self.rails.items():
            wander = 1.0 + JITTER * self._random.uniform(-1.0, 1.0)
            rail.watts = self._rest_w[name] * (REST_SHARE + (1.0 - REST_SHARE) * speed) * wander
        watts = sum(rail.watts for name, rail in self.rails.items() if name in TOTAL)
        self.range_w = [min(self.range_w[0], watts), max(self.range_w[1], watts)]
        for name, zone in self.zones.items():
            if self._rest_c[name] > 0.0:
                zone.heat_to(self._rest_c[name] + 5.0 * speed + self.heat_c)
                self.twin.devices[name].heat_to(self._rest_c[name] + self.heat_c)
        for name, state in list(self.cooled.items()):
            for kernel in (self.kernel, self.twin):
                kernel.devices[name].cool(max(state, kernel.devices[name].state))

    def _speed(self) -> float:
        """Mean of the clocks, as shares of their highest ones."""
        shares = []
        for clock in self._clocks:
            clock.load = 1.0
            if isinstance(clock, CpufreqPolicy):
                shares.append(clock.cur_khz() / clock.cpuinfo_max_khz)
            else:
                shares.append(clock.limits_hz()[1] / clock.table_hz[-1])
        return sum(shares) / len(shares)


TOTAL = ("VDD_IN", "POM_5V_IN", "rapl psys")
"""Rails that are a board's input."""


def _shown(kernel: FakeKernel) -> dict[str, str]:
    """What is asked for behind a cap."""
    return {f"request for {name}": str(limits) for name, limits in kernel.requests().items()}
