"""Links, servers and clocks that misbehave: every request gets its own answer, once.

And estimates stay bounded, and are right again afterwards.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.live import link as live_link
from benchmarks.live.estimates import undisturbed
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.edge.server_speed import FASTEST, SLOWEST
from partition.transport import wire
from tests.partition.netns import CLOUD_ADDRESS, REPOSITORY, Namespaces

RATE_BPS, RTT_S = 20e6, 0.01
BEGIN_S, END_S, SECONDS = 4.5, 6.5, 10.0
"""Of the bad time, from the start of the relay on; and of the edge, which starts a bit later."""
DEADLINE_S = 0.3


@pytest.fixture
def namespaces():
    if not (os.geteuid() == 0 and live_link.TUN.exists()):
        pytest.skip("rough links need root and /dev/net/tun")
    with Namespaces(cable=False) as namespaces:
        yield namespaces


def over_a_link(namespaces, model, kind):
    """What an edge got over a link with a bad time."""
    ends = (namespaces.edge, namespaces.cloud)
    server = namespaces.popen(
        namespaces.cloud,
        "partition.server",
        *("--model", model, "--listen", f"{CLOUD_ADDRESS}:0", "--insecure"),
    )
    rough = (RATE_BPS, RTT_S, kind, BEGIN_S, END_S)
    relay = namespaces.popen(namespaces.edge, "tests.partition.rough_relay", *ends, *rough)
    assert relay.stdout.readline() == "ready\n", relay.stderr.read()
    address = address_of(server)
    edge = namespaces.popen(namespaces.edge, "tests.partition.rough_edge", model, address, SECONDS)
    return result_of(edge)


def address_of(server):
    line = server.stdout.readline()
    found = re.search(r"[\d.]+:\d+", line)
    assert found, line + server.stderr.read()
    return found[0]


def result_of(edge):
    printed, errors = edge.communicate(timeout=60)
    assert edge.returncode == 0, errors
    return json.loads(printed.splitlines()[-1])


def check_answers(found):
    """Every request got its own answer, in the end from the cloud again."""
    answers = found["answers"]
    assert len(answers) > 0.7 * 20 * (SECONDS - 2.0)
    assert all(is_own for _, is_own, _, _ in answers)
    # The edge may have begun some seconds after the relay.
    assert {where for _, _, where, _ in answers[-20:]} == {"cloud"}
    # None waited for longer than it was to, and for the board to finish.
    assert max(took_s for *_, took_s in answers) < 2.0 * DEADLINE_S


def check_readings(found):
    rates_bps, rtts_s, flops = np.array(found["readings"]).T[1:]
    assert rates_bps.min() >= 1e4
    assert rates_bps.max() <= 1e10
    assert rtts_s.max() <= 2.5
    assert flops.min() >= SLOWEST
    assert flops.max() <= FASTEST


@pytest.mark.parametrize("kind", ["stall", "reorder", "duplicate"])
def test_a_rough_link_costs_no_answer_and_bends_no_estimate_for_long(namespaces, tiny, kind):
    with undisturbed():
        found = over_a_link(namespaces, tiny.path, kind)
    check_answers(found)
    check_readings(found)
    assert (
        0.6 * RATE_BPS < np.median([bps for _, bps, *_ in found["readings"][-4:]]) < 1.6 * RATE_BPS
    )
    assert RTT_S < found["readings"][-1][2] < 4.0 * RTT_S
    n_on_the_edge = sum(where == "edge" for _, _, where, _ in found["answers"])
    assert (n_on_the_edge > 5) == (kind == "stall")


# Adds seconds to the wall clock of a process from some time after its start on; what only grows,
# CLOCK_MONOTONIC, is left alone, as when a clock is set.
_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static struct timespec began;
static long jump_s(void) {
    struct timespec now;
    const char *by = getenv("JUMP_BY_S"), *after = getenv("JUMP_AFTER_S");
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    if (!began.tv_sec) began = now;
    return by && after && now.tv_sec - began.tv_sec >= atol(after) ? atol(by) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += jump_s();
    return failed;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a wall clock that jumps needs a C compiler")
    path = tmp_path_factory.mktemp("shim") / "jump.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(path), "-x", "c", "-", "-ldl"]
    subprocess.run(command, input=_SHIM, text=True, check=True, timeout=60)
    return path


def start(module, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("by_s", [3_600, -3_600])
@pytest.mark.parametrize("whose", ["edge", "server"])
def test_a_wall_clock_that_jumps_by_an_hour_changes_nothing(shim, tiny, by_s, whose):
    jump = {"LD_PRELOAD": str(shim), "JUMP_AFTER_S": "4", "JUMP_BY_S": str(by_s)}
    listen = ("--model", tiny.path, "--listen", "127.0.0.1:0", "--insecure")
    server = start("partition.server", *listen, **(jump if whose == "server" else {}))
    try:
        address = address_of(server)
        edge = start(
            *("tests.partition.rough_edge", tiny.path, address, 6.0),
            **(jump if whose == "edge" else {}),
        )
        found = result_of(edge)
    finally:
        server.kill()
        server.wait(10)
        server.stdout.close()
        server.stderr.close()
    answers = found["answers"]
    assert len(answers) > 80
    assert all(is_own for _, is_own, _, _ in answers)
    assert sum(where == "cloud" for _, _, where, _ in answers) > 0.9 * len(answers)
    check_readings(found)


class TestLies:
    """A server that lies about its computing time."""

    @pytest.fixture
    def lie(self, monkeypatch):
        """Lets the server claim a time."""
        honest = wire.pack_reply
        claimed = {}

        def pack(reply):
            return honest(replace(reply, **claimed))

        monkeypatch.setattr(wire, "pack_reply", pack)
        return claimed

    def ask(self, pipeline, image, expected, n):
        """So many requests, each of which must get its own answer; those from the cloud."""
        results = [pipeline.infer(image, Route(0), 1.0) for _ in range(n)]
        for result in results:
            assert np.abs(result.logits - expected).max() < 0.1 * np.abs(expected).max()
        return [result for result in results if result.reply is not None]

    @pytest.mark.parametrize("claimed_s", [0.0, 1e-300, 0.5, 3_600.0, 1e9, 1e300])
    def test_a_claimed_time_bends_no_estimate_and_keeps_nobody_away(
        self, tiny, runtime, image, server, lie, claimed_s
    ):
        expected = runtime.whole((image,))[0]
        with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
            pipeline = SplitPipeline(tiny, runtime, client)
            assert self.ask(pipeline, image, expected, 10)
            known_bps = client.link.rate_bps
            lie["compute_s"] = claimed_s
            told = self.ask(pipeline, image, expected, 20)
            assert len(told) > 15
            assert all(result.reply.compute_s <= result.away_s for result in told)
            assert known_bps / 30.0 < client.link.rate_bps <= 1e10
            assert 0.0 < client.link.rtt_s < 1.0
            assert SLOWEST <= client.server_flops_per_s(1e9) <= FASTEST
            lie.clear()
            assert len(self.ask(pipeline, image, expected, 20)) == 20
            true_flops = tiny.split_points[0].tail.flops / 1e-4
            assert client.server_flops_per_s(1e9) < 300.0 * true_flops

    @pytest.mark.parametrize("claimed_s", [-1.0, math.nan, math.inf, -math.inf])
    def test_what_is_no_time_is_refused_and_the_board_finishes(
        self, tiny, runtime, image, server, lie, claimed_s
    ):
        expected = runtime.whole((image,))[0]
        with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
            pipeline = SplitPipeline(tiny, runtime, client)
            lie["compute_s"] = claimed_s
            assert self.ask(pipeline, image, expected, 5) == []
            lie.clear()
            assert len(self.ask(pipeline, image, expected, 5)) == 5
