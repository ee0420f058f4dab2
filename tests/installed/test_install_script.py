"""The script for boards, over a root of its own and commands that only note how they are called."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

import deploy
from hw.doctor import systems
from tests.conftest import REPOSITORY, one_sentence

SCRIPT = REPOSITORY / "install.sh"
STUB = Path(__file__).with_name("stub.sh")
STUBBED = "id uname getconf getent groupadd groupdel usermod install stat udevadm systemctl python3"
COPIED = ("install.sh", "pyproject.toml", "constraints.txt", "docs/99-dvfo.rules")
RUN = "--run /opt/dvfo/run --listen 127.0.0.1:50060"
ALL = ("--group", "--service", RUN)


class Board:
    """A checkout and a root file system on the disk, and what install.sh does to them."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.root = folder / "dvfo", folder / "root"
        for name in (*COPIED, "docs/dvfo.service"):
            copy = self.checkout / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy)
        self.root.mkdir()
        commands = folder / "commands"
        commands.mkdir()
        for name in STUBBED.split():
            (commands / name).symlink_to(STUB)
        self.log = folder / "log"
        self.group = folder / "group"
        self.environ = {
            "PATH": f"{commands}:/usr/bin:/bin",
            "DESTDIR": str(self.root),
            "STUB": str(STUB),
            "STUB_LOG": str(self.log),
            "STUB_GROUP": str(self.group),
            "TMPDIR": str(folder),
        }

    def install(self, *options: str, **stubbed: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            [self.checkout / "install.sh", *options],
            env=self.environ | {f"STUB_{key.upper()}": value for key, value in stubbed.items()},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def done(self, *options: str, **stubbed: str) -> str:
        result = self.install(*options, **stubbed)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refusal(self, *options: str, **stubbed: str) -> str:
        """The sentence of a run that has to fail and to leave everything as it was."""
        before = self.state()
        result = self.install(*options, **stubbed)
        assert self.state() == before
        return one_sentence(result)

    @property
    def calls(self) -> list[str]:
        return [line.strip() for line in self.log.read_text().splitlines()]

    @property
    def pip(self) -> list[str]:
        return [call.partition("-m pip ")[2] for call in self.calls if "-m pip " in call]

    def state(self) -> dict[str, bytes]:
        """Everything that the script may change, with its contents."""
        files = [p for top in (self.checkout, self.root) for p in top.rglob("*")]
        state = {str(path): path.read_bytes() if path.is_file() else b"" for path in files}
        # Folders of the system that were empty say nothing.
        state = {n: x for n, x in state.items() if x or not n.startswith(str(self.root))}
        leftovers = self.log.parent.glob("tmp.*")
        return state | dict.fromkeys(map(str, (*leftovers, *self.log.parent.glob("group"))), b"")


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


def test_shellcheck_finds_nothing():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    result = subprocess.run(
        ["shellcheck", SCRIPT, STUB], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout == ""


def test_pythons_are_those_of_the_package():
    oldest, newest = systems.OLDEST_PYTHON, systems.NEWEST_PYTHON
    wanted = f'requires-python = ">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"'
    assert wanted in (REPOSITORY / "pyproject.toml").read_text()
    text = SCRIPT.read_text()
    assert f"\nOLDEST={oldest[0]}{oldest[1]:02} " in text
    assert f"\nNEWEST={newest[0]}{newest[1]:02}\n" in text


# Packages


def test_environment_gets_the_packages_of_a_board_at_the_versions_that_were_tested(board):
    out = board.done()
    assert "python: 3.10, " in out
    assert "ONNX Runtime has CPUExecutionProvider" in out
    (pip,) = board.pip
    assert re.fullmatch(r"install .*--constraint \S+ --editable \.\[edge,photos\]", pip)
    assert not any(board.root.iterdir())  # neither rights nor a service without being asked
    constraints = Path(f"{board.log}.constraints").read_text()
    assert constraints == (REPOSITORY / "constraints.txt").read_text()


def test_second_run_changes_nothing_until_the_versions_change(board):
    board.done()
    before = board.state()
    assert "packages: as they are" in board.done()
    assert (board.state(), board.pip) == (before, [])
    with (board.checkout / "constraints.txt").open("a") as file:
        file.write("# newer\n")
    board.done()
    assert board.pip
    board.done(python="3.12 64")
    assert board.pip


def test_wheel_of_the_constraints_is_left_out_where_glibc_is_older_than_it(board):
    assert "newest onnxruntime for this glibc" in board.done(glibc="2.27")
    constraints = Path(f"{board.log}.constraints").read_text()
    assert "onnxruntime==" not in constraints
    assert "numpy==" in constraints


def test_other_onnx_runtime_takes_the_place_of_the_one_for_processors(board):
    _, _, _, seven = systems.JETPACKS.values()
    board.done(*shlex.split(seven.runtime))
    brought, removed, added = board.pip
    assert "[edge,photos]" in brought
    assert removed.startswith("uninstall")
    assert removed.endswith("--yes onnxruntime")
    index = "--index-url https://pypi.jetson-ai-lab.io/sbsa/cu130"
    assert added.endswith(f"--no-deps {index} onnxruntime-gpu")


def test_later_run_keeps_the_python_and_the_onnx_runtime_that_were_chosen(board):
    other = board.log.parent / "python3.12"
    other.symlink_to(STUB)
    board.done("--python", str(other), "--runtime", "onnxruntime-gpu", "--index", "https://x.y/z")
    board.done("--group")
    assert board.pip == []
    with (board.checkout / "constraints.txt").open("a") as file:
        file.write("# newer\n")
    assert f"python: 3.10, {other}" in board.done()
    assert board.pip[-1].endswith("--index-url https://x.y/z onnxruntime-gpu")
    board.done("--runtime", "onnxruntime")
    assert len(board.pip) == 1


def test_wheel_in_a_file_is_found_from_where_the_user_is(board, monkeypatch):
    wheel = board.log.parent / "onnxruntime_gpu-1.23.0-cp310-cp310-linux_aarch64.whl"
    wheel.touch()
    monkeypatch.chdir(wheel.parent)
    board.done("--runtime", wheel.name)
    assert board.pip[-1].endswith(str(wheel))


def test_environment_of_somebody_else_is_not_replaced(board):
    (board.checkout / ".venv").mkdir()
    (board.checkout / ".venv" / "mine").write_text("x")
    assert "was not made by this script" in board.refusal()


# What is in the way


@pytest.mark.parametrize(
    ("sentence", "options", "stubbed"),
    [
        (
            "is Python 3.6, and 3.10 to 3.13 are needed; ./install.sh --stand",
            (),
            {"python": "3.6 64"},
        ),
        ("is Python 3.9, and", (), {"python": "3.9 64"}),
        ("is Python 3.14, and", (), {"python": "3.14 64"}),
        ("is a 32-bit program", (), {"python": "3.11 32"}),
        ("sudo apt-get install python3-venv", (), {"bare": "yes"}),
        ("glibc is older than 2.27", (), {"glibc": "2.23"}),
        ("has no glibc", (), {"musl": "yes"}),
        ("there is no option --yes", ("--yes",), {}),
        ("--runtime needs a value", ("--runtime",), {}),
        ("there is no Python /nowhere/python", ("--python", "/nowhere/python"), {}),
        ("name two Pythons", ("--python", "python3", "--standalone"), {}),
        ("--index says where --runtime comes from", ("--index", "https://x.y"), {}),
        ("--group needs root", ("--group",), {"uid": "1000"}),
        ("--service needs root", ("--service", RUN), {"uid": "1000"}),
        ("belongs to ann: run ./install.sh as", (), {"owner": "ann", "owner_id": "1000"}),
        ("belongs to ann, who could", ("--service", RUN), {"owner": "ann", "owner_id": "1000"}),
        ("name no run", ("--service", "--listen 127.0.0.1:50060"), {}),
        ("hold a line end", ("--service", "--run /x\nExecStartPre=/bin/sh"), {}),
        ("no standalone Python for riscv64", ("--standalone",), {"machine": "riscv64"}),
    ],
)
def test_obstacle_is_one_sentence_and_nothing_is_changed(board, sentence, options, stubbed):
    assert sentence in board.refusal(*options, **stubbed)


def test_failure_of_any_step_undoes_the_others(board):
    board.done(*ALL)
    calls = board.calls
    assert len(calls) > 15
    board.done("--uninstall")
    for place, call in enumerate(calls, start=1):
        before = board.state()
        result = board.install(*ALL, at=str(place))
        if result.returncode == 0:  # no group is there yet; a user who is not known is not root
            assert call.startswith(("getent", "id"))
            board.done("--uninstall")
            continue
        assert result.returncode == 2, (call, result.stdout)
        assert len(re.findall(r"^error: ", result.stderr, flags=re.MULTILINE)) == 1, call
        assert board.state() == before, call


def test_failure_leaves_the_installation_that_was_there(board):
    board.done(*ALL)
    with (board.checkout / "constraints.txt").open("a") as file:
        file.write("# newer\n")
    board.done(*ALL)
    for place, call in enumerate(board.calls, start=1):
        if "-m pip" in call or call.startswith(("udevadm", "systemctl")):
            with (board.checkout / "constraints.txt").open("a") as file:
                file.write("# newer\n")
            before = board.state()
            assert board.install(*ALL, at=str(place)).returncode == 2
            assert board.state() == before, call


@pytest.mark.parametrize(("signal", "status"), [("INT", 130), ("TERM", 143), ("HUP", 129)])
def test_signal_undoes_what_was_done(board, signal, status):
    board.done()
    place = next(n for n, call in enumerate(board.calls, start=1) if "-m pip" in call)
    board.done("--uninstall")
    before = board.state()
    result = board.install(at=str(place), signal=signal)
    assert result.returncode == status
    assert board.state() == before


def test_run_after_a_killed_one_makes_it_good(board):
    board.done()
    place = next(n for n, call in enumerate(board.calls, start=1) if "-m pip" in call)
    whole = board.state()
    board.done("--uninstall")
    assert board.install(at=str(place), signal="KILL").returncode == -9
    board.done()
    assert {name for name in board.state() if "tmp." not in name} == set(whole)
    with (board.checkout / "constraints.txt").open("a") as file:
        file.write("# newer\n")
    assert board.install(at=str(place), signal="KILL").returncode == -9
    assert (board.checkout / ".venv.before").is_dir()
    board.done()
    assert board.pip
    assert not (board.checkout / ".venv.before").exists()


# A Python of its own


@pytest.fixture
def archive(board):
    """One that the script takes for the published one of a board with aarch64."""
    folder = board.log.parent / "python"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").symlink_to(STUB)
    path = board.log.parent / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "python")
    script = board.checkout / "install.sh"
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    known = re.sub(r"(?<=\nSTANDALONE_AARCH64=)\w+", checksum, script.read_text())
    script.write_text(known)
    return path


def test_standalone_python_is_downloaded_once_checked_and_used(board, archive):
    out = board.done("--standalone", archive=str(archive))
    (fetched,) = [call for call in board.calls if "urlretrieve" in call]
    assert "/cpython-3.11.16%2B20260814-aarch64-unknown-linux-gnu-install_only_stri" in fetched
    own = board.checkout / ".python/bin/python3"
    assert f"python: 3.10, {own}" in out
    assert "standalone python: as it is" in board.done("--standalone")
    assert f"{own}" in board.done()
    board.done("--uninstall")
    assert not own.exists()


def test_archive_beside_the_script_needs_no_network(board, archive):
    name = "cpython-3.11.16+20260814-aarch64-unknown-linux-gnu-install_only_stripped.tar.gz"
    shutil.copy(archive, board.checkout / name)
    board.done("--standalone")
    assert not any("urlretrieve" in call for call in board.calls)


def test_archive_that_is_another_one_is_refused(board, archive):
    archive.write_bytes(b"something else")
    sentence = board.refusal("--standalone", archive=str(archive))
    assert "is not the one that is expected (SHA-256 " in sentence


# Rights and service


def test_group_may_set_clocks(board):
    out = board.done("--group", uid="0")
    rules = board.root / "etc/udev/rules.d/99-dvfo.rules"
    assert rules.read_text() == (REPOSITORY / "docs/99-dvfo.rules").read_text()
    state = board.root / "var/lib/dvfo"
    assert state.stat().st_mode & 0o7777 == 0o2770
    assert "groupadd --system dvfo" in board.calls
    assert "udevadm trigger --action=add" in board.calls
    assert "usermod" in out  # nobody called by sudo
    board.environ["SUDO_USER"] = "ann"
    assert "ann is a member from the next login on" in board.done("--group")
    assert "usermod --append --groups dvfo ann" in board.calls
    assert not any(call.startswith("groupadd") for call in board.calls)


def test_service_runs_what_was_asked_for_from_this_folder(board):
    board.done("--service", f"{RUN} --cloud-name 50%&a\\b|$c")
    unit = (board.root / "etc/systemd/system/dvfo.service").read_text()
    python = board.checkout / ".venv/bin/python"
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, flags=re.MULTILINE)
    assert command == f"{python} deploy.py {RUN} --cloud-name 50%%&a\\b|$$c"
    deploy._parser().parse_args(shlex.split(command)[2:6])
    assert f"ExecStopPost={python} -m hw.restore" in unit
    assert f"WorkingDirectory={board.checkout}\n" in unit
    assert "systemctl enable --quiet dvfo.service" in board.calls


def test_systemd_understands_the_service(board):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    board.done("--service", f"{RUN} --cloud-name 50%")
    unit = board.root / "etc/systemd/system/dvfo.service"
    result = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout + result.stderr == ""


def test_uninstalling_takes_away_all_that_was_made(board):
    before = board.state()
    board.done(*ALL)
    (board.root / "var/lib/dvfo/journal.jsonl").write_text("{}\n")
    kept = board.checkout / "results/runs/mine/policy.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    out = board.done("--uninstall")
    calls = "\n".join(board.calls)
    assert calls.index("systemctl disable --now") < calls.index("-m hw.restore")
    assert kept.read_text() == "{}"
    shutil.rmtree(board.checkout / "results")
    assert board.state() == before
    assert out.count("removed: ") == 4
    assert board.done("--uninstall").count("removed: ") == 0


def test_clocks_that_are_not_given_back_keep_the_installation(board):
    board.done(*ALL)
    journal = board.root / "var/lib/dvfo/journal.jsonl"
    journal.write_text("{}\n")
    result = board.install("--uninstall", stuck="yes")
    assert "holds what clocks were before" in one_sentence(result)
    assert journal.exists()
    assert (board.checkout / ".venv").exists()
    board.done("--uninstall")
    assert not journal.parent.exists()


def test_uninstalling_that_fails_says_so_in_one_sentence_and_can_go_on(board):
    board.done(*ALL)
    calls = len((board.done("--uninstall"), board.calls)[1])
    for place in range(1, calls + 1):
        board.done(*ALL)
        result = board.install("--uninstall", at=str(place))
        if result.returncode:
            one_sentence(result)
            board.done("--uninstall")
        assert not (board.checkout / ".venv").exists()


def test_lock_of_a_process_that_drives_is_not_taken_away(board):
    board.done("--group")
    lock = board.root / "var/lib/dvfo/lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "a process drives this machine" in one_sentence(board.install("--uninstall"))
        assert lock.exists()
    board.done("--uninstall")
    assert not lock.exists()


def test_folder_of_the_journal_that_others_made_stays(board):
    foreign = board.root / "var/lib/dvfo/journal.foreign.jsonl"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("{}\n")
    board.done()
    board.done("--uninstall")
    board.done(*ALL)
    board.done("--uninstall")
    assert foreign.exists()


def test_help_names_every_option(board):
    options = set(re.findall(r"^ +(--[a-z]+)\)? ?[|)]?", SCRIPT.read_text(), flags=re.MULTILINE))
    out = board.done("--help")
    assert options >= {"--python", "--standalone", "--runtime", "--index", "--group", "--service"}
    assert all(option in out for option in options)
    assert board.calls == []


def test_every_system_of_the_table_is_served_by_options_of_the_script(board):
    known = set(re.findall(r"--[a-z]+", board.done("--help")))
    for row in systems.SYSTEMS:
        assert set(re.findall(r"(?<= )--[a-z]+", f"{row.install} {row.runtime}")) <= known


@pytest.mark.skipif(os.geteuid() != 0, reason="only root owns a folder that a service may run")
def test_owner_is_asked_of_the_folder_itself(board):
    (board.log.parent / "commands" / "stat").unlink()
    os.chown(board.checkout, 65534, 65534)
    assert "who could make the service of root do anything" in board.refusal("--service", RUN)
