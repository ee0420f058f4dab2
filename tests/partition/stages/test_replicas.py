"""Stages with replicas: frames are dealt to them and come back in order, whatever is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from partition.model.runtime import random_inputs
from partition.placement.cluster import Cluster, Device
from partition.placement.solver.problem import build_problem
from partition.placement.solver.solve import PlacementObjective, solve
from partition.stages.errors import StageError, StageLostError
from partition.stages.frame_sender import FrameSender
from partition.stages.pipeline_driver import PipelineDriver
from partition.stages.server import SessionServer, StageServer
from partition.stages.session import StageSession, StageSpec
from partition.stages.stage_model import CutCodec

REPOSITORY = Path(__file__).parents[3]
SLOW_S, QUICK_S = 0.1, 0.005
"""Of the slowest block of a network, and of its others."""


class Paced:
    """A device of a plan: a process that computes for as long as the plan says."""

    def __init__(self, folder, seconds):
        command = [sys.executable, "-m", "tests.partition.stages.paced_stage"]
        self._process = subprocess.Popen(
            [*command, str(folder.path), str(seconds)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._process.stdout.readline().strip()

    @property
    def is_alive(self):
        return self._process.poll() is None

    def kill(self):
        self._process.kill()
        self._process.wait(10)

    def end(self):
        self.kill()
        self._process.stdout.close()


@pytest.fixture
def paced(tiny):
    """Starts the devices of a plan; they end with the test."""
    started = []

    def start(plan):
        processes = {}
        for stage in plan.stages:
            for device in stage.devices:
                processes[device] = Paced(tiny, stage.compute_s)
                started.append(processes[device])
        return processes

    yield start
    for process in started:
        process.end()


@pytest.fixture
def four(tiny):
    with (
        StageServer(tiny, "127.0.0.1:0") as a,
        StageServer(tiny, "127.0.0.1:0") as b,
        StageServer(tiny, "127.0.0.1:0") as c,
        StageServer(tiny, "127.0.0.1:0") as d,
    ):
        yield a, b, c, d


def plan_of(folder, n_devices):
    """The best plan where the middle block takes much longer than the others together."""
    block_s = [QUICK_S] * (len(folder.cuts) - 1)
    block_s[len(block_s) // 2] = SLOW_S
    rate_bps = np.full((n_devices, n_devices), 1e9)
    np.fill_diagonal(rate_bps, 0.0)
    devices = tuple(
        Device(name=f"d{i}", memory_bytes=10**9, reserve_bytes=0, block_s=tuple(block_s))
        for i in range(n_devices)
    )
    cluster = Cluster(
        name="test", devices=devices, rate_bps=rate_bps, delay_s=np.zeros_like(rate_bps)
    )
    return solve(build_problem(folder, cluster), PlacementObjective(max_replicas=2))


def hops_of(plan, processes):
    """The stages of a plan on those of its devices that live."""
    return tuple(
        StageSpec(
            tuple(processes[d].address for d in stage.devices if processes[d].is_alive),
            stage.start,
            stage.end,
        )
        for stage in plan.stages
    )


def frames(folder, n):
    return (random_inputs(folder, seed=seed) for seed in range(n))


def check(folder, runtime, results, n):
    assert len(results) == n
    for seed, result in enumerate(results):
        whole = runtime.whole(random_inputs(folder, seed=seed))
        for got, expected in zip(result, whole, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def run(folder, runtime, route, n):
    """Frames per second once the line is full; every result is checked."""
    results, arrivals_s = [], []
    with PipelineDriver(folder, route) as line:
        for result in line.run(frames(folder, n)):
            results.append(result)
            arrivals_s.append(time.monotonic())
    check(folder, runtime, results, n)
    assert line.breaks == []
    steady_s = arrivals_s[len(route()) + 2 :]
    return (len(steady_s) - 1) / (steady_s[-1] - steady_s[0])


def test_a_planned_replica_brings_what_the_plan_says(tiny, runtime, paced):
    plan = plan_of(tiny, 3)
    (replicated,) = (stage for stage in plan.stages if len(stage.devices) == 2)
    assert plan.period_s == replicated.compute_s / 2
    processes = paced(plan)
    both = run(tiny, runtime, lambda: hops_of(plan, processes), 60)
    assert both > 0.8 / plan.period_s
    processes[replicated.devices[1]].kill()
    one = run(tiny, runtime, lambda: hops_of(plan, processes), 30)
    assert both > 1.6 * one


def test_the_others_take_the_share_of_a_killed_replica(tiny, runtime, paced):
    plan = plan_of(tiny, 3)
    (replicated,) = (stage for stage in plan.stages if len(stage.devices) == 2)
    processes = paced(plan)
    results = []
    with PipelineDriver(tiny, lambda: hops_of(plan, processes)) as line:
        for i, result in enumerate(line.run(frames(tiny, 40))):
            results.append(result)
            if i == 15:
                processes[replicated.devices[0]].kill()
    check(tiny, runtime, results, 40)
    (only,) = line.breaks
    assert only.ended_s - only.began_s < 10


@pytest.mark.parametrize(
    ("is_known", "says"), [(True, "a stage has no device left"), (False, "stage 127.0.0.1")]
)
def test_nobody_left_of_a_stage_is_said(tiny, paced, is_known, says):
    plan = plan_of(tiny, 3)
    (nth,) = (n for n, stage in enumerate(plan.stages) if len(stage.devices) == 2)
    processes = paced(plan)
    first = hops_of(plan, processes)
    with PipelineDriver(
        tiny, lambda: hops_of(plan, processes) if is_known else first, patience_s=2
    ) as line:
        results = line.run(frames(tiny, 40))
        next(results)
        for device in plan.stages[nth].devices:
            processes[device].kill()
        with pytest.raises(StageError, match=f"{says}.*; no result for 2 s"):
            list(results)


@pytest.mark.parametrize(
    "shape", [(2, 2), (1, 3), (3, 1), (4,)], ids=lambda shape: "-".join(map(str, shape))
)
def test_every_replica_takes_part_and_results_are_in_order(tiny, runtime, four, shape):
    cuts = np.linspace(0, len(tiny.cuts) - 1, len(shape) + 1).astype(int).tolist()
    addresses = iter([stage.address for stage in four])
    hops = tuple(
        StageSpec(tuple(next(addresses) for _ in range(n)), start, end)
        for n, start, end in zip(shape, cuts[:-1], cuts[1:], strict=True)
    )
    with PipelineDriver(tiny, lambda: hops) as line:
        results = list(line.run(frames(tiny, 60)))
    check(tiny, runtime, results, 60)
    assert line.breaks == []
    shares = [stage.statistics()["frames"] for stage in four]
    assert sum(shares) == 60 * len(shape)
    assert min(shares) > 0


def test_a_device_cannot_be_two_stages_of_a_line(tiny, four):
    address, last = (four[0].address,), len(tiny.cuts) - 1
    hops = (StageSpec(address, 0, 2), StageSpec(address, 2, last))
    with (
        PipelineDriver(tiny, lambda: hops) as line,
        pytest.raises(StageError, match="for two stages"),
    ):
        list(line.run(frames(tiny, 1)))


@pytest.fixture
def packed(tiny):
    """Number and message of a frame."""
    crossing = CutCodec(tiny, 0, "none")
    return lambda number: (number, crossing.pack(crossing.zeros(), number))


@pytest.fixture
def receivers():
    """Two ends of a line that take frames as they are told to."""
    taken = ([], [])

    def take(nth):
        def work(inlet):
            inlet.ready()
            for frame in inlet.frames():
                taken[nth].append(frame.number)
                time.sleep(0.05 * nth)

        return work

    with (
        SessionServer("127.0.0.1:0", take(0), dict) as quick,
        SessionServer("127.0.0.1:0", take(1), dict) as slow,
    ):
        yield (quick.address, slow.address), taken


def session_to(addresses, **changes):
    fields = {"number": 1, "fingerprint": "", "codec": "none", "queue_depth": 1}
    return StageSession(**fields | changes, hops=(StageSpec(addresses, 0, 1),), sink="127.0.0.1:1")


def test_a_replica_that_falls_behind_gets_fewer_frames(receivers, packed):
    addresses, (quick, slow) = receivers
    with FrameSender(session_to(addresses)) as outlet:
        outlet.wait_ready(10)
        for number in range(40):
            outlet.send(*packed(number))
            time.sleep(0.005)
        outlet.finish(10)
    assert sorted(quick + slow) == list(range(40))
    assert len(quick) > 2 * len(slow) > 0


def test_one_sender_too_many_is_refused(receivers):
    addresses, _ = receivers
    session = session_to(addresses[:1])
    with FrameSender(session) as first:
        first.wait_ready(10)
        with (
            FrameSender(session) as second,
            pytest.raises(StageError, match="1 senders got another"),
        ):
            second.wait_ready(10)


def test_a_stream_that_comes_after_the_end_is_refused(receivers):
    addresses, _ = receivers
    session = session_to(addresses[:1])
    with FrameSender(session) as outlet:
        outlet.wait_ready(10)
        outlet.finish(10)
    with FrameSender(session) as late, pytest.raises(StageLostError, match="session is over"):
        late.wait_ready(10)


def test_a_session_waits_for_all_its_senders(receivers, packed):
    addresses, (taken, _) = receivers
    session = session_to(addresses[:1], n_senders=2, queue_depth=3)
    with FrameSender(session) as first, FrameSender(session) as second:
        for outlet in (first, second):
            outlet.wait_ready(10)
        first.send(*packed(0))
        with pytest.raises(StageLostError, match="did not move"):
            first.finish(0.5)
        second.send(*packed(1))
        second.finish(10)
        first.finish(10)
    assert sorted(taken) == [0, 1]
