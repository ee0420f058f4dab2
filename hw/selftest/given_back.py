"""Check of the restored machine against its state before the self-test."""

from __future__ import annotations

from hw.clocks.devfreq import DEVFREQ
from hw.clocks.emc import BPMP_CLOCK, CAPS, OVERRIDE
from hw.errors import HardwareError
from hw.selftest.bench import SelfTestBench
from hw.selftest.findings import Verdict
from hw.sysfs import Sysfs
from hw.thermal.cooling import CoolingDevices

CPU = "sys/devices/system/cpu"
SETTINGS = (
    f"{CPU}/cpufreq/policy*/scaling_min_freq",
    f"{CPU}/cpufreq/policy*/scaling_max_freq",
    f"{CPU}/cpufreq/policy*/scaling_governor",
    f"{CPU}/cpufreq/policy*/energy_performance_preference",
    f"{CPU}/cpufreq/boost",
    f"{CPU}/intel_pstate/no_turbo",
    f"{CPU}/cpu*/online",
    f"{DEVFREQ}/*/min_freq",
    f"{DEVFREQ}/*/max_freq",
    f"{DEVFREQ}/*/governor",
    f"{DEVFREQ}/*/device/power/control",
    f"{DEVFREQ}/*/device/railgate_enable",
    f"{BPMP_CLOCK}/mrq_rate_locked",
    f"{BPMP_CLOCK}/state",
    f"{BPMP_CLOCK}/min_rate",
    f"{BPMP_CLOCK}/max_rate",
    f"{OVERRIDE}/clk_state",
    *CAPS,
)
"""All that this project writes to set clocks, and what hangs together with it."""
SETTLES_WITHIN_S = 2.0
"""cpufreq puts limits into force in a worker, after the write."""
LOOK_AGAIN_S = 0.05


def read_settings(sysfs: Sysfs) -> dict[str, str]:
    """Text of everything that may be changed; what cannot be read is left out."""
    found = {}
    for pattern in SETTINGS:
        for path in sysfs.glob(pattern):
            try:
                found[str(path.relative_to(sysfs.root))] = sysfs.read_text(path)
            except HardwareError:  # processors that are offline answer nothing
                continue
    return found


def check_given_back(bench: SelfTestBench) -> None:
    """Compare all settings with those before the test."""
    before = bench.findings.settings["before"]
    deadline_s = bench.clock() + SETTLES_WITHIN_S
    while (after := read_settings(bench.sysfs)) != before and bench.clock() < deadline_s:
        bench.sleep(LOOK_AGAIN_S)
    bench.findings.settings["after"] = after
    changed = [
        f"{name} was {before.get(name, 'not there')!r} and is {after.get(name, 'not there')!r}"
        for name in sorted({**before, **after})
        if before.get(name) != after.get(name)
    ]
    if not changed:
        text = f"{len(after)} settings are as they were"
        bench.note("given back", Verdict.PASSED, text)
    elif cooling := _cooling(bench.sysfs):
        text = f"{'; '.join(changed)}; but {cooling} cools, and may hide what is asked for"
        bench.note("given back", Verdict.UNTOLD, text)
    else:
        bench.note("given back", Verdict.FAILED, "; ".join(changed))


def _cooling(sysfs: Sysfs) -> str:
    return ", ".join(state.name for state in CoolingDevices(sysfs).states() if state.state > 0)
