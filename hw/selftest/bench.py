"""Common state of all checks of a self-test."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import HardwareError
from hw.selftest.findings import Check, Findings, Verdict
from hw.sysfs import Sysfs


class SelfTestStop(Exception):  # noqa: N818 - no error
    """The user wants the self-test to end now."""


@dataclass(frozen=True, slots=True)
class SelfTestEnvironment:
    """What a self-test takes from the outside.

    Attributes:
        clock: present time, s.
        sleep: waits for a number of seconds.
        pause: waits for a number of seconds, and says whether the test has to end.
        load: keeps all processors busy while it is entered.
        ask_jtop: power of each rail by jetson-stats, W; None where there is none.
        tell: takes each line for people.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], object]
    pause: Callable[[float], bool]
    load: Callable[[], AbstractContextManager[object]]
    ask_jtop: Callable[[], Mapping[str, float] | None]
    tell: Callable[[str], object]


class SelfTestBench:
    """Where a machine is tested.

    Args:
        sysfs: access to the kernel's files.
        around: what is taken from the outside.
        findings: where results go.
    """

    def __init__(self, sysfs: Sysfs, around: SelfTestEnvironment, findings: Findings) -> None:
        self.sysfs = sysfs
        self.findings = findings
        self.clock, self.sleep = around.clock, around.sleep
        self.load, self.ask_jtop = around.load, around.ask_jtop
        self._around = around

    def open(self, hold: Hold, domain: str | None = None) -> LinuxBoard:
        """The board, with all its clocks or with one, not yet opened."""
        return LinuxBoard(
            self.sysfs,
            hold=hold,
            domains=None if domain is None else [re.escape(domain)],
            clock=self.clock,
            sleep=self.sleep,
        )

    def wait(self, seconds: float = 0.0) -> None:
        """Let time pass.

        Raises:
            SelfTestStop: the user wants it to end.
        """
        if self._around.pause(seconds):
            raise SelfTestStop

    def note(self, name: str, verdict: Verdict, text: str) -> None:
        """Keep a result and report it."""
        self.findings.checks.append(Check(name, verdict, text))
        self._around.tell(f"{verdict.value:<10}{name}: {text}")

    def fail(self, name: str, error: HardwareError) -> None:
        """Keep an error as a result."""
        self.note(name, Verdict.FAILED, str(error))
