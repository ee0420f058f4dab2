"""The command: how it ends, what it says, and that it always gives the machine back."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from common import command as commands
from common.first_signal import FirstSignal
from hw.selftest import __main__ as command
from hw.selftest.findings import save
from hw.selftest.load import busy_processors
from hw.session.journal import Journal
from hw.session.session import restore_journal
from hw.sysfs import READ_ONLY, Sysfs
from tests.hw.fake.access import FakeSysfs, Kill, run_child
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.replay import replay

REPOSITORY = Path(__file__).parents[3]

MAIN = commands.SIGNALS[:4]


def in_child(file: Path):
    """A self-test with the command's own signal handling, over a kernel in the parent."""

    def body(sysfs) -> None:
        notes = command.Notes(len)

        class Time(command.RecordedTime):
            def clock(self) -> float:
                return sysfs.clock()

            def sleep(self, seconds: float) -> None:
                sysfs.sleep(seconds)

        command.RecordedTime = Time
        command._tell = len
        command.print = lambda *words: None
        with FirstSignal(commands.SIGNALS) as stop, notes.taken():
            raise SystemExit(command._run(sysfs, file, stop, notes))

    return body


def n_accesses_of(board: str, tmp_path) -> int:
    return len(run_child(BOARDS[board]("new"), tmp_path, in_child(tmp_path / "first")).accesses)


@pytest.mark.parametrize("number", commands.SIGNALS)
def test_signal_at_any_moment_gives_the_machine_back_and_leaves_the_file(number, tmp_path):
    choose = random.Random(int(number))
    kernel = BOARDS["raspberry-pi-5"]("new")
    before, requests = kernel.snapshot(), kernel.requests()
    n_accesses = n_accesses_of("raspberry-pi-5", tmp_path)
    for trial in range(8 if number in MAIN else 2):
        file = tmp_path / f"{trial}.json"
        kill = Kill(at_access=choose.randrange(n_accesses), signal_number=number)
        outcome = run_child(kernel, tmp_path, in_child(file), kill)
        assert (outcome.error, outcome.exit_code) == ("", 128 + number), kill
        assert kernel.snapshot() == before, kill
        assert kernel.requests() == requests, kill
        document = json.loads(file.read_text())
        names = [check["name"] for check in document["checks"]]
        assert names[-1] == "given back", kill
        assert document["checks"][-1]["verdict"] == "pass"
        assert document["ended_by"] == "the user" or "power by cpu" in names, kill


def test_second_signal_does_not_disturb_giving_back(tmp_path):
    kernel = BOARDS["raspberry-pi-5"]("new")
    before = kernel.snapshot()
    n_accesses = n_accesses_of("raspberry-pi-5", tmp_path)

    def body(sysfs) -> None:
        write = type(sysfs)._write

        def twice(self, path, value):
            os.kill(os.getpid(), signal.SIGTERM)
            write(self, path, value)
            os.kill(os.getpid(), signal.SIGINT)

        type(sysfs)._write = twice
        in_child(tmp_path / "twice.json")(sysfs)

    outcome = run_child(kernel, tmp_path, body)
    assert outcome.exit_code == 128 + signal.SIGTERM
    assert outcome.error == ""
    assert len(outcome.accesses) < n_accesses
    assert kernel.snapshot() == before


def test_killed_outright_it_leaves_what_it_had_and_a_journal(tmp_path):
    kernel = BOARDS["raspberry-pi-5"]("new")
    before = kernel.snapshot()
    file = tmp_path / "killed.json"
    outcome = run_child(kernel, tmp_path, in_child(tmp_path / "first.json"))
    last_write = max(i for i, (what, _) in enumerate(outcome.accesses) if what == "write")
    kill = Kill(at_access=last_write - 1, after_effect=True)
    assert run_child(kernel, tmp_path, in_child(file), kill).was_killed
    document = json.loads(file.read_text())
    assert "clock cpu by pin" in [check["name"] for check in document["checks"]]
    assert document["ended_by"] is None
    journal = Journal.of_machine(FakeSysfs(kernel, tmp_path))
    journal.lock()
    restore_journal(FakeSysfs(kernel, tmp_path), journal)
    journal.unlock()
    assert kernel.snapshot() == before


def test_command_over_a_recorded_tree_writes_a_file_that_replays(recorded, tmp_path, capsys):
    tree = shutil.copytree(recorded("raspberry-pi-4"), tmp_path / "tree", symlinks=True)
    file = tmp_path / "out.json"
    script = [sys.executable, "-m", "hw.selftest", "--root", str(tree), "--out", str(file)]
    result = subprocess.run(script, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 1  # a recorded clock does not follow
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[1] == "Raspberry Pi 4 Model B Rev 1.4 (Linux 6.6.51-v8+)"
    assert any(line.startswith("pass      clock cpu by cap: lowest 600 MHz") for line in lines)
    assert any(line.startswith("pass      given back: ") for line in lines)
    assert "1 fail (clock cpu by pin)" in lines[-1]
    assert str(file) in lines[-1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    kernel, _ = replay(json.loads(file.read_text()))
    assert kernel.devices["policy0"].table_khz[0] == 600_000


def test_warnings_are_kept_once_and_go_nowhere_else_meanwhile(capsys):
    told = []
    notes = command.Notes(told.append)
    logger = logging.getLogger("hw.any")
    with notes.taken():
        for _ in range(3):
            logger.warning("asked for %d MHz", 5)
    logger.warning("afterwards")
    assert notes.texts == ["asked for 5 MHz"]
    assert told == ["note      asked for 5 MHz"]
    assert logging.getLogger("hw").propagate
    assert capsys.readouterr().err == ""


def test_file_is_named_by_board_and_date(recorded, tmp_path, monkeypatch, capsys):
    tree = shutil.copytree(recorded("raspberry-pi-4"), tmp_path / "tree", symlinks=True)
    monkeypatch.chdir(tmp_path)
    assert command.main(["--root", str(tree)]) == 1
    (file,) = tmp_path.glob("dvfo-*")
    assert file.name.startswith("dvfo-selftest-raspberry-pi-4-model-b-rev-1-4-20")
    assert file.suffix == ".json"


def sentence(capsys) -> str:
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_without_root_it_says_so_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command.main([]) == 2
    line = sentence(capsys)
    assert f"sudo {sys.executable} -m hw.selftest" in line or "read-only" in line


def test_read_only_sys_is_named_with_its_remedy(monkeypatch, recorded, capsys):
    monkeypatch.setattr(Sysfs, "read_only", lambda self, path: f"{path} {READ_ONLY}")
    assert command.main(["--root", str(recorded("raspberry-pi-4"))]) == 2
    line = sentence(capsys)
    assert "read-only" in line
    assert "--privileged" in line


def test_folder_without_sys_and_machine_without_clocks_are_one_sentence(tmp_path, capsys):
    assert command.main(["--root", str(tmp_path)]) == 2
    assert "holds no folder sys" in sentence(capsys)
    (tmp_path / "sys").mkdir()
    assert command.main(["--root", str(tmp_path)]) == 2
    assert "no clock under" in sentence(capsys)


def test_file_that_cannot_be_written_is_one_sentence(recorded, tmp_path, capsys):
    tree = shutil.copytree(recorded("raspberry-pi-4"), tmp_path / "tree", symlinks=True)
    before = (tree / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq").read_text()
    assert command.main(["--root", str(tree), "--out", str(tmp_path / "no" / "x.json")]) == 2
    assert "give another --out" in sentence(capsys)
    after = (tree / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq").read_text()
    assert after == before


def test_file_is_replaced_as_a_whole_and_a_link_is_not_followed(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("somebody's")
    link.symlink_to(target)
    save({"a": 1}, link, len_of)
    assert target.read_text() == "somebody's"
    assert json.loads(link.read_text()) == {"a": 1}
    with pytest.raises(TypeError):
        save({"a": object()}, link, len_of)
    assert json.loads(link.read_text()) == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def len_of(descriptor: int) -> None:
    assert descriptor > 0


def test_load_keeps_processors_busy_and_ends_with_its_context():
    def own_children() -> list[int]:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return [int(word) for word in text.split()]

    def seconds(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11])

    before = own_children()
    with busy_processors():
        workers = sorted(set(own_children()) - set(before))
        assert len(workers) == len(os.sched_getaffinity(0))
        used = [seconds(pid) for pid in workers]
        signal.sigtimedwait([], 1.0)
        assert sum(map(seconds, workers)) > sum(used)
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in workers} == {19}
    assert own_children() == before


def test_load_ends_with_a_parent_that_is_killed():
    script = (
        "import os, signal, subprocess\n"
        "from hw.selftest.load import busy_processors\n"
        "with busy_processors():\n"
        "    print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert result.returncode == -signal.SIGKILL
    workers = [int(word) for word in result.stdout.split()]
    assert workers
    for _ in range(200):
        if not any(is_running(pid) for pid in workers):
            return
        signal.sigtimedwait([], 0.05)
    pytest.fail(f"{workers} still run")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
