"""A daemon under faults for a while: it must not end, must answer, and leave what it found."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.soak.applications import Applications
from benchmarks.soak.cloud import Cloud, ProxyTrap, RoughLink
from benchmarks.soak.faults import Fault, SoakSurroundings
from benchmarks.soak.kinds import AT_START, KINDS, OF_JETSONS
from benchmarks.soak.ledger import Ledger, examples
from benchmarks.soak.machine import Machine
from benchmarks.soak.programs import Launcher, Program
from benchmarks.soak.runs import restless_run
from partition.model.folder import ModelFolder

PAUSE_S = (0.6, 2.8)
"""Between the beginnings of two faults."""
SERVES_WITHIN_S = 60.0
RECOVERS_WITHIN_S = 30.0
SILENCE_S = 10.0
"""Between two answers, while several applications ask all the time; longer than faults that stop
the daemon itself, shorter than some in which others merely crowd it."""
REST_S = 3.0
"""Without faults at the end; the daemon has to have noticed what others changed last."""
GROUP_REST_S = 1.5
"""Between two faults of a group: control steps in which the daemon sees one end, or stay."""
JOURNAL_BYTES = 64 * 1024
POWER_SHARE = 0.35
"""By which the mean power that is reported may miss the range of the true one."""
_TICK_S = 0.05
_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class SoakPlan:
    """What to do.

    Attributes:
        kinds: of faults, by name.
        seconds: that they are drawn for.
        seed: of what is drawn.
        board: fake board.
        hold: how clocks are held.
    """

    kinds: Sequence[str]
    seconds: float
    seed: int = 0
    board: str = "jetson-orin-nano-super"
    hold: str = "cap"


@dataclass
class SoakReport:
    """What came of it.

    Attributes:
        findings: what must not be, in words; empty if all is well.
        drawn: faults by kind.
        answered: requests.
        table: of callers and outcomes.
        cuts: requests by the cut they were served at, as the daemon says.
        n_writes: that the daemon made to kernel files.
        diagnosis: the last faults and what the daemon wrote, if there are findings.
    """

    findings: list[str] = field(default_factory=list)
    drawn: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    table: str = ""
    cuts: dict[str, int] = field(default_factory=dict)
    n_writes: int = 0
    diagnosis: str = ""


class Weather:
    """Draws faults and lets them happen, each in a thread of its own.

    Args:
        plan: which and how long.
        around: what they get at.
        log: file that each beginning and end is written to, a line of JSON each.
    """

    def __init__(self, plan: SoakPlan, around: SoakSurroundings, log: Path) -> None:
        self.drawn: Counter[str] = Counter()
        self.last: list[str] = []
        self.failures: list[str] = []
        self._around, self._log = around, log
        self._draw = random.Random(plan.seed)
        left_out = () if around.machine.has_modes else OF_JETSONS
        self._kinds = [name for name in plan.kinds if name in KINDS and name not in left_out]
        self._deck: list[str] = []
        self._began_s = time.monotonic()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._busy: set[str] = set()
        self._turn = threading.Lock()

    def next(self) -> float:
        """Begin the next fault once its group is free; returns the pause after it, s."""
        if not self._kinds:
            return _TICK_S
        if not self._deck:  # each kind as often as any other
            self._deck = self._draw.sample(self._kinds, len(self._kinds))
        name = self._deck.pop()
        fault = replace(KINDS[name](self._draw, self._around), kind=name)
        pause_s = self._draw.uniform(*PAUSE_S)
        while fault.group in self._busy and not self._over.is_set():
            time.sleep(_TICK_S)
        if fault.group:
            self._busy.add(fault.group)
        self.drawn[name] += 1
        thread = threading.Thread(target=self._happen, args=(fault,), daemon=True)
        thread.start()
        self._threads.append(thread)
        return pause_s

    def end(self) -> None:
        """End what goes on."""
        self._over.set()
        for thread in self._threads:
            thread.join(SERVES_WITHIN_S)

    def _happen(self, fault: Fault) -> None:
        self._note("begins", fault)
        try:
            fault.begin()
            self._over.wait(fault.seconds)
            fault.end()
        except Exception:  # of this program; reported at the end
            self.failures.append(f"{fault.kind} could not happen: {traceback.format_exc()}")
        self._note("ends", fault)
        if fault.group:
            self._over.wait(GROUP_REST_S)
            self._busy.discard(fault.group)

    def _note(self, event: str, fault: Fault) -> None:
        at_s = round(time.monotonic() - self._began_s, 3)
        line = {"at_s": at_s, "event": event, "kind": fault.kind, "what": fault.what}
        with self._turn:
            self.last = [*self.last, f"{at_s:8.2f} s  {event:6}  {fault.kind}: {fault.what}"][-12:]
            with self._log.open("a") as file:
                file.write(json.dumps({**line, "seconds": fault.seconds}) + "\n")


def soak(model: Path, plan: SoakPlan, scratch: Path, log: Path) -> SoakReport:
    """Run a daemon under faults.

    Args:
        model: folder of a network.
        plan: what to do.
        scratch: an empty folder.
        log: where faults are written down, row by row.
    """
    folder = ModelFolder.open(model)
    run = restless_run(plan.board, folder, scratch)
    report, ledger = SoakReport(), Ledger()
    with ExitStack() as stack:
        machine = stack.enter_context(Machine(plan.board, scratch, plan.seed))
        can_fill = stack.enter_context(small_disk(machine.journal))
        trap = stack.enter_context(ProxyTrap())
        cloud = Cloud(model)
        stack.callback(cloud.kill)
        link = stack.enter_context(RoughLink(("127.0.0.1", cloud.port), plan.seed))
        if "late-cloud" not in plan.kinds:
            cloud.start()
        address = free_address()
        daemon = Launcher(scratch).cold(
            machine,
            "deploy",
            daemon_options(run, plan.hold, address, link.port),
            trap.environment if "proxy" in plan.kinds else None,
        )
        stack.callback(daemon.close)
        known = examples(folder)
        applications = Applications(address, model, known, ledger, plan.seed)
        around = SoakSurroundings(machine, daemon, cloud, link, applications, can_fill)
        weather = Weather(plan, around, log)
        with applications:
            _endure(plan, around, weather, ledger, report)
            _finish(around, ledger, report)
        if trap.visits:
            report.findings.append(f"http_proxy was asked {trap.visits} times")
        report.drawn = weather.drawn + Counter(k for k in plan.kinds if k in AT_START)
        report.answered, report.table = ledger.n_answered, ledger.table()
        report.findings += ledger.violations + weather.failures
        if ledger.longest_silence_s > SILENCE_S:
            report.findings.append(f"no answer for {ledger.longest_silence_s:.1f} s")
        report.n_writes = len(machine.kernel.writes)
        if report.findings:
            last = "\n".join(weather.last[-2 * _SHOWN :])
            report.diagnosis = (
                f"last faults:\n{last}\nthe daemon's own words:\n{daemon.complaints()}"
            )
    return report


def _endure(
    plan: SoakPlan, around: SoakSurroundings, weather: Weather, ledger: Ledger, report: SoakReport
) -> None:
    """Let faults happen until the time is up or the daemon has ended."""
    daemon = around.daemon
    if "late-cloud" in plan.kinds:
        daemon.wait(REST_S)
        around.cloud.start()
    give_up_s = time.monotonic() + SERVES_WITHIN_S
    while not ledger.last_answer_s and daemon.is_alive and time.monotonic() < give_up_s:
        time.sleep(_TICK_S)
    if not ledger.last_answer_s:
        report.findings.append("the daemon never answered")
        return
    end_s = next_s = time.monotonic()
    end_s += plan.seconds
    while daemon.is_alive and (now_s := time.monotonic()) < end_s:
        if now_s >= next_s:
            next_s = time.monotonic() + weather.next()
        time.sleep(_TICK_S)
    weather.end()


def _finish(around: SoakSurroundings, ledger: Ledger, report: SoakReport) -> None:
    """Without faults it must serve, end when told, and have left the board as others set it."""
    daemon, machine = around.daemon, around.machine
    machine.bring_online()
    daemon.wait(REST_S)
    if daemon.is_alive:
        if not around.applications.is_served(RECOVERS_WITHIN_S):
            report.findings.append(f"not one answer in {RECOVERS_WITHIN_S:g} s without faults")
        ledger.stopping_s = time.monotonic()
        daemon.send(signal.SIGTERM)
        code = daemon.wait()
        if code != 0:
            report.findings.append("it does not end" if code is None else f"exit code {code}")
    else:
        report.findings.append(f"the daemon ended by itself, exit code {daemon.code}")
    report.findings += [f"left behind: {words}" for words in machine.differences()]
    if "Traceback" in daemon.complaints():
        report.findings.append("a traceback")
    if daemon.code == 0:
        _check_summary(daemon, machine, ledger, report)


def _check_summary(daemon: Program, machine: Machine, ledger: Ledger, report: SoakReport) -> None:
    """What the daemon says at its end, against what is known."""
    try:
        summary = json.loads(daemon.printed()[-1])
    except (IndexError, ValueError):
        report.findings.append("its last line is no JSON")
        return
    report.cuts = summary["requests_per_cut"]
    if summary["requests"] < ledger.n_answered:
        words = f"{ledger.n_answered} answers came, it counts {summary['requests']}"
        report.findings.append(words)
    mean_w = summary["energy_j"] / summary["duration_s"]
    low_w, high_w = machine.range_w
    if not (1.0 - POWER_SHARE) * low_w <= mean_w <= (1.0 + POWER_SHARE) * high_w:
        report.findings.append(f"it reports {mean_w:.3g} W, true are {low_w:.2f} to {high_w:.2f} W")


def daemon_options(run: Path, hold: str, address: str, cloud_port: int) -> list[object]:
    """Arguments of deploy.py."""
    options = ["--run", run, "--board", "linux", "--hold", hold, "--json"]
    return [*options, "--listen", address, "--cloud", f"127.0.0.1:{cloud_port}"]


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Make a folder a small file system of its own, where this user may; says whether it is."""
    folder.mkdir(parents=True)
    options = f"size={JOURNAL_BYTES},mode=0755"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    is_mounted = not subprocess.run(command, capture_output=True, check=False).returncode
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free_address() -> str:
    """An address of this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"
