"""What is given back when the owner has chosen another power mode meanwhile."""

from __future__ import annotations

import pytest

from hw.base import Cause, Hold
from hw.boards.linux import LinuxBoard
from hw.session.journal import Journal
from hw.session.restoring import SavedSetting, restore_all
from hw.settings.power_mode import PowerModes
from hw.settings.settings import LimitPair
from tests.hw.changed import leave_changed, restored
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import GENERATIONS
from tests.hw.fake.nvpmodel import PowerMode

CPU = "sys/devices/system/cpu"
CPU0_MAX = f"{CPU}/cpufreq/policy0/scaling_max_freq"
JETSONS = ("jetson-nano", "jetson-tx2", "jetson-xavier-nx", "jetson-orin-nx")


def other_mode(kernel) -> int:
    """A power mode with other limits, and on most boards with fewer processors."""
    nvpmodel = kernel.devices["nvpmodel"]
    return next(m for m in reversed(nvpmodel.modes) if m != nvpmodel.mode)


def policies_of(kernel):
    return [device for name, device in kernel.devices.items() if name.startswith("policy")]


def online_part(kernel, offline) -> dict[str, str]:
    """A snapshot without the policies that are offline."""
    return {
        path: text
        for path, text in kernel.snapshot().items()
        if path.rpartition("/")[0] not in offline
    }


@pytest.mark.parametrize("hold", [Hold.PIN, Hold.USERSPACE, Hold.CAP])
@pytest.mark.parametrize("name", JETSONS)
def test_new_power_mode_keeps_its_settings_and_everything_else_is_given_back(
    tmp_path, generation, name, hold
):
    kernel, untouched = BOARDS[name](generation), BOARDS[name](generation)
    mode = other_mode(kernel)
    untouched.devices["nvpmodel"].switch_power_mode(mode)
    sysfs = FakeSysfs(kernel, tmp_path)
    with LinuxBoard(sysfs, hold=hold, clock=kernel.clock, sleep=kernel.sleep) as board:
        board.apply({n: d.available_hz[-1] for n, d in board.domains.items()})
        board.apply({n: d.available_hz[0] for n, d in board.domains.items()})
        kernel.devices["nvpmodel"].switch_power_mode(mode)
    offline = {p.folder for p in policies_of(kernel) if not p.online}
    assert online_part(kernel, offline) == online_part(untouched, offline)
    journal = Journal.of_machine(sysfs)
    assert journal.path.exists() == bool(offline)
    # What was offline is owed, within the new mode's limits, and given back when it returns.
    for machine in (kernel, untouched):
        for policy in policies_of(machine):
            for cpu in set(policy.cpus) - set(policy.online):
                machine.attribute(f"{CPU}/cpu{cpu}/online").write("1")
    restored(kernel, tmp_path)
    assert not journal.path.exists()
    for mine, reference in zip(policies_of(kernel), policies_of(untouched), strict=True):
        assert mine.governor == reference.governor
        low, high = mine.limits_khz()
        assert low == reference.limits_khz()[0]
        allowed = kernel.devices["nvpmodel"].modes[mode].cpu_max_khz
        assert high <= (allowed if allowed > 0 else mine.cpuinfo_max_khz)
        assert high > low


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("hold", [Hold.PIN, Hold.CAP])
def test_everything_is_given_back_while_the_status_of_nvpmodel_is_gone(
    machine, open_linux, caplog, hold, is_empty
):
    sysfs = machine("jetson-orin-nx")
    before = sysfs.kernel.snapshot()
    board = open_linux(sysfs, hold)
    board.apply({name: d.available_hz[0] for name, d in board.domains.items()})
    sysfs.kernel.devices["nvpmodel"].lose_status(is_empty=is_empty)
    board.close()
    assert sysfs.kernel.snapshot() == before
    assert "does not say which power mode is in force" in caplog.text


def test_status_that_is_gone_for_an_instant_is_no_other_power_mode(machine, open_linux):
    """What changes meanwhile is another program's."""
    sysfs = machine("jetson-orin-nx")
    board = open_linux(sysfs, Hold.CAP)
    board.apply({"cpu0": 500_000_000})
    sysfs.kernel.devices["nvpmodel"].lose_status(is_empty=True)
    sysfs.kernel.attribute(CPU0_MAX).write("960000")
    board.apply({"cpu0": 500_000_000})
    assert board.applied["cpu0"].cause is Cause.PROGRAM


ONE_END = """
< PARAM TYPE=FILE NAME=CPU >
FREQ_TABLE /{folder}/scaling_available_frequencies
{end} /{folder}/scaling_{file}_freq
< POWER_MODEL ID=0 NAME=FIRST >
CPU {end} -1
< POWER_MODEL ID=1 NAME=SECOND >
CPU {end} {limit}
< PM_CONFIG DEFAULT=0 >
"""


@pytest.mark.parametrize(
    ("end", "file", "limit", "expected"),
    [
        ("MAX_FREQ", "max", 1_400_000, (600_000, 1_400_000)),
        ("MAX_FREQ", "max", 1_450_000, (600_000, 1_400_000)),  # between two operating points
        ("MAX_FREQ", "max", -1, (600_000, 1_800_000)),
        ("MIN_FREQ", "min", 1_000_000, (1_000_000, 1_500_000)),
        ("MIN_FREQ", "min", 0, (600_000, 1_500_000)),
        ("MIN_FREQ", "min", 1_700_000, (1_700_000, 1_700_000)),
    ],
)
def test_one_end_is_the_new_modes_and_the_other_is_given_back(tmp_path, end, file, limit, expected):
    kernel = BOARDS["raspberry-pi-4"]("old")
    folder = f"{CPU}/cpufreq/policy0"
    kernel.add(
        {
            "etc/nvpmodel.conf": ONE_END.format(folder=folder, end=end, file=file, limit=limit),
            "var/lib/nvpmodel/status": "pmode:0001",
        }
    )
    sysfs = FakeSysfs(kernel, tmp_path)
    minimum, maximum = (sysfs.path(f"{folder}/scaling_{end}_freq") for end in ("min", "max"))
    pair = LimitPair(sysfs, minimum, maximum)
    pair.write(pair.read()._replace(raw_max=1_000_000))  # by this process, after the new mode
    outcome = restore_all([SavedSetting(pair, [600_000, 1_500_000], "0")], PowerModes(sysfs))
    assert outcome.reasons == []
    assert pair.read() == expected


@pytest.mark.parametrize("hold", [Hold.CAP, Hold.PIN])
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("name", ["jetson-tx2", "jetson-orin-nx", "jetson-nano"])
def test_what_is_set_under_a_new_mode_is_not_taken_for_the_modes(tmp_path, generation, name, hold):
    kernel, untouched = BOARDS[name](generation), BOARDS[name](generation)
    mode = other_mode(kernel)
    untouched.devices["nvpmodel"].switch_power_mode(mode)
    sysfs = FakeSysfs(kernel, tmp_path)
    with LinuxBoard(sysfs, hold=hold, clock=kernel.clock, sleep=kernel.sleep) as board:
        lowest = {n: d.available_hz[0] for n, d in board.domains.items()}
        board.apply(lowest)
        kernel.devices["nvpmodel"].switch_power_mode(mode)
        for share in (0.5, 0.0, 0.3):
            kernel.sleep(0.25)
            board.apply(
                {
                    n: d.available_hz[int(share * (len(d.available_hz) - 1))]
                    for n, d in board.domains.items()
                }
            )
            board.verify()
    offline = {p.folder for p in policies_of(kernel) if not p.online}
    assert online_part(kernel, offline) == online_part(untouched, offline)


def test_limits_of_a_mode_that_nobody_knows_stay_after_a_kill(tmp_path, caplog, generation):
    kernel = BOARDS["jetson-orin-nx"](generation)
    before = kernel.snapshot()
    leave_changed(kernel, tmp_path, Hold.CAP)
    nvpmodel = kernel.devices["nvpmodel"]
    first = nvpmodel.mode
    nvpmodel.modes = {**nvpmodel.modes, 9: PowerMode("MINE", None, 1_190_400, 612_000_000)}
    nvpmodel.switch_power_mode(9)
    chosen = kernel.requests()
    restored(kernel, tmp_path)
    assert kernel.requests() == chosen
    assert "policy0/scaling_max_freq stays as it is: another power mode was chosen" in caplog.text
    # A start in between takes for the owner's what it finds, and not what is in doubt.
    sysfs = FakeSysfs(kernel, tmp_path)
    with LinuxBoard(sysfs, hold=Hold.CAP, clock=kernel.clock, sleep=kernel.sleep) as board:
        board.apply({"gpu": board.domains["gpu"].available_hz[0]})
    assert kernel.requests() == chosen
    nvpmodel.mode = first
    nvpmodel._show_mode()
    kernel.attribute(f"{nvpmodel.gpu.folder}/max_freq").write(
        before[f"{nvpmodel.gpu.folder}/max_freq"]
    )
    restored(kernel, tmp_path)
    assert kernel.snapshot() == before
    assert not Journal.of_machine(sysfs).path.exists()
