"""A cpufreq policy by the rules of drivers/cpufreq/cpufreq.c, of Linux 4.9 and of PM QoS."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence

from tests.hw.fake.attribute import (
    Attribute,
    Computed,
    Lagged,
    Stored,
    Text,
    first_word,
    invalid,
    scan_number,
    strict_number,
)
from tests.hw.fake.cpus import CPU, Cpus
from tests.hw.fake.kernel import FakeKernel

CPUFREQ = f"{CPU}/cpufreq"
GOVERNORS = ("conservative", "ondemand", "userspace", "powersave", "performance", "schedutil")
UNSUPPORTED = "<unsupported>"


class CpufreqPolicy:
    """One cluster's clock. All frequencies are kHz.

    Args:
        kernel: gets the attributes, and this as device "policy<first CPU>".
        cpus: CPUs of the cluster.
        table_khz: operating points, ascending; None where the driver has none.
        limits_khz: the hardware's limits, if not the table's ends.
        driver: its name.
        governors: what can be chosen.
        governor: at first.
        autonomous: the hardware scales by itself, also under "powersave".

    Attributes:
        load: busy fraction, 0 to 1, which scaling governors follow.
        caps_khz: upper limits of others by name (thermal cooling, firmware).
        forgets_offline: the driver starts anew when its processors come back online.
    """

    def __init__(
        self,
        kernel: FakeKernel,
        cpus: Sequence[int],
        table_khz: Sequence[int] | None,
        *,
        limits_khz: tuple[int, int] | None = None,
        driver: str = "cpufreq-dt",
        governors: Sequence[str] = GOVERNORS,
        governor: str = "schedutil",
        autonomous: bool = False,
    ) -> None:
        self.cpus = list(cpus)
        self.name = f"policy{self.cpus[0]}"
        self.folder = f"{CPUFREQ}/{self.name}"
        self.table_khz = None if table_khz is None else tuple(sorted(table_khz))
        ends = self.table_khz or limits_khz
        if ends is None:
            raise ValueError("a policy needs a table or limits")
        self.cpuinfo_min_khz, self.cpuinfo_max_khz = limits_khz or (ends[0], ends[-1])
        self.driver = driver
        self.governors = tuple(governors)
        self.governor = governor
        self.autonomous = autonomous
        self.load = 0.0
        self.caps_khz: dict[str, int] = {}
        self.forgets_offline = False
        self.user_min_khz, self.user_max_khz = self.cpuinfo_min_khz, self.cpuinfo_max_khz
        self._setspeed_khz = self.user_max_khz
        self._kernel = kernel
        self._cur_khz = Lagged(kernel.clock)
        kernel.devices[self.name] = self
        self._add()

    @property
    def lag_s(self) -> float:
        """Time after which the clock follows, s."""
        return self._cur_khz.lag_s

    @lag_s.setter
    def lag_s(self, lag_s: float) -> None:
        self.cur_khz()
        self._cur_khz.lag_s = lag_s

    @property
    def online(self) -> list[int]:
        """CPUs of the cluster that are online."""
        cpus: Cpus | None = self._kernel.devices.get("cpus")
        return [cpu for cpu in self.cpus if cpus is None or cpu in cpus.online]

    def limits_khz(self) -> tuple[int, int]:
        """Effective minimum and maximum, which is what the files show."""
        low, high = self.user_min_khz, self.user_max_khz
        cap = min(self.caps_khz.values(), default=None)
        if self._kernel.is_old:
            # verify, CPUFREQ_ADJUST notifiers (cpu_cooling), verify; the table rounds nothing.
            low, high = self._verify(low, high)
            if cap is not None:
                low, high = self._verify(min(low, cap), min(high, cap))
            return low, high
        if cap is not None:
            high = min(high, cap)  # freq_qos: the lowest maximum wins
        low, high = self._verify(low, high)
        high = self.round_down(high)
        return min(self.round_up(low), high), high

    def requests(self) -> tuple[int, int]:
        """Minimum and maximum asked for, within the hardware's limits."""
        low, high = max(self.cpuinfo_min_khz, self.user_min_khz), self.cpuinfo_max_khz
        high = min(high, self.user_max_khz)
        # New kernels show and obey the table: what lies above a point is as good as the point.
        return low, high if self._kernel.is_old else self.round_down(high)

    def cur_khz(self) -> int:
        """The clock now."""
        return self._cur_khz.follow(self._target_khz())

    def round_up(self, khz: int) -> int:
        """CPUFREQ_RELATION_L: lowest operating point at or above."""
        table = self.table_khz or (khz,)
        return next((point for point in table if point >= khz), table[-1])

    def round_down(self, khz: int) -> int:
        """CPUFREQ_RELATION_H: highest operating point at or below."""
        table = self.table_khz or (khz,)
        return next((point for point in reversed(table) if point <= khz), table[0])

    def _verify(self, low: int, high: int) -> tuple[int, int]:
        """cpufreq_frequency_table_verify: in the hardware's limits, with a point in between."""
        floor, ceiling = self.cpuinfo_min_khz, self.cpuinfo_max_khz
        high = max(floor, min(high, ceiling))
        low = min(max(floor, min(low, ceiling)), high)
        if self.table_khz and not any(low <= point <= high for point in self.table_khz):
            high = self.round_up(high)
        return low, high

    def _target_khz(self) -> int:
        low, high = self.limits_khz()
        if self.governor == "performance":
            return self.round_down(high)
        if self.governor == "powersave" and not self.autonomous:
            return self.round_up(low)
        if self.governor == "userspace":
            return self.round_up(max(low, min(self._setspeed_khz, high)))
        return min(self.round_up(low + int((high - low) * self.load)), self.round_down(high))

    def _show_cur(self) -> int:
        khz = self.cur_khz()
        # Counted by APERF/MPERF, such a clock is never quite the one asked for.
        return khz - khz // 500 if self.autonomous else khz

    def _number(self, value: str) -> int:
        return scan_number(value) if self._kernel.is_old else strict_number(value)

    def _store_min(self, value: str) -> None:
        self._check_online()
        khz = self._number(value)
        if self._kernel.is_old and khz > self.user_max_khz:
            raise invalid()
        self.user_min_khz = khz
        self.cur_khz()  # the driver is told at once

    def _store_max(self, value: str) -> None:
        self._check_online()
        khz = self._number(value)
        if self._kernel.is_old and khz < self.user_min_khz:
            raise invalid()
        self.user_max_khz = khz
        self.cur_khz()

    def _store_governor(self, value: str) -> None:
        self._check_online()
        word = first_word(value).lower()  # strncasecmp
        if word not in self.governors:
            raise invalid()
        if word == "userspace" != self.governor:
            self._setspeed_khz = self.cur_khz()
        self.governor = word
        self.cur_khz()

    def _show_setspeed(self) -> object:
        return self.cur_khz() if self.governor == "userspace" else UNSUPPORTED

    def _store_setspeed(self, value: str) -> None:
        self._check_online()
        if self.governor != "userspace":
            raise invalid()
        self._setspeed_khz = scan_number(value)
        self.cur_khz()

    def _check_online(self) -> None:
        if not self.online:
            raise invalid()

    def add(self, attributes: Mapping[str, Attribute | str | int]) -> None:
        """Add files to the policy's folder."""
        for name, value in attributes.items():
            file = value if isinstance(value, Attribute) else Text(str(value))
            self._kernel.add({name: _PolicyFile(self, file)}, self.folder)

    def processors_changed(self) -> None:
        """Is told of each processor that goes and comes."""
        if self.forgets_offline and not self.online:
            self.user_min_khz, self.user_max_khz = self.cpuinfo_min_khz, self.cpuinfo_max_khz

    @property
    def is_closed(self) -> bool:
        """Whether all files are busy: so are an offline policy's since Linux 5.19."""
        return not self._kernel.is_old and not self.online

    def _add(self) -> None:
        cpus = " ".join(str(cpu) for cpu in self.cpus)
        self.add(
            {
                "scaling_min_freq": Computed(lambda: self.limits_khz()[0], self._store_min),
                "scaling_max_freq": Computed(lambda: self.limits_khz()[1], self._store_max),
                "scaling_cur_freq": Computed(self._show_cur),
                "cpuinfo_cur_freq": Computed(self._show_cur),
                "cpuinfo_min_freq": Computed(lambda: self.cpuinfo_min_khz),
                "cpuinfo_max_freq": Computed(lambda: self.cpuinfo_max_khz),
                "cpuinfo_transition_latency": 300_000,
                "scaling_governor": Computed(lambda: self.governor, self._store_governor),
                "scaling_available_governors": Computed(lambda: " ".join(self.governors)),
                # Follows the clock under "userspace", as show_speed prints policy->cur.
                "scaling_setspeed": Computed(
                    self._show_setspeed, self._store_setspeed, volatile=True
                ),
                "scaling_driver": Computed(lambda: self.driver),
                "affected_cpus": Computed(lambda: " ".join(str(cpu) for cpu in self.online)),
                "related_cpus": cpus,
            }
        )
        if self.table_khz is not None:
            # Some drivers list them in descending order.
            words = " ".join(str(khz) for khz in reversed(self.table_khz))
            self.add({"scaling_available_frequencies": f"{words} "})
        for cpu in self.cpus:
            self._kernel.link(f"{CPU}/cpu{cpu}/cpufreq", f"../cpufreq/{self.name}")


class _PolicyFile(Attribute):
    """A file of a policy, which new kernels close while all its processors are offline."""

    def __init__(self, policy: CpufreqPolicy, inner: Attribute) -> None:
        self._policy, self.inner = policy, inner
        self.writable, self.volatile = inner.writable, inner.volatile

    def read(self) -> str:
        self._check()
        return self.inner.read()

    def write(self, value: str) -> None:
        self._check()
        self.inner.write(value)

    def _check(self) -> None:
        if self._policy.is_closed:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


class Boost:
    """`cpufreq/boost`: the clocks above the nominal one.

    On a new kernel each toggle rewrites the maximum that was asked for (cpufreq_boost_set_sw).

    Args:
        kernel: gets the attribute.
        nominal_khz: maximum without boost, by policy.
    """

    def __init__(self, kernel: FakeKernel, nominal_khz: dict[str, int]) -> None:
        self._kernel = kernel
        self._policies: list[CpufreqPolicy] = [kernel.devices[name] for name in nominal_khz]
        self._nominal_khz = nominal_khz
        self._boosted_khz = {policy.name: policy.cpuinfo_max_khz for policy in self._policies}
        self._is_on = 1
        kernel.add({f"{CPUFREQ}/boost": Computed(lambda: self._is_on, self._store)})

    def _store(self, value: str) -> None:
        is_on = strict_number(value)
        if is_on not in (0, 1):
            raise invalid()
        if is_on == self._is_on:
            return
        self._is_on = is_on
        maxima_khz = self._boosted_khz if is_on else self._nominal_khz
        for policy in self._policies:
            policy.cpuinfo_max_khz = maxima_khz[policy.name]
            policy.user_max_khz = policy.cpuinfo_max_khz


def add_acpi_cpufreq(
    kernel: FakeKernel, cpu: int, table_khz: Sequence[int], boost_khz: int | None = None
) -> CpufreqPolicy:
    """A policy of acpi-cpufreq with the firmware's own limit in `bios_limit`.

    With CPPC the driver raises `cpuinfo.max_freq` to the boost clock, which is in no table
    (acpi_cpufreq_cpu_init); a limit at the table's end then switches boost off.
    """
    policy = CpufreqPolicy(
        kernel,
        [cpu],
        table_khz,
        limits_khz=None if boost_khz is None else (min(table_khz), boost_khz),
        driver="acpi-cpufreq",
        governor="ondemand",
    )
    policy.add(
        {
            # _PPC; the same limit is a maximum request of its own.
            "bios_limit": Computed(
                lambda: policy.caps_khz.get("bios", max(policy.table_khz or (0,)))
            ),
            "freqdomain_cpus": Stored(str(cpu)),
        }
    )
    return policy
