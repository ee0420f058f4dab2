"""How every command ends by a signal, or for want of memory or threads."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from itertools import cycle

import pytest

from common import command
from tests.conftest import REPOSITORY
from tests.test_help import commands

HARNESSES = {
    *("fuzz_wire", "models", "placement_run", "runtime", "server_soak", "server_strangers", "soak"),
}
"""Benchmarks that start other commands in processes of their own, and hold nothing themselves."""
NO_NUMPY = {"partition.certificates"}
"""Done before a signal comes."""
COMMANDS = [
    name for name in commands() if name.split(".")[1] not in HARNESSES and name not in NO_NUMPY
]
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
SLOW = "import time; print('importing', flush=True); time.sleep(60)"
GIGABYTE = 2**30


@pytest.fixture
def slow_imports(tmp_path):
    """An environment where numpy takes a minute to import, and says when it begins to be."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(SLOW)
    return os.environ | {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(("name", "number"), [*zip(COMMANDS, cycle(ENDS), strict=False)])
def test_a_signal_while_a_command_imports_ends_it_in_one_word(name, number, slow_imports):
    words = [name] if name.endswith(".py") else ["-m", name]
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=slow_imports,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "importing\n", process.stderr.read()
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (128 + number, "stopped\n")


def call(code: str, *numbers: int, gigabytes: float | None = None) -> subprocess.Popen:
    """A process that runs `code` in a function `main` of a command."""
    text = f"import signal, sys\nfrom common import command\ncommand.begin()\n{code}\n"
    if gigabytes is not None:  # by the process itself: gRPC may not survive a fork of this one
        limit = int(gigabytes * GIGABYTE)
        text = f"import resource as r\nr.setrlimit(r.RLIMIT_AS, ({limit}, {limit}))\n{text}"
    return subprocess.run(
        [sys.executable, "-c", text + "sys.exit(command.run(main))", *map(str, numbers)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", command.SIGNALS, ids=lambda number: number.name)
def test_a_signal_while_a_command_runs_gives_back_and_no_second_one_disturbs_that(number):
    code = """def main():
    try:
        signal.raise_signal(int(sys.argv[1]))
    finally:
        for number in command.SIGNALS:
            signal.raise_signal(number)
        print("given back")
"""
    result = call(code, number)
    assert (result.returncode, result.stdout) == (128 + number, "given back\n")
    assert result.stderr == "stopped\n"


def test_signals_while_python_ends_change_nothing():
    """Whoever took them meanwhile: Python would put the default back."""
    code = """import atexit
def main():
    signal.signal(signal.SIGTERM, print)
    atexit.register(signal.raise_signal, signal.SIGTERM)
    atexit.register(signal.raise_signal, signal.SIGQUIT)
    return 3
"""
    result = call(code)
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "")


def test_signals_that_were_ignored_before_stay_so():
    """As under nohup."""
    code = """command.signal.signal(signal.SIGHUP, signal.SIG_IGN)
command.begin()
def main():
    signal.raise_signal(signal.SIGHUP)
    return 3
"""
    result = call(code)
    assert (result.returncode, result.stderr) == (3, "")


THREADS = """import threading, time
threading.stack_size(2**26)
def main():
    for _ in range(1000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def main(): return len(bytearray(2**33))", "gets no more memory"),
        ("blob = bytearray(2**33)\nmain = None", "gets no more memory"),
        (THREADS, "may start no more threads"),
        ("def main(): raise RuntimeError('std::bad_alloc')", "gets no more memory"),
        ("def main(): raise OSError(24, 'Too many open files')", "may open no more files"),
    ],
)
def test_want_of_memory_or_threads_is_one_sentence(code, told):
    result = call(code, gigabytes=1.5)
    assert result.returncode == 2, result
    assert re.fullmatch(rf"error: this process .*{told}.*\n|error: .*{told}.*\n", result.stderr)


def test_what_was_kept_is_said():
    code = """run = command.run
command.run = lambda main: run(main, "half of it was written")
def main():
    signal.raise_signal(signal.SIGTERM)
"""
    result = call(code)
    assert result.returncode == 128 + signal.SIGTERM
    assert result.stderr == "stopped; half of it was written\n"


def test_any_other_error_keeps_its_traceback():
    result = call("def main(): raise RuntimeError('a bug')")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_an_output_that_nobody_reads_is_one_sentence():
    code = "def main(): sys.stdout.write('x' * 100_000)"
    text = f"import sys\nfrom common import command\ncommand.begin()\n{code}\n"
    with subprocess.Popen(
        [sys.executable, "-c", text + "sys.exit(command.run(main))"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read().startswith("error: nothing reads the output")
        assert process.wait(timeout=30) == 2


@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_leads_nowhere(tmp_path, closed):
    """And is not taken for the first file that is opened."""
    code = f"""import sys
from common import command
command.begin()
def main():
    with open({str(tmp_path / "file")!r}, "w") as file:
        print("to nobody")
        print("to nobody", file=sys.stderr, flush=True)
        assert file.fileno() > 2
        file.write("kept")
sys.exit(command.run(main))"""
    (tmp_path / "code.py").write_text(code)
    shell = f"PYTHONPATH={REPOSITORY} {sys.executable} {tmp_path / 'code.py'} {closed}"
    result = subprocess.run(["sh", "-c", shell], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "file").read_text() == "kept"


def test_letters_that_a_terminal_does_not_have_are_escaped():
    code = "def main(): print('m\\xefne', '\\udcc3')"
    result = call(f"import os\n{code}")
    assert result.returncode == 0, result.stderr


def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path):
    result = call(f"def main(): open({str(tmp_path / 'none' / 'x')!r}, 'w')")
    assert result.returncode == 2
    assert result.stderr == (
        f"error: {tmp_path / 'none' / 'x'} cannot be used (No such file or directory); correct its "
        "path or its permissions\n"
    )


@pytest.mark.parametrize("package", ["benchmarks", "envs", "hw", "partition"])
def test_every_command_is_run_so(package):
    """What is not would leave by a signal without giving anything back."""
    commands = [
        path
        for path in (REPOSITORY / package).rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text()
        and path.relative_to(REPOSITORY / package).parts[0].removesuffix(".py") not in HARNESSES
    ]
    assert commands
    for path in commands:
        end = path.read_text().splitlines()[-1]
        assert re.fullmatch(r" +sys\.exit\((command|cli)\.run\(\w+(, \"[^\"]+\")?\)\)", end), path


@pytest.mark.parametrize(
    ("started", "is_checkout", "said"),
    [
        (["python", "train.py", "--seed", "1"], True, ("train.py", "python deploy.py")),
        (["python", "-m", "hw.doctor"], True, ("train.py", "python deploy.py")),
        (["python", "-m", "hw.doctor"], False, ("dvfo-train", "dvfo-deploy")),
        (["python", "/opt/bin/dvfo-train", "--seed", "1"], True, ("dvfo-train", "dvfo-deploy")),
        (["python", "train.py", "--out", "dvfo-x"], True, ("train.py", "python deploy.py")),
        (["python"], False, ("dvfo-train", "dvfo-deploy")),
    ],
)
def test_commands_are_named_as_they_can_be_started(monkeypatch, started, is_checkout, said):
    monkeypatch.setattr(sys, "orig_argv", started)
    if not is_checkout:
        monkeypatch.setattr(command, "_OF_CHECKOUT", "/nowhere/pyproject.toml")
    assert (command.program("train"), command.call("deploy")) == said
