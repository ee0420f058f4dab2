"""The memory clock of Jetson boards: BPMP debugfs, and Tegra210's override; frequencies are Hz."""

from __future__ import annotations

from collections.abc import Sequence

from tests.hw.fake.attribute import Computed, Lagged, invalid, scan_number, strict_number
from tests.hw.fake.kernel import FakeKernel

DEBUG = "sys/kernel/debug"
BPMP = f"{DEBUG}/bpmp/debug"
CAP_JETPACK_6 = "sys/kernel/nvpmodel_clk_cap/emc"
CAP_JETPACK_5 = "sys/kernel/nvpmodel_emc_cap/emc_iso_cap"
ACTIVITIES = (
    f"{DEBUG}/cactmon/mc_all",
    f"{BPMP}/actmon/mc_all_avg_activity",
    "sys/kernel/actmon_avg_activity/mc_all",
)
OVERRIDE = f"{DEBUG}/clk/override.emc"
BWMGR = f"{DEBUG}/tegra_bwmgr"


class Emc:
    """What both kinds share: a table, a load, and a bandwidth manager that follows it."""

    def __init__(self, kernel: FakeKernel, table_hz: Sequence[int], cap_path: str) -> None:
        self.table_hz = tuple(sorted(table_hz))
        self.load = 0.0
        self.cap_hz = 0  # nvpmodel's; 0 and -1: none
        self._kernel = kernel
        kernel.add({cap_path: Computed(lambda: self.cap_hz, self._store_cap)})
        self._cur_hz = Lagged(kernel.clock)
        kernel.devices["emc"] = self

    def rate_hz(self) -> int:
        """The clock now."""
        return self._cur_hz.follow(self._target_hz())

    def lag(self, lag_s: float) -> None:
        """Let the clock follow after some time."""
        self.rate_hz()
        self._cur_hz.lag_s = lag_s

    def _target_hz(self) -> int:
        raise NotImplementedError

    def _capped_hz(self, hz: int) -> int:
        return self._floor_hz(min(hz, self.cap_hz) if self.cap_hz > 0 else hz)

    def _store_cap(self, value: str) -> None:
        try:
            self.cap_hz = int(value)
        except ValueError:
            raise invalid() from None

    def _managed_hz(self, low: int, high: int) -> int:
        wanted = low + int((high - low) * self.load)
        return min(next(hz for hz in self.table_hz if hz >= wanted), high)

    def _floor_hz(self, hz: int) -> int:
        return next((point for point in reversed(self.table_hz) if point <= hz), self.table_hz[0])


class BpmpEmc(Emc):
    """TX2, Xavier and Orin.

    A rate that is not in `possible_rates` is accepted and changes nothing (seen on an Orin NX).
    Without `mrq_rate_locked` the bandwidth manager takes the clock back a little later.

    Args:
        kernel: gets the attributes, and this as device "emc".
        table_hz: possible rates.
        cap_path: nvpmodel's cap, which differs by JetPack.

    Attributes:
        ignores_writes: accept everything, change nothing.
        takes_back_s: time after which the bandwidth manager overrides an unlocked rate.
    """

    def __init__(self, kernel: FakeKernel, table_hz: Sequence[int], cap_path: str) -> None:
        super().__init__(kernel, table_hz, cap_path)
        self.ignores_writes = False
        self.takes_back_s = 0.05
        self._min_hz, self._max_hz = self.table_hz[0], self.table_hz[-1]
        self._locked = 0
        self._asked_hz: int | None = None
        self._asked_s = 0.0
        folder = f"{BPMP}/clk/emc"
        kernel.add(
            {
                "rate": Computed(self.rate_hz, self._store_rate, volatile=True),
                "min_rate": Computed(lambda: self._min_hz, self._store_min),
                "max_rate": Computed(lambda: self._max_hz, self._store_max),
                "mrq_rate_locked": Computed(lambda: self._locked, self._store_lock),
                # The memory clock is never off.
                "state": Computed(lambda: 1, strict_number),
            },
            folder,
        )
        kernel.add({f"{BPMP}/emc/possible_rates": " ".join(str(hz // 1000) for hz in table_hz)})
        activity = Computed(lambda: int(self.load * self.rate_hz() / 1000))
        kernel.add(dict.fromkeys(ACTIVITIES, activity))

    def ceiling_hz(self) -> int:
        """The lower of BPMP's and nvpmodel's cap."""
        return self._capped_hz(self._max_hz)

    def _target_hz(self) -> int:
        ceiling_hz = self.ceiling_hz()
        if not self._locked and self._kernel.now_s - self._asked_s >= self.takes_back_s:
            self._asked_hz = None
        if self._asked_hz is not None:
            return min(self._asked_hz, ceiling_hz)
        return self._managed_hz(min(self._min_hz, ceiling_hz), ceiling_hz)

    def _store_rate(self, value: str) -> None:
        hz = strict_number(value, bits=63)
        if self._takes(hz):
            self._asked_hz, self._asked_s = hz, self._kernel.now_s

    def _store_lock(self, value: str) -> None:
        locked = strict_number(value)
        if self.ignores_writes:
            return
        self._asked_hz = self.rate_hz() if locked else None
        self._locked = int(bool(locked))

    def _store_min(self, value: str) -> None:
        hz = strict_number(value, bits=63)
        if self._takes(hz):
            self._min_hz = hz

    def _store_max(self, value: str) -> None:
        hz = strict_number(value, bits=63)
        if self._takes(hz):
            self._max_hz = hz

    def _takes(self, hz: int) -> bool:
        return hz in self.table_hz and not self.ignores_writes


class Tegra210Emc(Emc):
    """Nano and TX1: a second clock that overrides the memory clock while it is enabled."""

    def __init__(self, kernel: FakeKernel, table_hz: Sequence[int], cap_path: str) -> None:
        super().__init__(kernel, table_hz, cap_path)
        self._override_hz = self.table_hz[0]
        self._is_enabled = 0
        kernel.add(
            {
                # Whether they can be read is a guess.
                "clk_update_rate": Computed(lambda: self._override_hz, self._store_rate),
                "clk_state": Computed(lambda: self._is_enabled, self._store_state),
                "clk_rate": Computed(lambda: self._override_hz),
            },
            OVERRIDE,
        )
        kernel.add(
            {
                f"{BWMGR}/emc_min_rate": self.table_hz[0],
                f"{BWMGR}/emc_max_rate": self.table_hz[-1],
                f"{DEBUG}/clk/emc/clk_rate": Computed(self.rate_hz),
            }
        )

    def _target_hz(self) -> int:
        high = self._capped_hz(self.table_hz[-1])
        return self._override_hz if self._is_enabled else self._managed_hz(self.table_hz[0], high)

    def _store_rate(self, value: str) -> None:
        hz = strict_number(value, bits=63)
        # clk_round_rate: to the next rate at or above.
        self._override_hz = next((p for p in self.table_hz if p >= hz), self.table_hz[-1])

    def _store_state(self, value: str) -> None:
        self._is_enabled = int(bool(scan_number(value)))
