"""Daemons and restorers over a fake board, as processes that are watched and killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.soak.machine import Machine
from tests.conftest import REPOSITORY

LAUNCHER = [sys.executable, "-u", "-m", "benchmarks.soak.launcher"]
QUIET = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
ENDS_WITHIN_S = 30.0
"""What a process may take once it has been told to end; twenty times what it needs."""


class Program:
    """A process that was started.

    Attributes:
        pid: its number.
        output, errors: files of its standard streams.
        code: how it ended; None while it runs. Minus a signal's number where that killed it.
    """

    def __init__(self, output: Path, errors: Path, mark: Path) -> None:
        self.pid = 0
        self.output, self.errors = output, errors
        self.code: int | None = None
        self._mark = mark
        self._ended = threading.Event()
        self._process = -1  # descriptor, so that no signal reaches a later process of that number

    def became(self, pid: int) -> None:
        """Remember which process it is."""
        self.pid = pid
        with suppress(ProcessLookupError):  # it has ended already
            self._process = os.pidfd_open(pid)

    def ended(self, code: int) -> None:
        """Note how it ended."""
        self.code = code
        self._ended.set()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended.is_set()

    def own_cpu_s(self) -> float:
        """Processor time since the program's own first line, s; 0 before that, and at its end."""
        try:
            words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            used_s = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
            return max(used_s - float(self._mark.read_text()), 0.0)
        except (OSError, ValueError):
            return 0.0

    def send(self, number: int) -> None:
        """Send a signal, if the process is still there."""
        with suppress(ProcessLookupError):
            if self._process >= 0:
                signal.pidfd_send_signal(self._process, number)

    def wait(self, timeout_s: float = ENDS_WITHIN_S) -> int | None:
        """How it ended; None if it does not."""
        self._ended.wait(timeout_s)
        return self.code

    def close(self) -> None:
        """End it if it runs."""
        if self.is_alive:
            self.send(signal.SIGKILL)
            self._ended.wait(ENDS_WITHIN_S)
        if self._process >= 0:
            os.close(self._process)
            self._process = -1

    def complaints(self) -> str:
        """The end of what it wrote to standard error."""
        return self.errors.read_text(errors="replace")[-6000:] if self.errors.exists() else ""

    def printed(self) -> list[str]:
        """Lines of its standard output."""
        return self.output.read_text(errors="replace").splitlines()


class Launcher:
    """Starts programs, cold or by a warm parent; a context manager.

    Args:
        scratch: folder for what they print.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._numbers = itertools.count()
        self._turn, self._lock = threading.Lock(), threading.Lock()
        self._answer = threading.Event()
        self._started: int = 0
        self._children: dict[int, Program] = {}
        self._codes: dict[int, int] = {}

    def __enter__(self) -> Launcher:
        """Have the warm parent import everything."""
        self._parent = subprocess.Popen(
            [*LAUNCHER, "warm"],
            cwd=REPOSITORY,
            env={**os.environ, **QUIET},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._answer.wait(2 * ENDS_WITHIN_S):
            raise RuntimeError("the warm parent did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.stdin.close()
        self._parent.wait(ENDS_WITHIN_S)

    def warm(
        self,
        machine: Machine,
        program: str,
        arguments: Sequence[object],
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Fork a program from the warm parent."""
        started = self._prepare(machine)
        order = {
            "socket": machine.address,
            "root": str(machine.root),
            "program": program,
            "arguments": list(map(str, arguments)),
            "output": str(started.output),
            "errors": str(started.errors),
            "environment": dict(environment or {}),
        }
        with self._turn:
            self._answer.clear()
            self._parent.stdin.write(json.dumps(order) + "\n")
            if not self._answer.wait(ENDS_WITHIN_S):
                raise RuntimeError("the warm parent does not answer")
            started.became(self._started)
            with self._lock:
                self._children[started.pid] = started
                self._tell(started.pid)
        return started

    def cold(
        self,
        machine: Machine,
        program: str,
        arguments: Sequence[object],
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a program as a user does."""
        started = self._prepare(machine)
        command = [*LAUNCHER, "cold", machine.address, machine.root, program, *arguments]
        with started.output.open("w") as output, started.errors.open("w") as errors:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=REPOSITORY,
                env={**os.environ, **QUIET, **(environment or {})},
                stdout=output,
                stderr=errors,
            )
        started.became(process.pid)
        threading.Thread(target=lambda: started.ended(process.wait()), daemon=True).start()
        return started

    def _prepare(self, machine: Machine) -> Program:
        mark = Path(f"{machine.root}.begun")
        mark.unlink(missing_ok=True)
        number = next(self._numbers)
        streams = [self._scratch / f"{number}.{name}" for name in ("output", "errors")]
        return Program(*streams, mark)

    def _listen(self) -> None:
        for line in self._parent.stdout:
            news = json.loads(line)
            if "code" not in news:
                self._started = news["pid"]
                self._answer.set()
                continue
            with self._lock:
                self._codes[news["pid"]] = news["code"]
                self._tell(news["pid"])

    def _tell(self, pid: int) -> None:
        """Note how a program ended; that may be known before the program."""
        if pid in self._children and pid in self._codes:
            self._children.pop(pid).ended(self._codes.pop(pid))
