"""`Sysfs` over a fake kernel, in this process or in a forked child that can be killed."""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hw.errors import SensorReadError, UnsupportedError
from hw.sysfs import READ_ONLY, Sysfs
from tests.hw.fake.kernel import FakeKernel

_MESSAGE_BYTES = 1 << 17
_TIME = ("clock", "sleep", "boot_time")  # no accesses, so that they do not count
_HELD_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM]


class _KernelSysfs(Sysfs):
    """Everything that `Sysfs` asks of a kernel, by one function."""

    shared: str
    has_own_network = False

    def glob(self, pattern: str) -> list[Path]:
        paths = [self.root / path for path in self._access("glob", pattern)]
        return sorted(paths, key=lambda path: (len(path.name), path.name))

    def exists(self, path: Path) -> bool:
        return self._access("exists", self._name(path))

    def is_writable(self, path: Path) -> bool:
        return self._access("is_writable", self._name(path))

    def read_only(self, path: Path) -> str | None:
        is_read_only = self._access("is_read_only", self._name(path))
        return f"{path} {READ_ONLY}" if is_read_only else None

    def real_path(self, path: Path) -> Path:
        return self.root / self._access("real_path", self._name(path))

    def open_folder(self, path: Path) -> int:
        """What all see who share a sysfs; in a container with a network of its own, another."""
        if self.has_own_network:
            raise FileNotFoundError(errno.ENOENT, "not the host's", str(path))
        return self._open_shared("folder")

    def open_devtmpfs(self) -> int:
        """What all see who see this kernel; with a folder of the disk of their own or not."""
        return self._open_shared("devtmpfs")

    def _open_shared(self, name: str) -> int:
        return os.open(f"{self.shared}/{name}", os.O_RDONLY | os.O_CLOEXEC)

    def boot_time_s(self) -> float:
        return float(self._access("boot_time", ""))

    def run(self, command: Sequence[str]) -> str:
        try:
            return self._access("run", " ".join(command)).strip()
        except FileNotFoundError:
            raise UnsupportedError(f"there is no command {command[0]!r} on this machine") from None
        except OSError as error:
            raise SensorReadError(f"{' '.join(command)!r} failed: {error}") from None

    def _read(self, path: Path) -> str:
        return self._access("read", self._name(path))

    def _write(self, path: Path, value: str) -> None:
        self._access("write", self._name(path), value)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _access(self, operation: str, path: str, value: str = "") -> Any:
        raise NotImplementedError


class FakeSysfs(_KernelSysfs):
    """Access to a fake kernel in this process.

    Args:
        kernel: the kernel.
        root: folder on the real disk for what is no kernel file (the journal).
    """

    def __init__(self, kernel: FakeKernel, root: Path) -> None:
        super().__init__(root)
        self.kernel = kernel
        self.shared = kernel.shared.name

    def _access(self, operation: str, path: str, value: str = "") -> Any:
        return self.kernel.access(operation, path, value)


class RemoteSysfs(_KernelSysfs):
    """Access to a fake kernel that lives in the parent process; safe for threads.

    Args:
        connection: to `serve`.
        root: folder on the real disk for what is no kernel file (the journal).
        shared: folder of what all processes share with this kernel.
    """

    def __init__(self, connection: socket.socket, root: Path, shared: str) -> None:
        super().__init__(root)
        self.shared = shared
        self._connection = connection
        self._turn = threading.RLock()
        self._last = 0
        self._answers: dict[int, tuple[int, Any]] = {}

    def clock(self) -> float:
        """The kernel's present time, s."""
        return self._access("clock", "")

    def sleep(self, seconds: float) -> None:
        """Let the kernel's time pass."""
        self._access("sleep", "", str(seconds))

    def _access(self, operation: str, path: str, value: str = "") -> Any:
        # Signals wait until the kernel is done with a system call.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_SIGNALS)
        try:
            with self._turn:
                code, result = self._exchange(operation, path, value)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if code:
            raise OSError(code, os.strerror(code), path)
        return result

    def _exchange(self, operation: str, path: str, value: str) -> tuple[int, Any]:
        """Ask and wait for the answer, though a signal's handler may ask in between."""
        self._last += 1
        number = self._last
        self._connection.send(json.dumps((number, operation, path, value)).encode())
        while number not in self._answers:
            answer = self._connection.recv(_MESSAGE_BYTES)
            if not answer:
                os._exit(1)  # the parent is gone
            answered, code, result = json.loads(answer)
            self._answers[answered] = code, result
        return self._answers.pop(number)


@dataclass(frozen=True)
class Kill:
    """When a child gets a signal: at an access, or after a time.

    Attributes:
        at_access: number of the access, from 0; never if None.
        after_effect: whether the kernel does that access before the signal.
        after_s: time since the child's start, s; never if None.
        signal_number: what is sent; SIGKILL cannot be caught.
    """

    at_access: int | None = None
    after_effect: bool = False
    after_s: float | None = None
    signal_number: int = signal.SIGKILL


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        exit_code: minus the signal's number where one killed it; 1 where `error` is not empty.
        accesses: operation and path of all accesses the kernel saw, the last one perhaps undone.
        error: traceback of what the child raised.
    """

    exit_code: int
    accesses: list[tuple[str, str]]
    error: str = ""

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.exit_code == -signal.SIGKILL


def run_child(
    kernel: FakeKernel, root: Path, body: Callable[[RemoteSysfs], object], kill: Kill | None = None
) -> Outcome:
    """Fork a child that runs `body`, serve it the kernel until it ends, and kill it on the way."""
    # SEQPACKET keeps the limits of messages.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        sysfs = RemoteSysfs(theirs, root, kernel.shared.name)
        _run_body(theirs, sysfs, body)
    theirs.close()
    with ours:
        server = _Server(kernel, ours, child, kill or Kill())
        try:
            server.serve()
        except BaseException:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
    _, status = os.waitpid(child, 0)
    return Outcome(os.waitstatus_to_exitcode(status), server.accesses, server.error)


def _run_body(
    connection: socket.socket, sysfs: RemoteSysfs, body: Callable[[RemoteSysfs], Any]
) -> NoReturn:
    exit_code = 0
    # Like a program of its own: only its own exit functions run, and they do run.
    atexit._clear()
    try:
        body(sysfs)
    except SystemExit as error:
        exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        connection.send(json.dumps((0, "raised", traceback.format_exc()[-60_000:], "")).encode())
        exit_code = 1
    finally:
        atexit._run_exitfuncs()
        os._exit(exit_code)  # not into pytest


class _Server:
    """Answers one child in the calling thread."""

    def __init__(
        self, kernel: FakeKernel, connection: socket.socket, child: int, kill: Kill
    ) -> None:
        self.accesses: list[tuple[str, str]] = []
        self.error = ""
        self._kernel = kernel
        self._connection = connection
        self._child = child
        self._kill = kill
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._due_s = None if kill.after_s is None else time.monotonic() + kill.after_s

    def serve(self) -> None:
        while self._wait():
            try:
                request = self._connection.recv(_MESSAGE_BYTES)
            except ConnectionResetError:  # it ended without its last answer
                return
            if not request:
                return
            number, operation, path, value = json.loads(request)
            if operation == "raised":
                self.error = path
            else:
                self._answer(number, operation, path, value)

    def _wait(self) -> bool:
        """Wait for a request; send the signal if its time comes first."""
        while self._due_s is not None:
            left_s = self._due_s - time.monotonic()
            if left_s > 0 and self._poll.poll(1e3 * left_s):
                return True
            if left_s <= 0:
                self._due_s = None
                os.kill(self._child, self._kill.signal_number)
        return True

    def _answer(self, number: int, operation: str, path: str, value: str) -> None:
        is_due = operation not in _TIME and len(self.accesses) == self._kill.at_access
        if operation not in _TIME:
            self.accesses.append((operation, path))
        if is_due and not self._kill.after_effect:
            os.kill(self._child, self._kill.signal_number)
            if self._kill.signal_number == signal.SIGKILL:
                return
        answer = self._do(operation, path, value)
        if is_due and self._kill.after_effect:
            os.kill(self._child, self._kill.signal_number)
        # A killed child leaves nobody to listen.
        with contextlib.suppress(BrokenPipeError):
            self._connection.send(json.dumps((number, *answer)).encode(), socket.MSG_NOSIGNAL)

    def _do(self, operation: str, path: str, value: str) -> tuple[int, Any]:
        if operation == "clock":
            return 0, self._kernel.now_s
        if operation == "boot_time":
            return 0, self._kernel.boot_time_s
        if operation == "sleep":
            return 0, self._kernel.sleep(float(value))
        try:
            return 0, self._kernel.access(operation, path, value)
        except OSError as error:
            return error.errno or errno.EIO, None
