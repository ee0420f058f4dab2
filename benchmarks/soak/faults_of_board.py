"""Faults of kernel files: what can be read and set, and who else sets it."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from functools import partial

from benchmarks.soak.faults import Draw, Fault, SoakSurroundings, fill
from benchmarks.soak.gate import WRITE, FaultRule
from benchmarks.soak.machine import Machine
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.energy import RaplZone
from tests.hw.fake.kernel import FakeKernel
from tests.hw.fake.nvpmodel import STATUS

READ_CODES = ("EIO", "EAGAIN", "EREMOTEIO", "EINVAL", "ENODEV", "ETIMEDOUT", "ENODATA")
WRITE_CODES = ("EIO", "EINVAL", "EBUSY", "EACCES")
GARBAGE = ("", "\n", "xyzzy\n", "12 34\n", "-\n", "\0\0\0\0\n", "0x\n", "1e3\n", "nan\n", "9" * 40)
POWERS = {"-5 W": "-1000\n", "0 W": "0\n", "100 MW": "20000000000\n"}
"""Currents in mA at 5 V."""
TEMPERATURES = {
    "-274 C": "-274000\n",
    "200 C": "200000\n",
    "0 K": "-273150\n",
    "2e6 C": "2147483647\n",
}
LIMITS = r"sys/.*(scaling_(max|min)_freq|/(max|min)_freq|/rate|/mrq_rate_locked|_clk_cap/.*)"
STEPS_UJ = (-1_000_000, -10_000_000, 100_000_000_000)
"""Of counters: back a little, as some firmware does, or ahead beyond all power."""
_COUNTERS = r"sys/.*/intel-rapl:.*/energy_uj"
_CLOCKS = r"sys/.*(scaling_cur_freq|cpuinfo_cur_freq|/cur_freq)"
_TRIPS = r"sys/.*/trip_point_\d+_(type|temp|hyst)"
HEAT_C = (41.0, 43.0, 48.0)
"""Above the usual: within the guard's margin of 91 C, deep in it, and beyond."""


def _files(draw: random.Random, machine: Machine) -> tuple[str, str]:
    """Some files that are read, as a pattern, and their name."""
    number = draw.randint(1, 3)
    zone = draw.choice([z for z in machine.zones.values() if z.temp_c > 0.0])
    choices = {
        f"zone {zone.folder[-1]}": rf"{zone.folder}/temp",
        "all zones": r"sys/.*/thermal_zone\d+/temp",
        "trip points": _TRIPS,
        "present clocks": _CLOCKS,
        "limits of clocks": LIMITS,
        "online processors": r"sys/.*/(affected_cpus|online)",
        "cooling devices": r"sys/.*/cooling_device\d+/.*",
        "governors": r"sys/.*/(scaling_)?governor",
    }
    if _has_counters(machine):
        choices["rail core"] = r"sys/.*/intel-rapl:0:0/energy_uj"
        choices["all rails"] = _COUNTERS
    else:
        choices[f"rail {number}"] = rf"sys/.*/hwmon\d+/(in|curr|power){number}_input"
        choices["all rails"] = r"sys/.*/hwmon\d+/(in|curr|power)\d+_input"
    name = draw.choice(sorted(choices))
    return name, choices[name]


def _has_counters(machine: Machine) -> bool:
    return any(isinstance(rail, RaplZone) for rail in machine.rails.values())


def _ruled(machine: Machine, what: str, seconds: float, **rule) -> Fault:
    """A fault that is a rule at the gate, and no more."""
    made = FaultRule(**rule)
    return Fault(
        what=what,
        seconds=seconds,
        begin=partial(machine.gate.add, made),
        end=partial(machine.gate.remove, made),
    )


def read_error(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Reading some files fails, once or for a while."""
    name, files = _files(draw, around.machine)
    code = draw.choice(READ_CODES)
    what = f"{code} of {name}"
    seconds = draw.choice((0.03, 0.06, 0.3, 1.0, 4.0))
    return _ruled(around.machine, what, seconds, files=files, code=getattr(errno, code))


def garbage(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Some files hold what is no number."""
    name, files = _files(draw, around.machine)
    text = draw.choice(GARBAGE)
    seconds = draw.choice((0.06, 0.3, 1.0, 4.0))
    return _ruled(around.machine, f"{text!r} in {name}", seconds, files=files, text=text)


def implausible_power(draw: random.Random, around: SoakSurroundings) -> Fault:
    """A power that cannot be, or a counter that steps."""
    seconds = draw.choice((0.1, 1.0, 4.0))
    if _has_counters(around.machine):
        step_uj = draw.choice(STEPS_UJ)
        return _ruled(
            around.machine,
            f"counters are {1e-6 * step_uj:g} J off",
            seconds,
            files=_COUNTERS,
            change=lambda text: f"{max(int(text) + step_uj, 0)}\n",
        )
    number = draw.choice((1, r"\d+"))
    name = draw.choice(sorted(POWERS))
    files, text = rf"sys/.*/hwmon\d+/curr{number}_input", POWERS[name]
    return _ruled(around.machine, f"{name} at rail {number}", seconds, files=files, text=text)


def implausible_temperature(draw: random.Random, around: SoakSurroundings) -> Fault:
    """A temperature that cannot be."""
    name = draw.choice(sorted(TEMPERATURES))
    zone = draw.choice((r"\d+", "0", "1"))
    files, text = rf"sys/.*/thermal_zone{zone}/temp", TEMPERATURES[name]
    seconds = draw.choice((0.1, 1.0, 4.0))
    return _ruled(around.machine, f"{name} in zone {zone}", seconds, files=files, text=text)


def stuck(draw: random.Random, around: SoakSurroundings) -> Fault:
    """What was read last is read again."""
    name, files = _files(draw, around.machine)
    seen: list[str] = []

    def hold(text: str) -> str:
        seen.append(text)
        return seen[0] if name.startswith(("rail", "zone")) else text

    return _ruled(around.machine, f"{name} stands still", 5.0, files=files, change=hold)


def slow_read(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Reading some files takes longer than a control step."""
    name, files = _files(draw, around.machine)
    delay_s = draw.choice((0.3, 0.7, 3.0))
    seconds = draw.choice((0.1, 1.0))
    what = f"{name} take {delay_s:g} s to read"
    return _ruled(around.machine, what, seconds, files=files, delay_s=delay_s)


def write_error(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Setting limits fails for a while."""
    code = draw.choice(WRITE_CODES)
    seconds = draw.choice((0.3, 1.0, 3.0))
    rule = {"files": LIMITS, "operations": WRITE, "code": getattr(errno, code)}
    return _ruled(around.machine, f"{code} of writes", seconds, **rule)


def read_only(draw: random.Random, around: SoakSurroundings) -> Fault:
    """All of /sys is mounted read-only for a while."""
    rule = {"files": "sys/.*", "operations": WRITE, "code": errno.EROFS, "closes": True}
    return _ruled(around.machine, "/sys is read-only", draw.choice((0.3, 3.0)), **rule)


def vanish(draw: random.Random, around: SoakSurroundings) -> Fault:
    """A device goes away and comes back."""
    kernel = around.machine.kernel
    folders = {
        "the last cluster's clock": _cpu_clocks(kernel)[-1].folder,
        "the power monitor": r"sys/.*/(hwmon\d+|intel-rapl:.*)",
        "a zone": draw.choice([z.folder for z in around.machine.zones.values()]),
        "a cooling device": r"sys/.*/cooling_device0",
    }
    if "gpu" in kernel.devices:
        folders["the GPU's clock"] = kernel.devices["gpu"].folder
        folders["the memory clock"] = r"sys/kernel/debug/.*emc"
    name = draw.choice(sorted(folders))
    seconds = draw.choice((0.1, 1.0, 4.0))
    files = rf"{folders[name]}(/.*)?"
    return _ruled(around.machine, f"{name} is away", seconds, files=files, hides=True)


def status(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The power mode's status file is empty, torn or away for a moment."""
    name, rule = draw.choice(
        [("empty", {"text": ""}), ("torn", {"text": "pmo"}), ("away", {"hides": True})]
    )
    seconds = draw.choice((0.1, 1.0, 4.0))
    return _ruled(around.machine, f"nvpmodel's status is {name}", seconds, files=STATUS, **rule)


def heat(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The board becomes hot: the guard has to act, or the kernel does."""
    machine, heat_c = around.machine, draw.choice(HEAT_C)

    def warm_to(value_c: float) -> None:
        machine.heat_c = value_c

    return Fault(
        what=f"{heat_c:g} C hotter",
        seconds=draw.uniform(2.0, 5.0),
        begin=partial(warm_to, heat_c),
        end=partial(warm_to, 0.0),
        group="limits",
    )


def cap(draw: random.Random, around: SoakSurroundings) -> Fault:
    """A cooling device is held at a state for a while."""
    kernel, cooled = around.machine.kernel, around.machine.cooled
    name = draw.choice(sorted(n for n in kernel.devices if n.startswith("cooling_device")))
    state = draw.randint(1, kernel.devices[name].last_state)
    return Fault(
        what=f"{name} at state {state}",
        seconds=draw.choice((0.5, 4.0)),
        begin=partial(cooled.update, {name: state}),
        end=cooled.clear,
        group="limits",
    )


def power_mode(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The owner chooses another power mode; it stays. The status file follows late, or is empty."""
    machine = around.machine
    mode = draw.choice(sorted(machine.kernel.devices["nvpmodel"].modes))
    rule = draw.choice(
        [None, FaultRule(files=STATUS, text=""), FaultRule(files=STATUS, hides=True)]
    )

    def switch() -> None:
        if rule is not None:
            machine.gate.add(rule)
        machine.change(lambda kernel: kernel.devices["nvpmodel"].switch_power_mode(mode))

    def show() -> None:
        if rule is not None:
            machine.gate.remove(rule)

    seconds = draw.choice((0.3, 2.0))
    return Fault(
        what=f"nvpmodel -m {mode}", seconds=seconds, begin=switch, end=show, group="limits"
    )


def offline(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The last cluster goes offline and comes back."""
    machine = around.machine
    cpus = _cpu_clocks(machine.kernel)[-1].cpus
    was: set[int] = set()

    def take_off(kernel: FakeKernel) -> None:
        was.update(set(cpus) & kernel.devices["cpus"].online)
        kernel.devices["cpus"].online.difference_update(cpus)

    def bring_back(kernel: FakeKernel) -> None:
        kernel.devices["cpus"].online.update(was)

    return Fault(
        what=f"processors {cpus} go offline",
        seconds=draw.choice((0.5, 2.0, 4.0)),
        begin=partial(machine.change, take_off),
        end=partial(machine.change, bring_back),
        group="limits",
    )


def rival(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Another program sets limits or a governor; that stays."""
    machine, number = around.machine, draw.randrange(len(_clocks(around.machine.kernel)))
    how, share = draw.choice(("maximum", "both", "governor")), draw.random()
    what = f"another program sets the {how} of clock {number} to {share:.2f}"
    begin = partial(_set_all, machine, [number], how, share)
    return Fault(what=what, seconds=2.0, begin=begin, group="limits")


def disk_full(draw: random.Random, around: SoakSurroundings) -> Fault:
    """No room for the journal, while another program changes all that was saved."""
    machine, share = around.machine, draw.random()
    numbers = range(len(_clocks(machine.kernel)))

    def begin() -> None:
        if around.can_fill:
            fill(machine.journal)
        _set_all(machine, numbers, "maximum", share)

    return Fault(
        what=f"the disk is full; another program sets all clocks to {share:.2f}",
        seconds=draw.choice((1.0, 3.0)),
        begin=begin,
        end=partial((machine.journal / "ballast").unlink, missing_ok=True),
        group="limits",
    )


def _clocks(kernel: FakeKernel) -> list[CpufreqPolicy | DevfreqDevice]:
    """Each once, processors first."""
    devices = {id(d): d for d in kernel.devices.values()}.values()
    return sorted(
        (d for d in devices if isinstance(d, CpufreqPolicy | DevfreqDevice)),
        key=lambda clock: isinstance(clock, DevfreqDevice),
    )


def _points(clock: CpufreqPolicy | DevfreqDevice) -> list[int]:
    """Ascending, in the unit of the clock's files."""
    if isinstance(clock, DevfreqDevice):
        return list(clock.table_hz)
    low, high = clock.cpuinfo_min_khz, clock.cpuinfo_max_khz
    return list(clock.table_khz or range(low, high + 1, (high - low) // 10))


def _cpu_clocks(kernel: FakeKernel) -> list[CpufreqPolicy]:
    return [clock for clock in _clocks(kernel) if isinstance(clock, CpufreqPolicy)]


def _shown_max(kernel: FakeKernel, number: int) -> int:
    clock = _clocks(kernel)[number]
    return clock.limits_khz()[1] if isinstance(clock, CpufreqPolicy) else clock.limits_hz()[1]


def _set_all(machine: Machine, numbers: Sequence[int], how: str, share: float) -> None:
    """Set clocks of the board and of its twin, past every rule."""
    shown: dict[int, int] = {}  # by the board that is driven

    def change(kernel: FakeKernel) -> None:
        for number in numbers:
            shown.setdefault(number, _shown_max(kernel, number))
            _set(kernel, number, how, share, shown[number])

    machine.change(change)


def _set(kernel: FakeKernel, number: int, how: str, share: float, shown: int) -> None:
    """Set a clock; never to what is shown, which no program would notice."""
    clock = _clocks(kernel)[number]
    is_cpu = isinstance(clock, CpufreqPolicy)
    if is_cpu and not clock.online:
        return
    files = f"{clock.folder}/scaling_" if is_cpu else f"{clock.folder}/"
    if how == "governor":
        choices = [g for g in clock.governors if g not in ("userspace", clock.governor)]
        kernel.attribute(f"{files}governor").write(choices[int(share * len(choices))])
        return
    table = [p for p in _points(clock) if p != shown]
    wanted = str(table[int(share * len(table))])
    low = wanted if how == "both" else str(table[0])
    kernel.attribute(f"{files}min_freq").write(low)
    kernel.attribute(f"{files}max_freq").write(wanted)


KINDS: dict[str, Draw] = {
    "read-error": read_error,
    "garbage": garbage,
    "implausible-power": implausible_power,
    "implausible-temperature": implausible_temperature,
    "stuck": stuck,
    "slow-read": slow_read,
    "write-error": write_error,
    "read-only": read_only,
    "vanish": vanish,
    "status": status,
    "heat": heat,
    "cap": cap,
    "power-mode": power_mode,
    "offline": offline,
    "rival": rival,
    "disk-full": disk_full,
}
