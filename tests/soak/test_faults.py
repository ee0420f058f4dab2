"""A share of `make soak`: two minutes of all faults, thirty signals, and that both can fail."""

from __future__ import annotations

import errno
import random
import time
from collections import Counter

import numpy as np
import pytest

from benchmarks.soak.cloud import RoughLink
from benchmarks.soak.faults import SoakSurroundings
from benchmarks.soak.gate import WRITE, FaultGate, FaultRule
from benchmarks.soak.kinds import ALL, KINDS
from benchmarks.soak.ledger import PATIENT_S, Ledger, examples
from benchmarks.soak.machine import Machine
from benchmarks.soak.remote import SocketSysfs
from benchmarks.soak.signals import KINDS as SIGNALS
from benchmarks.soak.signals import draw_trials, send_signals
from benchmarks.soak.soak import SoakPlan, soak
from partition.errors import CloudUnavailableError, DeadlineExceededError, ServerBusyError
from partition.model.folder import ModelFolder
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS

BOARD = "jetson-orin-nano-super"
SECONDS, N_SIGNALS, N_COLD = 120.0, 30, 3
MAXIMUM = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"


@pytest.mark.timeout(600)
def test_a_daemon_lives_through_two_minutes_of_all_faults(tiny, tmp_path):
    plan = SoakPlan(kinds=ALL, seconds=SECONDS, board=BOARD)
    report = soak(tiny.path, plan, tmp_path, tmp_path / "faults.jsonl")
    print(report.table)
    assert report.findings == [], report.diagnosis
    assert report.answered > 200
    assert report.n_writes > 100
    assert len(report.cuts) > 1
    assert len(report.drawn) > 0.8 * len(ALL)


@pytest.mark.timeout(600)
def test_signals_at_any_moment_leave_the_board_as_it_was(tiny, tmp_path):
    log = tmp_path / "signals.jsonl"
    report = send_signals(tiny.path, tmp_path, log, N_SIGNALS, N_COLD, seed=1, board=BOARD)
    print(report.table)
    assert report.findings == []
    assert sum(sum(ends.values()) for ends in report.ends.values()) == N_SIGNALS
    assert set(report.ends) == set(SIGNALS)
    assert report.n_changed > N_SIGNALS // 6


# What the two rest on


@pytest.fixture
def gate():
    return FaultGate(BOARDS[BOARD]("new"))


@pytest.fixture
def machine(tmp_path):
    with Machine(BOARD, tmp_path) as served:
        yield served


def test_a_rule_spoils_what_it_names_as_long_as_it_is_in_force(gate):
    usual = gate.access("read", MAXIMUM)
    rules = [
        FaultRule(files=".*scaling_max_freq", code=errno.EIO),
        FaultRule(files=".*scaling_max_freq", text="xyzzy\n"),
        FaultRule(files=".*scaling_max_freq", change=lambda text: text * 2),
    ]
    found = []
    for rule in rules:
        gate.add(rule)
        try:
            found.append(gate.access("read", MAXIMUM))
        except OSError as error:
            found.append(error.errno)
        gate.remove(rule)
    assert found == [errno.EIO, "xyzzy\n", usual * 2]
    assert gate.access("read", MAXIMUM) == usual


def test_what_is_hidden_is_nowhere_and_what_is_closed_cannot_be_written(gate):
    folder = MAXIMUM.rpartition("/")[0]
    gate.add(FaultRule(files=rf"{folder}(/.*)?", hides=True))
    assert not gate.access("exists", MAXIMUM)
    assert folder not in gate.access("glob", "sys/devices/system/cpu/cpufreq/policy*")
    with pytest.raises(OSError, match="No such file"):
        gate.access("read", MAXIMUM)
    other = MAXIMUM.replace("policy0", "policy4")
    gate.add(FaultRule(files="sys/.*", operations=WRITE, code=errno.EROFS, closes=True))
    assert not gate.access("is_writable", other)
    with pytest.raises(OSError, match="Read-only"):
        gate.access("write", other, "115200")
    assert int(gate.access("read", other)) > 0


def test_what_a_daemon_leaves_is_told_apart_from_what_others_set(machine):
    sysfs = SocketSysfs(machine.address, machine.root)
    maximum = sysfs.path(MAXIMUM)
    machine.change(lambda kernel: kernel.devices["nvpmodel"].switch_power_mode(1))
    assert machine.differences() == []
    usual = sysfs.read_text(maximum)
    sysfs.write_text(maximum, "115200")
    assert any("scaling_max_freq: 115200 instead of" in words for words in machine.differences())
    sysfs.write_text(maximum, usual)
    assert machine.differences() == []
    machine.journal.mkdir(parents=True)
    (machine.journal / "journal.jsonl").touch()
    assert machine.differences() == ["journal.jsonl is left behind"]


def test_a_read_that_blocks_holds_up_nobody_else(machine):
    sysfs = SocketSysfs(machine.address, machine.root)
    machine.gate.add(FaultRule(files=".*scaling_max_freq", delay_s=0.5))
    began_s = time.monotonic()
    sysfs.read_text(sysfs.path(MAXIMUM.replace("max", "min")))
    quick_s = time.monotonic() - began_s
    sysfs.read_text(sysfs.path(MAXIMUM))
    assert quick_s < 0.5 <= time.monotonic() - began_s


def test_power_wanders_and_follows_the_clocks(machine):
    rail = machine.rails["VDD_IN"]
    fast = [time.sleep(0.06) or rail.watts for _ in range(10)]
    assert len(set(fast)) > 5
    for policy in ("policy0", "policy4"):
        machine.kernel.write(MAXIMUM.replace("policy0", policy), "115200")
    time.sleep(1.0)
    assert rail.watts < min(fast)


@pytest.mark.parametrize(
    ("caller", "error", "deadline_s", "is_allowed"),
    [
        ("crowd", ServerBusyError("full"), 1.0, True),
        ("crowd", CloudUnavailableError("nobody"), 1.0, False),
        ("hasty", DeadlineExceededError("late"), 0.3, True),
        ("patient", DeadlineExceededError("late"), PATIENT_S, False),
        ("patient", RuntimeError("torn"), PATIENT_S, False),
    ],
)
def test_the_ledger_allows_refusals_and_own_haste_only(caller, error, deadline_s, is_allowed):
    ledger = Ledger()
    ledger.failed(caller, error, time.monotonic(), deadline_s)
    assert (ledger.violations == []) is is_allowed


def test_a_wrong_answer_is_a_violation(tiny):
    known = examples(ModelFolder.open(tiny.path))
    ledger = Ledger()
    for answer in known[0].answers:
        ledger.answered("patient", known[0].is_right(answer))
    assert ledger.violations == []
    ledger.answered("patient", known[0].is_right(known[1].answers[0]))
    ledger.answered("patient", known[0].is_right(np.zeros((1, 3), np.float32)))
    assert ledger.violations == ["2 x patient: a wrong answer"]


def test_the_same_seed_draws_the_same_faults(machine):
    around = SoakSurroundings(
        machine, _Anything(), _Anything(), _Anything(), _Anything(), can_fill=False
    )

    def draw(seed: int) -> list[str]:
        numbers = random.Random(seed)
        return [KINDS[name](numbers, around).what for name in KINDS for _ in range(3)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_signals_come_in_equal_numbers_and_some_to_cold_starts():
    trials = draw_trials(1000, 50, seed=0)
    numbers = Counter(trial.kind for trial in trials)
    assert max(numbers.values()) - min(numbers.values()) <= 1
    assert sum(trial.is_cold for trial in trials) == 50


def test_a_rough_link_scrambles_only_while_told_to():
    link = RoughLink(("127.0.0.1", 1))
    assert link.scrambled(b"x" * 1000) == b"x" * 1000
    link.scrambles = True
    assert link.scrambled(b"x" * 1000) != b"x" * 1000
    link.__exit__()


def test_a_socketed_kernel_is_as_the_kernel_itself(machine):
    near, far = FakeSysfs(machine.kernel, machine.root), SocketSysfs(machine.address, machine.root)
    for pattern in ("sys/class/hwmon/hwmon*", "sys/devices/system/cpu/cpufreq/policy*"):
        assert far.glob(pattern) == near.glob(pattern)
    assert far.run(["nvpmodel", "-q"]) == near.run(["nvpmodel", "-q"])
    missing = far.path("sys/nothing")
    assert not far.exists(missing)


class _Anything:
    """Stands for what a drawn fault would act upon."""

    def __getattr__(self, name: str):
        return lambda *_: None
