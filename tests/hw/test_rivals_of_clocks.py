"""What other programs and power modes set while clocks are driven, and what is given back then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hw.base import Cause, Hold
from hw.clocks.emc import BPMP_CLOCK, CAPS, OVERRIDE
from hw.session.journal import Journal
from hw.settings.power_mode import CONF
from tests.hw.fake.nvpmodel import PowerMode

POLICY = "sys/devices/system/cpu/cpufreq/policy{}"
GOVERNOR = f"{POLICY.format(0)}/scaling_governor"
CPU0_MAX = f"{POLICY.format(0)}/scaling_max_freq"
LATER_S = 1.0


def lowest(board):
    return {name: domain.available_hz[0] for name, domain in board.domains.items()}


def gpu_max(kernel):
    return f"{kernel.devices['nvpmodel'].gpu.folder}/max_freq"


def upper_limits(kernel):
    return kernel.read(CPU0_MAX), kernel.read(gpu_max(kernel))


def limits_khz(kernel, policy=0):
    folder = POLICY.format(policy)
    return tuple(int(kernel.read(f"{folder}/scaling_{end}_freq")) for end in ("min", "max"))


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "after the last step"])
@pytest.mark.parametrize(
    ("hold", "end", "khz", "expected"),
    [
        (Hold.CAP, "min", 700_000, (700_000, 1_800_000)),
        (Hold.CAP, "max", 900_000, (600_000, 900_000)),
        (Hold.PIN, "min", 600_000, (600_000, 1_800_000)),
        (Hold.PIN, "max", 900_000, (600_000, 900_000)),
    ],
)
def test_one_end_that_a_rival_sets_makes_ours_of_the_other_not_permanent(
    machine, open_linux, hold, end, khz, expected, is_seen
):
    kernel = (sysfs := machine("raspberry-pi-4")).kernel
    board = open_linux(sysfs, hold)
    board.apply({"cpu": 700_000_000})
    kernel.sleep(LATER_S)
    kernel.attribute(f"{POLICY.format(0)}/scaling_{end}_freq").write(str(khz))
    if is_seen:
        kernel.sleep(LATER_S)
        board.verify()
        board.apply({"cpu": 700_000_000})
    board.close()
    assert limits_khz(kernel) == expected


def test_jetson_clocks_while_clocks_are_capped_makes_no_cap_permanent(machine, open_linux):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    before = upper_limits(kernel)
    board = open_linux(sysfs, Hold.CAP)
    board.apply(lowest(board))
    kernel.sleep(LATER_S)
    kernel.devices["nvpmodel"].jetson_clocks()
    board.apply(lowest(board))
    board.close()
    assert upper_limits(kernel) == before


def one_mode_more(kernel, number, mode):
    """A mode of another configuration file (`nvpmodel -f`), that ours does not know."""
    nvpmodel = kernel.devices["nvpmodel"]
    nvpmodel.modes = {**nvpmodel.modes, number: mode}
    nvpmodel.switch_power_mode(number)


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "after the last step"])
def test_limits_of_a_mode_that_the_configuration_lacks_stay(machine, open_linux, is_seen):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    board = open_linux(sysfs, Hold.CAP)
    board.apply(lowest(board))
    kernel.sleep(LATER_S)
    one_mode_more(kernel, 9, PowerMode("MINE", None, 1_190_400, 612_000_000))
    chosen = upper_limits(kernel)
    if is_seen:
        kernel.sleep(LATER_S)
        board.apply(lowest(board))
    board.close()
    assert upper_limits(kernel) == chosen
    assert not Journal.of_machine(sysfs).path.exists()


@pytest.mark.parametrize("clock", ["cpu0", "gpu"])
def test_mode_chosen_between_reading_and_writing_is_not_exceeded(machine, open_linux, clock):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    file = CPU0_MAX if clock == "cpu0" else gpu_max(kernel)
    nvpmodel = kernel.devices["nvpmodel"]
    nvpmodel.modes = {n: replace(mode, n_cpus=None) for n, mode in nvpmodel.modes.items()}
    kernel.set("etc/nvpmodel.conf", nvpmodel.show_conf())
    board = open_linux(sysfs, Hold.CAP)
    highest = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
    board.apply(lowest(board))
    kernel.sleep(LATER_S)

    def choose(operation, path):
        if operation == "write" and kernel.real_path(path) == kernel.real_path(file):
            kernel.before_access = None
            nvpmodel.switch_power_mode(1)

    kernel.before_access = choose
    board.apply(highest)
    assert kernel.before_access is None
    chosen = nvpmodel.modes[1]
    allowed = chosen.cpu_max_khz if file == CPU0_MAX else chosen.gpu_max_hz
    for _ in range(30):
        kernel.sleep(LATER_S)
        board.apply(highest)
        assert int(kernel.read(file)) <= allowed
    board.close()
    assert int(kernel.read(file)) == allowed


def test_power_mode_keeps_its_name_when_it_is_looked_at_twice(machine, open_linux):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    board = open_linux(sysfs, Hold.CAP)
    board.apply(lowest(board))
    kernel.sleep(LATER_S)
    kernel.devices["nvpmodel"].switch_power_mode(1)
    kernel.sleep(LATER_S)
    board.verify()
    board.apply(lowest(board))
    causes = {board.applied[name].cause for name in ("cpu0", "gpu")}
    assert causes == {Cause.POWER_MODE}


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "after the last step"])
def test_governor_that_a_rival_chooses_is_given_back(machine, open_linux, is_seen):
    kernel = (sysfs := machine("raspberry-pi-4")).kernel
    board = open_linux(sysfs, Hold.USERSPACE)
    board.apply(lowest(board))
    kernel.sleep(LATER_S)
    kernel.attribute(GOVERNOR).write("performance")
    if is_seen:
        board.apply(lowest(board))
        assert board.applied["cpu"].cause is Cause.PROGRAM
        assert kernel.read(GOVERNOR).strip() == "performance"
        kernel.sleep(11)
        board.apply(lowest(board))
        assert kernel.read(GOVERNOR).strip() == "userspace"
    board.close()
    assert kernel.read(GOVERNOR).strip() == "performance"


def test_governor_that_processors_forgot_while_offline_is_chosen_again(machine, open_linux):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    governor = f"{POLICY.format(4)}/scaling_governor"
    before = kernel.read(governor)
    board = open_linux(sysfs, Hold.USERSPACE)
    board.apply(lowest(board))
    for cpu in range(4, 8):
        kernel.attribute(f"sys/devices/system/cpu/cpu{cpu}/online").write("0")
    board.apply(lowest(board))
    for cpu in range(4, 8):
        kernel.attribute(f"sys/devices/system/cpu/cpu{cpu}/online").write("1")
    kernel.attribute(governor).write("schedutil")
    board.apply(lowest(board))
    assert kernel.read(governor).strip() == "userspace"
    board.close()
    assert kernel.read(governor) == before


# The memory clock


def emc_cap(kernel):
    return next(file for file in CAPS if kernel.exists(file))


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "after the last step"])
def test_cap_of_the_memory_that_a_rival_sets_is_given_back(machine, open_linux, is_seen):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    board = open_linux(sysfs, Hold.CAP, domains=["emc"])
    board.apply(lowest(board))
    kernel.attribute(emc_cap(kernel)).write("2133000000")
    if is_seen:
        board.verify()
        assert board.applied["emc"].cause is Cause.PROGRAM
        assert board.apply(lowest(board)) == {"emc": 2_133_000_000}
        assert board.applied["emc"].cause is Cause.PROGRAM
        kernel.sleep(11)
        assert board.apply(lowest(board)) == lowest(board)
    board.close()
    assert kernel.read(emc_cap(kernel)).strip() == "2133000000"


@pytest.mark.parametrize("board_name", ["jetson-orin-nx", "jetson-nano"])
@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "after the last step"])
def test_memory_that_a_rival_locks_stays_locked(machine, open_linux, board_name, is_seen):
    kernel = (sysfs := machine(board_name)).kernel
    board = open_linux(sysfs, Hold.PIN, domains=["emc"])
    board.apply(lowest(board))
    kernel.sleep(LATER_S)
    kernel.devices["nvpmodel"].jetson_clocks()
    if is_seen:
        board.apply(lowest(board))
        assert board.applied["emc"].cause is Cause.PROGRAM
    board.close()
    kernel.sleep(LATER_S)
    has_override = kernel.exists(OVERRIDE)
    switch = f"{OVERRIDE}/clk_state" if has_override else f"{BPMP_CLOCK}/mrq_rate_locked"
    assert kernel.read(switch).strip() == "1"
    assert kernel.devices["emc"].rate_hz() == board.domains["emc"].available_hz[-1]


@pytest.mark.parametrize("said", ["0", "-1"])
@pytest.mark.parametrize("is_between", [False, True])
def test_cap_of_the_memory_is_the_new_modes(machine, open_linux, said, is_between):
    kernel = (sysfs := machine("jetson-orin-nx")).kernel
    kernel.set(CONF, kernel.read(CONF).replace("EMC MAX_FREQ 0", f"EMC MAX_FREQ {said}"))
    board = open_linux(sysfs, Hold.CAP, domains=["emc"])
    board.apply(lowest(board))
    kernel.devices["nvpmodel"].switch_power_mode(1)
    if is_between:  # our write came last
        kernel.attribute(emc_cap(kernel)).write("204000000")
        board.apply(lowest(board))
        assert board.applied["emc"].cause is Cause.POWER_MODE
    board.close()
    assert kernel.read(emc_cap(kernel)).strip() in ("0", "-1")
