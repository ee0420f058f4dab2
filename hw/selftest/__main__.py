"""Prove this project on a machine, in about three minutes: `sudo python -m hw.selftest`.

Every clock goes to both ends and back, every rail is read, power is compared with clocks and load.
All is put back, also after Ctrl-C. What was found goes into one file for a bug report, without
serial numbers, addresses or names.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from common import command
from common.first_signal import FirstSignal
from hw.doctor.privacy import Secrets
from hw.errors import HardwareError, PermissionDeniedError, UnsupportedError
from hw.selftest.bench import SelfTestBench, SelfTestEnvironment
from hw.selftest.findings import Verdict, save
from hw.selftest.load import busy_processors
from hw.selftest.other_checks import jtop_power_w
from hw.selftest.run import begin, run
from hw.sysfs import Sysfs


class RecordedTime:
    """Time in front of a recorded tree, where nothing changes while one waits."""

    def __init__(self, stop: FirstSignal) -> None:
        self._stop = stop
        self._waited_s = 0.0

    def clock(self) -> float:
        """Present time, s."""
        return time.monotonic() + self._waited_s

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self._waited_s += seconds

    def pause(self, seconds: float) -> bool:
        """Let time pass at once, and say whether to end."""
        self.sleep(seconds)
        return self._stop.wait(0.0)


class Notes(logging.Handler):
    """Keeps each warning of this package once.

    Args:
        tell: takes each line for people.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning and report it, unless it was reported before."""
        text = record.getMessage()
        if text not in self.texts:
            self.texts.append(text)
            self._tell(f"{'note':<10}{text}")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the warnings, which go nowhere else meanwhile."""
        package = logging.getLogger("hw")
        propagates, package.propagate = package.propagate, False
        package.addHandler(self)
        try:
            yield
        finally:
            package.removeHandler(self)
            package.propagate = propagates


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if no check failed, 1 if one did, 2 with one sentence if it could not run, 128 and the
        signal's number if a signal ended it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m hw.selftest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file (named by the board)")
    parser.add_argument("--root", type=Path, default=Path("/"), help="try it on a recorded tree")
    arguments = parser.parse_args(argv)
    notes = Notes(_tell)
    with FirstSignal(command.SIGNALS) as stop:
        try:
            with notes.taken(), closing(Sysfs(arguments.root)) as sysfs:
                check_possible(sysfs)
                return _run(sysfs, arguments.out, stop, notes)
        except HardwareError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def check_possible(sysfs: Sysfs) -> None:
    """Refuse at once where nothing can be tested.

    Raises:
        UnsupportedError: no /sys, or one that cannot be written.
        PermissionDeniedError: only root may write it.
    """
    folder = sysfs.path("sys")
    if not folder.is_dir():
        raise UnsupportedError(f"{sysfs.root} holds no folder sys; name a recorded tree")
    if read_only := sysfs.read_only(folder):
        raise UnsupportedError(read_only)
    if sysfs.is_live and os.geteuid() != 0:
        raise PermissionDeniedError(
            "only root may set all clocks; sudo python -m hw.selftest, with this Python: "
            f"sudo {sys.executable} -m hw.selftest"
        )


def _run(sysfs: Sysfs, out: Path | None, stop: FirstSignal, notes: Notes) -> int:
    around = _surroundings(sysfs, stop)
    _tell("looking at the machine; the whole takes about three minutes, and Ctrl-C ends it safely")
    bench = begin(sysfs, around)
    findings = bench.findings
    findings.warnings = notes.texts
    file = out or Path(findings.file_name)
    secrets = Secrets.of(sysfs)
    _tell(f"{findings.machine} (Linux {findings.versions.get('kernel', 'unknown')})")

    def keep() -> None:
        try:
            save(findings.document(secrets), file, _give_to_caller)
        except OSError as error:
            raise HardwareError(
                f"{file} cannot be written ({error.strerror}); give another --out"
            ) from None

    run(bench, keep)
    print(_summary(bench, file))
    if stop.number is not None:
        return command.SIGNAL_EXIT_CODE + stop.number
    return int(findings.has_failed)


def _surroundings(sysfs: Sysfs, stop: FirstSignal) -> SelfTestEnvironment:
    if sysfs.is_live:
        return SelfTestEnvironment(
            time.monotonic,
            time.sleep,
            stop.wait,
            busy_processors,
            lambda: jtop_power_w(sysfs),
            _tell,
        )
    recorded = RecordedTime(stop)
    return SelfTestEnvironment(
        recorded.clock, recorded.sleep, recorded.pause, nullcontext, lambda: None, _tell
    )


def _summary(bench: SelfTestBench, file: Path) -> str:
    checks = bench.findings.checks
    counts = ", ".join(
        f"{sum(check.verdict is verdict for check in checks)} {verdict.value}"
        for verdict in Verdict
    )
    failed = ", ".join(check.name for check in checks if check.verdict is Verdict.FAILED)
    text = f"{counts}{f' ({failed})' if failed else ''}"
    return f"{text}; {file} holds all of it, please attach it to a report (docs/selftest.md)"


def _give_to_caller(descriptor: int) -> None:
    """Files written under `sudo` belong to the user who called it."""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdigit() and group.isdigit():
        os.fchown(descriptor, int(user), int(group))


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(command.run(main))
