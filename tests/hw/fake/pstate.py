"""intel_pstate in active mode and amd-pstate-epp: no table, limits and an energy preference."""

from __future__ import annotations

import errno
import os

from tests.hw.fake import cpufreq
from tests.hw.fake.attribute import Computed, first_word, invalid, strict_number
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.cpus import CPU
from tests.hw.fake.kernel import FakeKernel

GOVERNORS = ("performance", "powersave")
PREFERENCES = ("default", "performance", "balance_performance", "balance_power", "power")


class EnergyPreference:
    """`energy_performance_preference` of a policy, which "performance" holds (EBUSY)."""

    def __init__(self, kernel: FakeKernel, policy: CpufreqPolicy) -> None:
        self.preference = "balance_performance"
        self._policy = policy
        kernel.add(
            {
                "energy_performance_preference": Computed(self._show, self._store),
                "energy_performance_available_preferences": " ".join(PREFERENCES),
            },
            policy.folder,
        )

    def _show(self) -> str:
        return "performance" if self._policy.governor == "performance" else self.preference

    def _store(self, value: str) -> None:
        word = first_word(value, 20)
        if word not in PREFERENCES:
            raise invalid()
        if self._policy.governor == "performance":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self.preference = word


class IntelPstate:
    """The driver's global files; each CPU has a policy of its own.

    Switching `status` starts the policies anew, with all limits forgotten. `no_turbo` holds a
    maximum of its own, from which the one asked for springs back.
    """

    def __init__(
        self, kernel: FakeKernel, n_cpus: int, min_khz: int, base_khz: int, turbo_khz: int
    ) -> None:
        self.status = "active"
        self._base_khz = base_khz
        self._no_turbo = 0
        self.policies = []
        for cpu in range(n_cpus):
            policy = CpufreqPolicy(
                kernel,
                [cpu],
                None,
                limits_khz=(min_khz, turbo_khz),
                driver="intel_pstate",
                governors=GOVERNORS,
                governor="powersave",
                autonomous=True,
            )
            EnergyPreference(kernel, policy)
            kernel.add({"base_frequency": base_khz}, policy.folder)
            self.policies.append(policy)
        kernel.devices["intel_pstate"] = self
        kernel.add(
            {
                "status": Computed(lambda: self.status, self._store_status),
                "no_turbo": Computed(lambda: self._no_turbo, self._store_no_turbo),
                "max_perf_pct": 100,
                "min_perf_pct": round(100 * min_khz / turbo_khz),
            },
            f"{CPU}/intel_pstate",
        )

    def _store_status(self, value: str) -> None:
        word = first_word(value)
        if word not in ("active", "passive"):
            raise invalid()
        if word == self.status:
            return
        self.status = word
        for policy in self.policies:
            policy.user_min_khz = policy.cpuinfo_min_khz
            policy.user_max_khz = policy.cpuinfo_max_khz
            policy.autonomous = word == "active"
            policy.driver = "intel_pstate" if policy.autonomous else "intel_cpufreq"
            policy.governors = GOVERNORS if policy.autonomous else cpufreq.GOVERNORS
            policy.governor = "powersave" if policy.autonomous else "schedutil"

    def _store_no_turbo(self, value: str) -> None:
        self._no_turbo = int(bool(strict_number(value)))
        for policy in self.policies:
            policy.caps_khz.pop("no_turbo", None)
            if self._no_turbo:
                policy.caps_khz["no_turbo"] = self._base_khz


def add_amd_pstate_epp(
    kernel: FakeKernel, n_cpus: int, min_khz: int, max_khz: int
) -> list[CpufreqPolicy]:
    """amd-pstate in active mode, with a policy per CPU."""
    policies = []
    for cpu in range(n_cpus):
        policy = CpufreqPolicy(
            kernel,
            [cpu],
            None,
            limits_khz=(min_khz, max_khz),
            driver="amd-pstate-epp",
            governors=GOVERNORS,
            governor="powersave",
            autonomous=True,
        )
        EnergyPreference(kernel, policy)
        kernel.add(
            {"amd_pstate_max_freq": max_khz, "amd_pstate_lowest_nonlinear_freq": 1_100_000},
            policy.folder,
        )
        policies.append(policy)
    kernel.add({"status": "active", "prefcore": "enabled"}, f"{CPU}/amd_pstate")
    return policies
