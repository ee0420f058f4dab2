"""Many draws of damage to one file, and what became of each: nothing may hang or be lost."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

LONGEST_S = 60.0
"""Of one draw: a preparation that takes longer hangs."""
ENDS = ("refused", "prepared", "traceback", "crash", "hang")
PASSED = {"refused", "prepared"}


@dataclass
class Outcome:
    """How often the command ended in which way."""

    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """Of draws that ended in another way than allowed."""
    sentences: list[str] = field(default_factory=list)

    @property
    def draws(self) -> int:
        return self.ends.total()


def outcome_of(
    path: Path, options: list[str], draws: int, budget_s: float, beside: list[Path]
) -> Outcome:
    """Damage a file again and again and prepare it.

    Args:
        path: a sound file.
        options: for the command.
        draws: how often.
        budget_s: no draw is begun after so many seconds.
        beside: files that lie next to it.
    """
    outcome = Outcome()
    due_s = time.monotonic() + budget_s
    with tempfile.TemporaryDirectory(prefix="damage-") as scratch:
        folder = Path(scratch)
        shutil.copy(path, folder / "sound.onnx")
        for other in beside:
            shutil.copy(other, folder)
        first = 0
        while first < draws and time.monotonic() < due_s:
            first = _child(folder, options, first, draws, due_s, outcome)
    return outcome


def _child(
    folder: Path, options: list[str], first: int, end: int, due_s: float, outcome: Outcome
) -> int:
    """One process until it is through, lost, hangs or the time is up; the draw to go on with."""
    command = [sys.executable, "-m", "benchmarks.models.damage.child", str(folder), str(first)]
    with subprocess.Popen(
        [*command, str(end)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as child:
        try:
            child.stdin.write(json.dumps(options).encode())
            child.stdin.close()
            return _followed(child, first, due_s, outcome)
        finally:
            child.kill()


def _followed(child: subprocess.Popen[bytes], first: int, due_s: float, outcome: Outcome) -> int:
    draw = first
    for line in _lines(child):
        if line is None:
            _note(outcome, "hang", draw, f"longer than {LONGEST_S:g} s")
            return draw + 1
        report = json.loads(line)
        if "draw" in report:
            draw = report["draw"]
            continue
        _note(outcome, report["end"], draw, report["told"])
        first = draw + 1
        if time.monotonic() > due_s:
            return first
    code = child.wait()
    if code == 0:
        return first
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    _note(outcome, "crash", draw, name)
    return draw + 1


def _note(outcome: Outcome, end: str, draw: int, told: str) -> None:
    outcome.ends[end] += 1
    if end == "refused":
        outcome.sentences.append(told)
    elif end not in PASSED:
        outcome.failures.append(f"draw {draw}: {end}: {' '.join(told.split())}")


def _lines(child: subprocess.Popen[bytes]):
    """What the child says, line by line; None once it is silent for too long."""
    held = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(LONGEST_S):
                yield None
                return
            more = os.read(child.stdout.fileno(), 65536)
            if not more:
                return
            *lines, held = (held + more).split(b"\n")
            yield from lines
