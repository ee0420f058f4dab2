"""Fault injection between a kernel and its readers: errors, garbage, delays, nodes that go away."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.hw.fake.kernel import FakeKernel

SETTABLE = re.compile(
    r"_freq$|governor$|/emc[^/]*$|/rate$|_locked$|railgate|/online$|affected_cpus$"
)
"""Files that are looked at before they are written."""
QUIET_S = 0.05
READ, WRITE = frozenset({"read", "run"}), frozenset({"write"})


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """What becomes of some accesses while it is in force.

    Attributes:
        files: matches a whole real path, without the root.
        operations: that it concerns.
        code: errno that is answered; the access is not made. 0 for none.
        text: answered instead of what is read; None leaves that alone.
        change: makes another text of what is read.
        delay_s: that the access takes longer, s.
        hides: whether the files are not there at all.
        closes: whether the files may not be written.
    """

    files: str
    operations: frozenset[str] = READ
    code: int = 0
    text: str | None = None
    change: Callable[[str], str] | None = None
    delay_s: float = 0.0
    hides: bool = False
    closes: bool = False

    def matches(self, real: str) -> bool:
        """Whether it concerns a file."""
        return re.fullmatch(self.files, real) is not None


class FaultGate:
    """Lets accesses through to a kernel, in real time, as far as the rules in force allow.

    Attributes:
        kernel: behind it; what is done to that directly meets no rule.
        accesses: so far, about; threads count without a lock.
    """

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.accesses = 0
        self._ahead_s = kernel.now_s - time.monotonic()
        self._touched_s = 0.0
        self._rules: list[FaultRule] = []
        self._lock = threading.Lock()

    def add(self, rule: FaultRule) -> None:
        """Put a rule in force."""
        with self._lock:
            self._rules = [*self._rules, rule]

    def remove(self, rule: FaultRule) -> None:
        """Put it out of force."""
        with self._lock:
            self._rules = [each for each in self._rules if each is not rule]

    def keep_time(self) -> None:
        """Set the kernel's clock; its lock must be held, or time could step back."""
        self.kernel.now_s = time.monotonic() + self._ahead_s

    def wait_for_quiet(self) -> None:
        """Wait for a moment between two looks at what can be set.

        A write that falls between a program's look and its own write cannot be noticed at all.
        """
        end_s = time.monotonic() + 20 * QUIET_S
        while time.monotonic() - self._touched_s < QUIET_S and time.monotonic() < end_s:
            time.sleep(QUIET_S / 10)

    def access(self, operation: str, path: str, value: str = "") -> Any:
        """Do what `FakeKernel.access` does."""
        self.accesses += 1
        rules = self._rules
        real = path if operation == "run" else self.kernel.real_path(path)
        if SETTABLE.search(real):
            self._touched_s = time.monotonic()
        mine = [rule for rule in rules if rule.matches(real)] if operation != "glob" else []
        answer = None
        for rule in mine:
            if operation in rule.operations:
                time.sleep(rule.delay_s)
                answer = answer or rule
            if rule.hides and operation in ("exists", "is_writable"):
                return False
            if rule.hides and operation in ("read", "write"):
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if rule.closes and operation == "is_writable":
                return False
        if answer is not None and answer.code:
            raise OSError(answer.code, os.strerror(answer.code), path)
        with self.kernel._lock:
            self.keep_time()
            result = self.kernel.access(operation, path, value)
        if operation == "glob":
            return [found for found in result if not self._is_hidden(found, rules)]
        if answer is not None and answer.text is not None:
            return answer.text
        return answer.change(result) if answer is not None and answer.change else result

    def _is_hidden(self, path: str, rules: list[FaultRule]) -> bool:
        hiding = [rule for rule in rules if rule.hides]
        return bool(hiding) and any(rule.matches(self.kernel.real_path(path)) for rule in hiding)
