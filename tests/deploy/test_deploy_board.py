"""`deploy.py` on a board of this machine, which is left as it was."""

from __future__ import annotations

import json
import signal
import threading

import pytest

import deploy
from common import command
from envs.live.plant import live_layout
from hw.base import Applied, Hold
from hw.boards.emulated import EmulatedBoard
from hw.boards.linux import LinuxBoard
from hw.emulated.clock import EmulatedClock
from hw.session.journal import STATE_DIR
from tests.deploy.conftest import watch_limits
from tests.runs import constant_policy, write_run


def test_a_decision_that_hangs_is_told_once_the_board_is_back(
    machine, machine_run, refusal, monkeypatch
):
    before, hung = machine.kernel.snapshot(), threading.Event()
    monkeypatch.setattr("agents.deployed.concurrent.STOP_S", 0.1)
    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", lambda *_: hung.wait(60))
    try:
        message = refusal(machine_run, "--board", "linux", "--duration", 0.3, root=machine.root)
    finally:
        hung.set()
    assert "a decision has not come to its end" in message
    assert machine.kernel.snapshot() == before


@pytest.mark.parametrize(("hold", "limits"), [("cap", (115_200, 115_200)), ("pin", None)])
def test_real_board_is_driven_and_left_as_it_was(
    machine, machine_run, main, monkeypatch, capsys, hold, limits
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    options = ["--board", "linux", "--hold", hold, "--duration", 0.5, "--json"]
    assert main(machine_run, *options, root=machine.root) == 0
    assert set(seen) == {limits or (115_200, 115_200)}
    assert machine.kernel.snapshot() == before
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["board"] == "linux"
    assert document["board_is_modelled"] is False
    watt = machine.kernel.devices["VDD_IN"].watts
    assert document["energy_j"] == pytest.approx(watt * document["duration_s"], rel=0.1)


@pytest.mark.parametrize("number", command.SIGNALS, ids=lambda number: number.name)
def test_real_board_is_left_as_it_was_after_a_signal(
    machine, machine_run, main, monkeypatch, number
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    add = deploy.ServiceTotals.add

    def interrupt(self, info, decision_s):
        add(self, info, decision_s)
        if len(seen) == 3:
            signal.raise_signal(number)

    monkeypatch.setattr(deploy.ServiceTotals, "add", interrupt)
    assert main(machine_run, "--board", "linux", root=machine.root) == 0
    assert len(seen) == 3
    assert machine.kernel.snapshot() == before


def test_real_board_is_left_as_it_was_after_a_failure(machine, machine_run, main, monkeypatch):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    decide = deploy.RunFolder.load(machine_run).policy.decide

    def fail_later(self, observation):
        if len(seen) == 2:
            raise KeyboardInterrupt
        return decide(observation)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", fail_later)
    assert main(machine_run, "--board", "linux", root=machine.root) == 130
    assert machine.kernel.snapshot() == before


def test_the_boards_own_governors_stand_in_for_a_policy_that_fails(
    machine, machine_run, main, monkeypatch, capsys, caplog
):
    monkeypatch.setattr("agents.deployed.driver.RETRY_S", 1.0)
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    decide = deploy.RunFolder.load(machine_run).policy.decide

    def fail_once(self, observation):
        if len(seen) == 4:
            raise ZeroDivisionError("nothing to divide by")
        return decide(observation)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", fail_once)
    options = ("--board", "linux", "--duration", 4, "--json")
    assert main(machine_run, *options, root=machine.root) == 0
    slowest, its_own = (115_200, 115_200), (115_200, 1_510_400)
    assert seen[:4] == [slowest] * 4
    assert its_own in seen[4:]
    assert seen[-1] == slowest
    assert machine.kernel.snapshot() == before
    *text, document = capsys.readouterr().out.splitlines()
    assert any(line.startswith("the policy failed once and was stood in for") for line in text)
    assert json.loads(document)["policy_failures"] == 1
    failed, again = (
        record.message for record in caplog.records if record.name == "agents.deployed.driver"
    )
    assert failed.startswith("ZeroDivisionError: nothing to divide by; the board's own governors")
    assert again.startswith("the policy decides again")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["", "dry"])
def test_real_board_is_left_as_it_was_where_its_policy_never_comes_back(
    machine, machine_run, main, monkeypatch, dry
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    decide = deploy.RunFolder.load(machine_run).policy.decide

    def fail_later(self, observation):
        if len(seen) >= 4:
            raise ZeroDivisionError("nothing to divide by")
        return decide(observation)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", fail_later)
    options = ("--board", "linux", "--duration", 2, *dry)
    assert main(machine_run, *options, root=machine.root) == 0
    assert seen[-1] == (115_200, 1_510_400)
    assert machine.kernel.snapshot() == before
    assert not (dry and machine.kernel.writes)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(12, "no memory")]
)
def test_real_board_is_left_as_it_was_for_want_of_memory(
    machine, machine_run, main, monkeypatch, capfd, error
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    decide = deploy.RunFolder.load(machine_run).policy.decide

    def fail_later(self, observation):
        if len(seen) == 2:
            raise error
        return decide(observation)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", fail_later)
    arguments = (machine_run, "--board", "linux")
    assert command.run(lambda: main(*arguments, root=machine.root)) == 2
    assert capfd.readouterr().err.startswith("error: this process ")
    assert machine.kernel.snapshot() == before


def test_dry_run_prints_each_write_and_makes_none(machine, machine_run, main, monkeypatch, capsys):
    seen = watch_limits(monkeypatch, machine)
    options = ["--board", "linux", "--dry-run", "--duration", 1.3, "--json"]
    assert main(machine_run, *options, root=machine.root) == 0
    assert set(seen) == {(115_200, 1_510_400)}
    assert machine.kernel.writes == []
    assert [path.name for path in (machine.root / STATE_DIR).iterdir()] == ["lock"]
    lines = capsys.readouterr().out.splitlines()
    maximum = machine.path("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq")
    assert f"would write 115200 to {maximum} (now 1510400)" in lines
    assert any("would set" in line for line in lines)
    assert json.loads(lines[-1])["dry_run"] is True


def test_emulated_board_is_driven_and_given_back(tiny, tmp_path, main, monkeypatch, capsys):
    """Clocks are compared: time and energy hang on what else this machine does."""
    opened: list[EmulatedBoard] = []
    asked: set[tuple[str, int]] = set()
    make, request = EmulatedBoard.__init__, EmulatedClock.request

    def remember(self: EmulatedBoard, **options: object) -> None:
        opened.append(self)
        make(self, **options)

    def watched(self: EmulatedClock, freq_hz: int, now_s: float) -> Applied:
        asked.add((self.name, freq_hz))
        return request(self, freq_hz, now_s)

    with EmulatedBoard() as board:
        layout = live_layout(board, tiny, 10.0)
    policy = constant_policy(layout, (1, 2, 4))
    path = write_run(tmp_path / "emulated-run", policy, "tx2", tiny.path)
    monkeypatch.setattr(EmulatedBoard, "__init__", remember)
    monkeypatch.setattr(EmulatedClock, "request", watched)
    assert main(path, "--board", "emulated", "--duration", 1.0, "--json") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (document["board"], document["board_is_modelled"]) == ("emulated", True)
    assert document["energy_j"] > 0.0
    top = {("cpu", 1_000_000_000), ("gpu", 690_000_000)}  # of the reference runs
    assert asked == top | {("cpu", 450_000_000), ("gpu", 340_000_000)}
    with opened[-1].present() as state:
        assert all(clock.is_governed for clock in state.clocks.values())


def test_a_policy_of_a_device_does_not_drive_the_emulated_board(edge_run, refusal):
    message = refusal(edge_run, "--board", "emulated")
    assert "the cpu goes up to 1000 MHz here, that of tx2 to 2035 MHz" in message


@pytest.mark.parametrize(("on_processor", "told"), [(True, 1), (False, 0)])
def test_a_gpu_that_computes_nothing_is_told(
    machine, machine_run, main, monkeypatch, caplog, on_processor, told
):
    monkeypatch.setattr("envs.live.make.SplitPipeline.is_on_processor", on_processor)
    options = ["--board", "linux", "--dry-run", "--duration", 0.3]
    assert main(machine_run, *options, root=machine.root) == 0
    assert caplog.text.count("runs on the processor only") == told


def test_board_of_another_kind_is_refused_untouched(machine, edge_run, refusal):
    message = refusal(edge_run, "--board", "linux", root=machine.root)
    assert "the cpu goes up to 1510 MHz here, that of tx2 to 2035 MHz" in message
    assert machine.kernel.writes == []


def test_a_board_is_held_as_the_policy_was_trained(
    machine, machine_run, main, monkeypatch, capsys, caplog
):
    seen = []
    open_linux = LinuxBoard.__init__

    def remember(self, *arguments, hold, **options):
        seen.append(hold)
        open_linux(self, *arguments, hold=hold, **options)

    monkeypatch.setattr(LinuxBoard, "__init__", remember)
    options = ["--board", "linux", "--duration", 0.3]
    assert main(machine_run, *options, root=machine.root) == 0
    assert not [line for line in caplog.messages if "--hold" in line]
    assert main(machine_run, *options, "--hold", "cap", root=machine.root) == 0
    assert seen == [Hold.PIN, Hold.CAP]
    (warning,) = [line for line in caplog.messages if "--hold" in line]
    assert "was trained to hold clocks by pin" in warning
