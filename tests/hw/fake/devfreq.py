"""A devfreq device by the rules of drivers/devfreq/devfreq.c, of Linux 4.9 and of PM QoS."""

from __future__ import annotations

from collections.abc import Sequence

from tests.hw.fake.attribute import Computed, Lagged, Stored, first_word, invalid, scan_number
from tests.hw.fake.kernel import FakeKernel

CLASS = "sys/class/devfreq"
GOVERNORS = ("userspace", "powersave", "performance", "simple_ondemand")
_HZ_PER_KHZ = 1000
_NO_LIMIT = (1 << 31) - 1  # PM_QOS_MAX_FREQUENCY_DEFAULT_VALUE, kHz


class DevfreqDevice:
    """A GPU's, NPU's or memory controller's clock. All frequencies are Hz.

    Args:
        kernel: gets the attributes, and this as a device by its name.
        device: folder of the device that owns the clock.
        table_hz: operating points, ascending.
        name: of the devfreq device, if not the device's.
        governors: what can be chosen.
        governor: at first.

    Attributes:
        load: busy fraction, 0 to 1.
        caps_hz: upper limits of others by name.
        firmware_hz: what the firmware gives at most, whatever the kernel believes; None = anything.
        firmware_ignores: the firmware keeps its present clock, without an error.
    """

    def __init__(
        self,
        kernel: FakeKernel,
        device: str,
        table_hz: Sequence[int],
        *,
        name: str = "",
        governors: Sequence[str] = GOVERNORS,
        governor: str = "simple_ondemand",
    ) -> None:
        self.device = device
        self.name = name or device.rpartition("/")[2]
        self.folder = f"{device}/devfreq/{self.name}"
        self.table_hz = tuple(sorted(table_hz))
        self.governors = tuple(governors)
        self.governor = governor
        self.load = 0.0
        self.caps_hz: dict[str, int] = {}
        self.firmware_hz: int | None = None
        self.firmware_ignores = False
        self._kernel = kernel
        if kernel.is_old:
            self._min_hz, self._max_hz = self.table_hz[0], self.table_hz[-1]
        else:
            self._min_khz, self._max_khz = 0, _NO_LIMIT
        self._set_hz: int | None = None
        self._cur_hz = Lagged(kernel.clock)
        self._given_hz = 0
        kernel.devices[self.name] = self
        self._add()
        self._follow_governor()

    @property
    def lag_s(self) -> float:
        """Time after which the clock follows, s."""
        return self._cur_hz.lag_s

    @lag_s.setter
    def lag_s(self, lag_s: float) -> None:
        self.cur_hz()
        self._cur_hz.lag_s = lag_s

    def limits_hz(self) -> tuple[int, int]:
        """Minimum and maximum as the files show them."""
        if self._kernel.is_old:
            return self._min_hz, self._max_hz  # what was asked for
        low, high = self.table_hz[0], self.table_hz[-1]
        low = max(low, self._min_khz * _HZ_PER_KHZ)
        if self._max_khz != _NO_LIMIT:
            high = min(high, self._max_khz * _HZ_PER_KHZ)
        # devfreq_cooling holds a maximum request of its own.
        high = min([high, *self.caps_hz.values()])
        return min(low, high), high

    def requests(self) -> tuple[int, int]:
        """Minimum and maximum asked for, within the table."""
        if self._kernel.is_old:
            low, high = self._min_hz, self._max_hz or self.table_hz[-1]
        else:
            low, high = self._min_khz * _HZ_PER_KHZ, self._max_khz * _HZ_PER_KHZ
        return max(low, self.table_hz[0]), min(high, self.table_hz[-1])

    def target_hz(self) -> int:
        """What the kernel asks of the driver."""
        low, high = self.limits_hz()
        # On old kernels 0 means no limit, and a cooled point is disabled but not hidden.
        low = low or self.table_hz[0]
        high = min([high or self.table_hz[-1], *self.caps_hz.values()])
        wanted = max(self._wanted_hz(low, high), low)
        if wanted >= high:  # DEVFREQ_FLAG_LEAST_UPPER_BOUND: the maximum rounds down
            return next((hz for hz in reversed(self.table_hz) if hz <= high), self.table_hz[0])
        return next((hz for hz in self.table_hz if hz >= wanted), self.table_hz[-1])

    def cur_hz(self) -> int:
        """The clock now."""
        if not (self.firmware_ignores and self._given_hz):
            self._given_hz = min(self.target_hz(), self.firmware_hz or self.table_hz[-1])
        return self._cur_hz.follow(self._given_hz)

    def _wanted_hz(self, low: int, high: int) -> int:
        if self.governor == "performance":
            return high
        if self.governor == "powersave":
            return low
        if self.governor == "userspace":
            return self._kept_hz if self._set_hz is None else self._set_hz
        return low + int((high - low) * self.load)

    @property
    def _kept_hz(self) -> int:
        """The clock last given, which "userspace" keeps until told otherwise."""
        return self._given_hz or self.table_hz[0]

    def _store_min(self, value: str) -> None:
        hz = scan_number(value)  # both generations take what follows the number
        if not self._kernel.is_old:
            self._min_khz = hz // _HZ_PER_KHZ
        elif hz and self._max_hz and hz > self._max_hz:
            raise invalid()
        else:
            self._min_hz = hz
        self.cur_hz()  # the driver is told at once

    def _store_max(self, value: str) -> None:
        hz = scan_number(value)
        if not self._kernel.is_old:
            self._max_khz = -(-hz // _HZ_PER_KHZ) if hz else _NO_LIMIT
        elif hz and self._min_hz and hz < self._min_hz:
            raise invalid()
        else:
            self._max_hz = hz
        self.cur_hz()

    def _store_governor(self, value: str) -> None:
        word = first_word(value)
        if word not in self.governors:
            raise invalid()
        if word != self.governor:
            self.cur_hz()
            self.governor = word
            self._follow_governor()

    def _follow_governor(self) -> None:
        """The folder `userspace` exists only under that governor, and forgets its value."""
        self._set_hz = None
        if self.governor != "userspace":
            self._kernel.remove(f"{self.folder}/userspace")
            return
        self._kernel.add({"userspace/set_freq": Computed(self._show_set, self._set)}, self.folder)

    def _show_set(self) -> object:
        return "undefined" if self._set_hz is None else self._set_hz

    def _set(self, value: str) -> None:
        self._set_hz = scan_number(value)
        self.cur_hz()

    def _add(self) -> None:
        self._kernel.add(
            {
                "name": self.name,
                "governor": Computed(lambda: self.governor, self._store_governor),
                "available_governors": " ".join(self.governors),
                "min_freq": Computed(lambda: self.limits_hz()[0], self._store_min),
                "max_freq": Computed(lambda: self.limits_hz()[1], self._store_max),
                "cur_freq": Computed(self.cur_hz),
                "target_freq": Computed(self.target_hz),
                # The present limits do not matter here.
                "available_frequencies": " ".join(str(hz) for hz in self.table_hz),
                "polling_interval": Stored(50),
            },
            self.folder,
        )
        self._kernel.link(f"{self.folder}/device", self.device)
        self._kernel.link(f"{CLASS}/{self.name}", self.folder)
