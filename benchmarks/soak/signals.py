"""Signals at random moments of a daemon's life, from its first instruction to its last.

Seven kinds:

- `term`, `int`, `hup`, `quit`: one SIGTERM, SIGINT, SIGHUP or SIGQUIT. The daemon gives the board
  back itself: exit code 0 while it serves, 130 before, and death by the signal only as long as
  deploy.py has not got as far as to handle it;
- `kill`: SIGKILL. `python -m hw.restore`, or the next daemon's start, gives the board back;
- `stop`: SIGSTOP, SIGCONT up to a second later, then SIGTERM;
- `twice`: a second signal while the first is being dealt with.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.soak.cloud import Cloud
from benchmarks.soak.machine import Machine
from benchmarks.soak.programs import Launcher, Program
from benchmarks.soak.runs import restless_run
from benchmarks.soak.soak import daemon_options, free_address
from partition.model.folder import ModelFolder

COLD_SHARE = 0.05
"""Of the signals that are sent to daemons that were started as a user does."""
ENDING = {
    "term": signal.SIGTERM,
    "int": signal.SIGINT,
    "hup": signal.SIGHUP,
    "quit": signal.SIGQUIT,
}
KINDS = (*ENDING, "kill", "stop", "twice")
HOLDS = ("cap", "pin")
N_WORKERS = 2
GRACE_CPU_S = 0.1
"""Processor time from deploy.py's first line until it handles signals; Python traces until then."""
LIVES_S = {False: (0.4, 2.2), True: (1.2, 4.0)}
"""Times within which signals come, s, for a warm and for a cold start: half of them while it
starts, half of them until it has served for a second or two."""
SECOND_WITHIN_S = 0.4


@dataclass
class SignalReport:
    """What came of the signals.

    Attributes:
        findings: what must not be, in words.
        ends: exit codes by kind of signal.
        n_changed: trials in which clocks had been changed before the signal.
    """

    findings: list[str] = field(default_factory=list)
    ends: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    n_changed: int = 0

    @property
    def table(self) -> str:
        """Kinds and exit codes."""
        rows = []
        for kind, ends in sorted(self.ends.items()):
            codes = ", ".join(f"{n} x {code}" for code, n in ends.most_common())
            rows.append(f"{kind:<6} {sum(ends.values()):>5}: {codes}")
        return "\n".join([*rows, f"clocks had been changed in {self.n_changed}"])


@dataclass(frozen=True)
class SignalTrial:
    """One signal.

    Attributes:
        number: which one.
        kind: see the module.
        is_cold: whether the daemon is started as a user does.
        hold: how it holds clocks.
        after_s: since the start.
        second: signal that follows, or that ends it after SIGSTOP.
        second_s: how long after the first.
        by_restore: whether hw.restore gives the board back after SIGKILL, not the next start.
        is_giving_back: whether SIGKILL meets a daemon that was told to end.
    """

    number: int
    kind: str
    is_cold: bool
    hold: str
    after_s: float
    second: int
    second_s: float
    by_restore: bool
    is_giving_back: bool


def draw_trials(n_signals: int, n_cold: int, seed: int) -> list[SignalTrial]:
    """Trials of all kinds in equal numbers, cold starts spread among them."""
    draw = random.Random(seed)
    cold = set(draw.sample(range(n_signals), n_cold))
    return [
        SignalTrial(
            number,
            KINDS[number % len(KINDS)],
            number in cold,
            draw.choice(HOLDS),
            draw.uniform(0.0, draw.choice(LIVES_S[number in cold])),
            draw.choice(sorted(ENDING.values())),
            draw.uniform(0.0, SECOND_WITHIN_S),
            draw.random() < 0.5,
            draw.random() < 0.5,
        )
        for number in range(n_signals)
    ]


def send_signals(
    model: Path, scratch: Path, log: Path, n_signals: int, n_cold: int, seed: int, board: str
) -> SignalReport:
    """Send signals to daemons over fake boards, two at a time.

    Args:
        model: folder of a network.
        scratch: an empty folder.
        log: where signals are written down, row by row.
        n_signals: in all.
        n_cold: of them to daemons that are started as a user does; the others are forked.
        seed: of kinds and moments.
        board: fake board.
    """
    report, lock = SignalReport(), threading.Lock()
    todo = iter(draw_trials(n_signals, n_cold, seed))
    with ExitStack() as stack:
        run = restless_run(board, ModelFolder.open(model), scratch)
        cloud = stack.enter_context(Cloud(model))
        launcher = stack.enter_context(Launcher(scratch))

        def work(number: int) -> None:
            place = scratch / f"machine-{number}"
            place.mkdir()
            with Machine(board, place, seed + number) as machine:
                bench = SignalBench(machine, launcher, run, cloud.port, report, lock, log)
                while True:
                    with lock:
                        trial = next(todo, None)
                    if trial is None:
                        return
                    bench.send(trial)

        pool = stack.enter_context(ThreadPoolExecutor(N_WORKERS))
        for done in [pool.submit(work, number) for number in range(N_WORKERS)]:
            done.result()
    return report


class SignalBench:
    """A machine on which one daemon after the other gets its signal."""

    def __init__(
        self,
        machine: Machine,
        launcher: Launcher,
        run: Path,
        cloud_port: int,
        report: SignalReport,
        lock: threading.Lock,
        log: Path,
    ) -> None:
        self._machine, self._launcher, self._run = machine, launcher, run
        self._cloud_port, self._report, self._lock, self._log = cloud_port, report, lock, log

    def send(self, trial: SignalTrial) -> None:
        """Start a daemon, send it its signal, and look at what it leaves."""
        n_writes, n_accesses = len(self._machine.kernel.writes), self._machine.gate.accesses
        start = self._launcher.cold if trial.is_cold else self._launcher.warm
        daemon = start(self._machine, "deploy", self._arguments(trial.hold))
        found: list[str] = []
        try:
            daemon.wait(trial.after_s)
            if not daemon.is_alive:
                found.append(f"it ended by itself, exit code {daemon.code}")
            own_cpu_s = daemon.own_cpu_s()
            self._strike(trial, daemon)
            code = daemon.wait()
            if code is None:
                found.append("it does not end")
                daemon.close()
            was_changed = len(self._machine.kernel.writes) > n_writes
            has_asked = self._machine.gate.accesses > n_accesses
            if not _is_end_of(trial, code, has_asked, own_cpu_s > GRACE_CPU_S):
                found.append(f"exit code {code}")
            if "Traceback" in daemon.complaints() and own_cpu_s > GRACE_CPU_S:
                found.append("a traceback")
            if trial.kind == "kill":
                found += self._give_back(trial)
            found += [f"left behind: {words}" for words in self._machine.differences()]
        finally:
            daemon.close()
        with self._lock:
            self._report.ends[trial.kind][str(code)] += 1
            self._report.n_changed += was_changed
            with self._log.open("a") as file:
                file.write(json.dumps({**asdict(trial), "code": code, "found": found}) + "\n")
            if found:
                words = "; ".join(found)
                self._report.findings.append(f"{trial}: {words}\n{daemon.complaints()[-1500:]}")
        for stream in (daemon.output, daemon.errors):
            stream.unlink(missing_ok=True)

    def _strike(self, trial: SignalTrial, daemon: Program) -> None:
        """Send the signal, or both."""
        if trial.kind in ENDING:
            daemon.send(ENDING[trial.kind])
        elif trial.kind == "kill":
            if trial.is_giving_back:
                daemon.send(signal.SIGTERM)
                daemon.wait(trial.second_s)
            daemon.send(signal.SIGKILL)
        elif trial.kind == "stop":
            daemon.send(signal.SIGSTOP)
            time.sleep(2.0 * trial.second_s)
            daemon.send(signal.SIGCONT)
            daemon.send(trial.second)
        else:
            daemon.send(signal.SIGTERM)
            daemon.wait(trial.second_s)
            daemon.send(trial.second)

    def _give_back(self, trial: SignalTrial) -> list[str]:
        """Let hw.restore, or the next daemon, give the board back after SIGKILL."""
        program, arguments = "restore", []
        if not trial.by_restore:
            program = "deploy"
            arguments = [*self._arguments(trial.hold), "--duration", 0.3]
        helper = self._launcher.warm(self._machine, program, arguments)
        code = helper.wait()
        helper.close()
        return [] if code == 0 else [f"{program} ended with {code}: {helper.complaints()}"]

    def _arguments(self, hold: str) -> list[object]:
        return daemon_options(self._run, hold, free_address(), self._cloud_port)


def _is_end_of(trial: SignalTrial, code: int | None, has_asked: bool, is_under_way: bool) -> bool:
    """Whether a daemon may end so.

    Args:
        trial: what it was sent.
        code: its exit code.
        has_asked: whether it had asked the kernel anything: then it has to handle signals.
        is_under_way: whether it had come so far that no signal may show as an error.
    """
    signals = set(ENDING.values())
    if trial.kind == "kill" and code == -signal.SIGKILL:
        return True
    if code in (0, *(128 + number for number in signals)):
        return True
    if not has_asked and code in {-number for number in signals}:
        return True
    return not is_under_way and code == 1
