"""No node that cannot be read blinds the doctor or closes the board: it is left out and named."""

from __future__ import annotations

import errno
import logging
import re
from itertools import cycle

import pytest

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.doctor.__main__ import Style, report
from hw.doctor.survey import survey
from hw.errors import BoardNotFoundError, UnsupportedError
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import NEW

FAULTS = (errno.EIO, errno.EPERM, errno.EINVAL, errno.ENODEV, "", "garbage")
EVERY_FAULT_ON = ("jetson-orin-nano", "raspberry-pi-5")
"""The other boards meet the faults in turn, each node one, which keeps this quick."""


def break_node(kernel, path, fault):
    kernel.fails.pop(path, None)
    kernel.answers.pop(path, None)
    if isinstance(fault, int):
        kernel.fails[path] = fault
    elif fault is not None:
        kernel.answers[path] = fault


def nodes_of(name, tmp_path):
    """Every node that a survey or an opening reads, one of each kind, as it is named."""
    sysfs = FakeSysfs(BOARDS[name](NEW), tmp_path)
    read = {}

    def note(operation, path):
        if operation == "read":
            read.setdefault(re.sub(r"\d+", "#", path), path)

    sysfs.kernel.before_access = note
    survey(sysfs)
    with LinuxBoard(sysfs, clock=sysfs.kernel.clock, sleep=sysfs.kernel.sleep) as board:
        board.apply({n: d.available_hz[-1] for n, d in board.domains.items()})
    journal = ("proc/sys/kernel/random", f"proc/{1}/")
    return [path for path in read.values() if not path.startswith(journal)]


def check_board(name, tmp_path, path, fault):
    """The doctor reports; the board opens and drives what is left."""
    sysfs = FakeSysfs(BOARDS[name](NEW), tmp_path)
    break_node(sysfs.kernel, path, fault)
    lines = list(report(survey(sysfs), Style(coloured=False)))
    assert any("an agent could" in line for line in lines), path
    board = LinuxBoard(sysfs, clock=sysfs.kernel.clock, sleep=sysfs.kernel.sleep)
    if name in BOARDS_WITH_ONE_CLOCK and not opens(board):
        return lines
    with board:
        assert board.domains
        board.apply({n: d.available_hz[-1] for n, d in board.domains.items()})
    return lines


def opens(board):
    """Whether a board opens; where not even one clock is left, one sentence says so."""
    try:
        board.open()
    except BoardNotFoundError as error:
        return "\n" in str(error)
    return True


BOARDS_WITH_ONE_CLOCK = {"raspberry-pi-4", "raspberry-pi-5", "x86-intel", "x86-amd", "x86-acpi"}
FIRST = dict(zip(BOARDS, cycle(range(len(FAULTS))), strict=False))


@pytest.mark.parametrize("name", BOARDS)
def test_each_node_that_cannot_be_read_is_no_more_than_left_out(name, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    for number, path in enumerate(sorted(nodes_of(name, tmp_path)), FIRST[name]):
        faults = FAULTS if name in EVERY_FAULT_ON else (FAULTS[number % len(FAULTS)],)
        for fault in faults:
            check_board(name, tmp_path, path, fault)


@pytest.mark.parametrize(
    ("name", "path", "fault", "told"),
    [
        ("rk3588", "available_frequencies", "", "clock npu"),
        ("rk3588", "available_frequencies", errno.ENODEV, "clock npu"),
        ("jetson-orin-nano", "emc/possible_rates", errno.EPERM, "clock emc"),
        ("jetson-nano", "emc_max_rate", errno.EPERM, "clock emc"),
        ("jetson-orin-nano", "thermal_zone0/trip_point_1_temp", errno.EINVAL, "trip_point_1_temp"),
        ("x86-intel", "cpu3/thermal_throttle/core_throttle_count", errno.ENODEV, "cpu3"),
        ("jetson-orin-nano", "nvpmodel.conf", errno.EIO, "nvpmodel.conf"),
        ("jetson-orin-nano", "policy4/affected_cpus", errno.EIO, "clock cpu4"),
        ("jetson-orin-nano", "hwmon1/name", errno.EIO, "hwmon1/name"),
    ],
)
def test_what_is_left_out_is_named(tmp_path, caplog, name, path, fault, told):
    sysfs = FakeSysfs(BOARDS[name](NEW), tmp_path)
    (node,) = [
        node
        for node in nodes_with(sysfs.kernel, path)
        if path != "available_frequencies" or "npu" in node
    ]
    lines = check_board(name, tmp_path, node, fault)
    assert [line for line in lines if told in line and re.match("left out|not measured", line)]
    if told.startswith("clock"):
        assert f"{told} is left out: " in caplog.text


def nodes_with(kernel, end):
    """Nodes whose name ends so, by the name under which they are read."""
    classes = ("sys/class/*/*/*", "sys/devices/system/cpu/cpufreq/policy*/*")
    names = [path for pattern in classes for path in kernel.glob(pattern)]
    names += [p for p in kernel._attributes if not p.startswith("sys/devices/virtual")]
    found = [path for path in dict.fromkeys(names) if path.endswith(end)]
    shortest = min((path.startswith("sys/class") for path in found), default=False)
    return [path for path in found if path.startswith("sys/class")] or found[: 1 + shortest]


def test_clock_that_was_asked_for_by_name_and_cannot_be_read_is_one_sentence(machine, open_linux):
    sysfs = machine("rk3588")
    (table,) = [
        path
        for path in sysfs.kernel.glob("sys/class/devfreq/*/available_frequencies")
        if "npu" in path
    ]
    sysfs.kernel.answers[table] = ""
    with pytest.raises(UnsupportedError, match=r"no clock npu .*left out: npu: .*lists no freq"):
        open_linux(sysfs, domains=["npu"])
    board = open_linux(sysfs, Hold.CAP, domains=[r"cpu\d*", "gpu"])
    assert set(board.domains) == {"cpu0", "cpu4", "cpu6", "gpu"}


def test_machine_with_nothing_left_says_why(machine, open_linux):
    sysfs = machine("raspberry-pi-4")
    sysfs.kernel.fails["sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"] = errno.EIO
    with pytest.raises(
        BoardNotFoundError, match=r"no clock .* that can be read \(cpu0?: .*EIO|Inp"
    ):
        open_linux(sysfs)
