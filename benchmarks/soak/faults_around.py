"""Faults around the daemon: of its process, of the cloud and the link to it, of applications."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from benchmarks.soak.cloud import LIES
from benchmarks.soak.faults import Draw, Fault, SoakSurroundings

STAYS_S = 15.0
"""Time that a helper may take beyond a fault's own."""
_SPIN = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


def _meanwhile(what: str, seconds: float, act: Callable[[], object], group: str = "") -> Fault:
    """Something that is done in a thread of its own and takes its time."""
    pool = ThreadPoolExecutor(1)
    doing: list[Future[object]] = []

    def end() -> None:
        doing[0].result(STAYS_S)
        pool.shutdown()

    return Fault(
        what=what,
        seconds=seconds,
        begin=lambda: doing.append(pool.submit(act)),
        end=end,
        group=group,
    )


def stop(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The daemon loses the processor: a suspended laptop, a swapped-out page."""
    return Fault(
        what="SIGSTOP",
        seconds=draw.choice((0.1, 0.3, 0.7, 2.0)),
        begin=partial(around.daemon.send, signal.SIGSTOP),
        end=partial(around.daemon.send, signal.SIGCONT),
        group="process",
    )


def hog(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Other programs want all processors."""
    spinning: list[subprocess.Popen[bytes]] = []
    n = draw.choice((2, 4))

    def begin() -> None:
        spinning.extend(subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(n))

    def end() -> None:
        for process in spinning:
            process.kill()
            process.wait()

    return Fault(what=f"{n} busy loops", seconds=draw.uniform(1.0, 4.0), begin=begin, end=end)


# The cloud and the link


def cloud_killed(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The server dies and is started again."""
    return Fault(
        what="the cloud is killed",
        seconds=draw.uniform(0.5, 4.0),
        begin=around.cloud.kill,
        end=around.cloud.start,
        group="cloud",
    )


def cloud_stopped(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The server hangs."""
    return Fault(
        what="the cloud hangs",
        seconds=draw.uniform(0.5, 5.0),
        begin=around.cloud.stop,
        end=around.cloud.go_on,
        group="cloud",
    )


def cloud_lies(draw: random.Random, around: SoakSurroundings) -> Fault:
    """The server answers with what no network says."""
    lie = draw.choice(LIES)
    return Fault(
        what=f"the cloud lies: {lie}",
        seconds=draw.uniform(1.0, 4.0),
        begin=partial(around.cloud.say, lie),
        end=partial(around.cloud.say, "honest"),
        group="cloud",
    )


def _of_link(attribute: str, value: object, normal: object) -> Draw:
    def draw_fault(draw: random.Random, around: SoakSurroundings) -> Fault:
        return Fault(
            what=f"{attribute} of the link is {value}",
            seconds=draw.uniform(0.5, 5.0),
            begin=partial(setattr, around.link, attribute, value),
            end=partial(setattr, around.link, attribute, normal),
            group="link",
        )

    return draw_fault


def link_reset(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Every connection breaks."""
    return Fault(what="connections break", seconds=0.5, begin=around.link.reset, group="link")


# Applications


def crowd(draw: random.Random, around: SoakSurroundings) -> Fault:
    """Many applications ask at once."""
    n, seconds = draw.choice((12, 14, 20, 50)), draw.uniform(1.0, 3.0)
    act = partial(around.applications.crowd, n, seconds)
    return _meanwhile(f"{n} callers", seconds, act, "applications")


def malformed(draw: random.Random, around: SoakSurroundings) -> Fault:
    """An application asks what cannot be answered."""
    act = partial(around.applications.malformed, random.Random(draw.random()))
    return _meanwhile("malformed requests", 1.0, act)


def headers(draw: random.Random, around: SoakSurroundings) -> Fault:
    """An application opens calls and sends nothing."""
    seconds = draw.uniform(4.0, 14.0)
    act = partial(around.applications.headers_only, 120, seconds)
    return _meanwhile("120 calls without a message", seconds, act, "applications")


def mortal(draw: random.Random, around: SoakSurroundings) -> Fault:
    """An application dies while it waits."""
    seconds = draw.uniform(0.1, 1.0)
    act = partial(around.applications.die, seconds)
    return _meanwhile("an application dies", seconds + 2.0, act)


KINDS: dict[str, Draw] = {
    "stop": stop,
    "hog": hog,
    "cloud-killed": cloud_killed,
    "cloud-stopped": cloud_stopped,
    "cloud-lies": cloud_lies,
    "link-reset": link_reset,
    "link-swallows": _of_link("is_cut", value=True, normal=False),
    "link-scrambles": _of_link("scrambles", value=True, normal=False),
    "link-slow": _of_link("delay_s", 0.3, 0.0),
    "crowd": crowd,
    "malformed": malformed,
    "headers": headers,
    "mortal": mortal,
}
