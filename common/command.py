"""Ends of a command: by a signal, or for want of memory, threads or a package of an extra.

Imports nothing that takes time, so that it is in force while everything else is imported.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn

from common import extras

SIGNALS = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPWR),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
    *(signal.SIGXCPU, signal.SIGIO),
)
"""All that end a process unless it asks otherwise (signal(7)), but those that cannot be caught
(SIGKILL), report a fault of the program itself (SIGSEGV, SIGABRT and their like), or that Python
ignores (SIGPIPE, SIGXFSZ: what was written fails with an error instead)."""
SIGNAL_EXIT_CODE = 128
"""Added to a signal's number, as shells do."""
USER_ERROR_EXIT_CODE = 2
_PREFIX = "dvfo-"
_OF_CHECKOUT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "pyproject.toml")
_MEMORY = (
    "this process gets no more memory; raise its limit (ulimit -v, a control group's memory.max) "
    "or end other programs"
)
_THREADS = (
    "this process may start no more threads; raise its limits (ulimit -u and -v, a control group's "
    "pids.max) or end other programs"
)
_FILES = "this process may open no more files; raise its limit (ulimit -n)"
_SPACE = "there is no space left where this command writes; free some"
_LACKS = {
    **{errno.ENOMEM: _MEMORY, errno.EAGAIN: _THREADS},
    **{errno.EMFILE: _FILES, errno.ENFILE: _FILES, errno.ENOSPC: _SPACE},
}
_TOLD_MEMORY = ("bad_alloc", "bad allocation", "cannot allocate memory", "failed to map segment")
"""Words of the libraries below, in lower case."""
_TOLD_THREADS = ("start new thread", "resource temporarily unavailable")


class Stopped(KeyboardInterrupt):
    """A signal asks the command to end; raised once, then signals are ignored.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def is_started_from(package: str) -> bool:
    """Whether Python is about to run a module of a package, by `python -m`."""
    if sys.argv[:1] != ["-m"]:  # what stands there while the module is looked for
        return False
    names = [argument.removeprefix("-m") for argument in sys.orig_argv]
    return any(name == package or name.startswith(f"{package}.") for name in names)


def program(name: str) -> str:
    """What a user calls `train.py` or `deploy.py`, whose name without its ending is given.

    In a checkout they are files, unless this process was started by a command of an installation.
    """
    words = (word for word in sys.orig_argv[1:] if not word.startswith("-"))
    is_installed = os.path.basename(next(words, "")).startswith(_PREFIX)
    return f"{_PREFIX}{name}" if is_installed or not os.path.isfile(_OF_CHECKOUT) else f"{name}.py"


def call(name: str) -> str:
    """The words that start `train.py` or `deploy.py`, for a sentence that tells to do so."""
    started = program(name)
    return f"python {started}" if started.endswith(".py") else started


def begin() -> None:
    """Let signals and a lack of memory end this process in one sentence from now on.

    Standard streams that were closed lead nowhere, and letters that one cannot write are escaped.
    """
    for number in range(3):
        _open_somewhere(number)
    sys.stdout, sys.stderr = (
        stream or open(number, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2))
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)
    sys.excepthook = _tell


def _open_somewhere(number: int) -> None:
    """Or the next file that is opened would be taken for a standard stream."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def run(main: Callable[[], int | None], kept: str = "") -> int:
    """Run a command, and say in one sentence what ended it from outside.

    Where `begin` was called, signals raise `Stopped` while it runs, so that what it holds is given
    back, and are ignored afterwards.

    Args:
        main: the command.
        kept: what there is of its work when a signal ends it.

    Returns:
        What it returned, 0 for None; 128 and the signal's number; 2 for want of memory, threads, a
        package of an extra, a reader of its output or a file that it can use.
    """
    taken = _taken()
    for number in taken:
        signal.signal(number, _stop)
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stopped:
        _say(f"stopped; {kept}" if kept else "stopped")
        return exit_code(stopped)
    except BrokenPipeError:  # the reader of the output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _say("error: nothing reads the output; keep it open or send it to a file")
        return USER_ERROR_EXIT_CODE
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        sentence = lack(error) or _of_file(error)
        if sentence is None:
            raise
        _say(f"error: {sentence}")
        return USER_ERROR_EXIT_CODE
    finally:
        _ignore(taken)  # by the handlers in force now


def exit_code(stopped: KeyboardInterrupt) -> int:
    """What a command returns that a signal ended."""
    number = stopped.number if isinstance(stopped, Stopped) else signal.SIGINT
    return SIGNAL_EXIT_CODE + number


def lack(error: BaseException) -> str | None:
    """What there is too little of, with the remedy; None if that is not what is wrong."""
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno in _LACKS:
        return _LACKS[error.errno]
    if isinstance(error, ModuleNotFoundError):
        return extras.remedy(error)
    text = str(error).lower()
    if any(told in text for told in _TOLD_MEMORY):
        return _MEMORY
    return _THREADS if any(told in text for told in _TOLD_THREADS) else None


def leave(number: int, _: FrameType | None) -> NoReturn:
    """Leave at once, for a handler: nothing was changed yet."""
    _say("stopped")
    os._exit(SIGNAL_EXIT_CODE + number)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    _ignore(_taken())
    raise Stopped(number)


def _ignore(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _taken() -> list[signal.Signals]:
    return [number for number in SIGNALS if signal.getsignal(number) in (leave, _stop)]


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For `sys.excepthook`, which cannot choose the exit code in another way."""
    found = lack(error)
    if found is None:
        sys.__excepthook__(kind, error, traceback)
        return
    _say(f"error: {found}")
    os._exit(USER_ERROR_EXIT_CODE)


def _of_file(error: BaseException) -> str | None:
    """Which file cannot be used and why; None if it is not about a file."""
    if not isinstance(error, OSError) or error.filename is None or isinstance(error, ImportError):
        return None
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{name} cannot be used ({error.strerror}); correct its path or its permissions"


def _say(sentence: str) -> None:
    """Write a line at once, whatever is buffered."""
    with suppress(OSError):  # its reader is gone
        os.write(2, f"{sentence}\n".encode(errors="backslashreplace"))
