"""Stages as processes on this machine: every frame once, in order, whatever is killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from partition.model.runtime import random_inputs
from partition.stages.errors import StageError, StageLostError
from partition.stages.pipeline_driver import PipelineDriver
from partition.stages.probe import PROBE_BYTES, link_rate_bps
from partition.stages.server import StageServer
from partition.stages.session import STATISTICS, StageSpec, method_path

REPOSITORY = Path(__file__).parents[3]


class Process:
    """A stage that can be killed and started again, elsewhere."""

    def __init__(self, folder):
        self._folder = folder
        self.start()

    def start(self):
        command = [sys.executable, "-m", "partition.stages", "--model", self._folder.path]
        self._process = subprocess.Popen(
            [*map(str, command), "--listen", "127.0.0.1:0"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._process.stdout.readline().split()[-1]

    def send(self, number):
        self._process.send_signal(number)

    def end(self):
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture
def processes(tiny):
    started = [Process(tiny) for _ in range(3)]
    yield started
    for process in started:
        process.end()


@pytest.fixture
def stages(tiny):
    with StageServer(tiny, "127.0.0.1:0") as a, StageServer(tiny, "127.0.0.1:0") as b:
        yield a, b


def hops_over(addresses, folder):
    """The network in equal parts."""
    cuts = np.linspace(0, len(folder.cuts) - 1, len(addresses) + 1).astype(int).tolist()
    return tuple(map(StageSpec, zip(addresses), cuts[:-1], cuts[1:]))


def inputs(folder, n, pace_s=0.0):
    for seed in range(n):
        time.sleep(pace_s)
        yield random_inputs(folder, seed=seed)


def check(folder, runtime, results, n):
    assert len(results) == n
    for seed, result in enumerate(results):
        whole = runtime.whole(random_inputs(folder, seed=seed))
        assert len(result) == len(whole)
        for got, expected in zip(result, whole, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_three_processes_give_what_the_network_gives(tiny, runtime, processes):
    hops = hops_over([process.address for process in processes], tiny)
    with PipelineDriver(tiny, lambda: hops) as line:
        check(tiny, runtime, list(line.run(inputs(tiny, 50))), 50)
    assert line.breaks == []


@pytest.mark.parametrize("victims", [[1], [0], [0, 1, 2]])
def test_killed_stages_lose_and_double_nothing(tiny, runtime, processes, victims):
    def route():
        return hops_over([process.address for process in processes], tiny)

    results = []
    with PipelineDriver(tiny, route) as line:
        for i, result in enumerate(line.run(inputs(tiny, 200, 0.005))):
            results.append(result)
            if i in (40, 120):
                for victim in victims:
                    processes[victim].send(signal.SIGKILL)
                for victim in victims:
                    processes[victim].end()
                    processes[victim].start()
    check(tiny, runtime, results, 200)
    assert len(line.breaks) >= 2
    assert all(each.ended_s - each.began_s < 10 for each in line.breaks)


@pytest.mark.parametrize("codec", ["none", "int8", "int4"])
def test_a_frame_that_is_not_finite_passes_and_so_do_the_others(tiny, runtime, stages, codec):
    frames = [random_inputs(tiny, seed=seed) for seed in range(3)]
    frames[1][0][0, 0, 0, 0] = -np.inf
    hops = hops_over([stage.address for stage in stages], tiny)
    with PipelineDriver(tiny, lambda: hops, codec=codec) as line:
        results = list(line.run(iter(frames)))
    for frame, result in zip(frames, results, strict=True):
        whole = runtime.whole(frame)[0]
        tolerance = 0.1 * np.abs(whole[np.isfinite(whole)]).max(initial=1.0)
        np.testing.assert_allclose(result[0], whole, atol=tolerance)


def test_a_stage_that_hangs_is_noticed(tiny, runtime, processes):
    def route():
        return hops_over([process.address for process in processes[:count]], tiny)

    count, results = 3, []
    with PipelineDriver(tiny, route, stall_s=3) as line:
        for i, result in enumerate(line.run(inputs(tiny, 60, 0.005))):
            results.append(result)
            if i == 20:
                processes[2].send(signal.SIGSTOP)
                count = 2
    check(tiny, runtime, results, 60)
    assert len(line.breaks) == 1


def test_back_pressure_reaches_the_source(tiny, stages):
    taken = []

    def counted():
        for seed in range(100):
            taken.append(seed)
            yield random_inputs(tiny, seed=seed)

    hops = hops_over([stage.address for stage in stages], tiny)
    with PipelineDriver(tiny, lambda: hops) as line:
        results = line.run(counted())
        next(results)
        time.sleep(1)
        # two stages with one frame each, two at each of three hops, and one in the caller's hand
        assert len(taken) <= 2 + 3 * 2 + 2
        assert len(list(results)) == 99


def test_quantised_tensors_cross_too(tiny, runtime, stages):
    hops = hops_over([stage.address for stage in stages], tiny)
    with PipelineDriver(tiny, lambda: hops, codec="int8") as line:
        results = list(line.run(inputs(tiny, 20)))
    whole = [runtime.whole(random_inputs(tiny, seed=seed)) for seed in range(20)]
    difference = np.abs(np.array(results) - np.array(whole))
    assert 0 < difference.mean() < 0.02 * np.std(whole)


def test_stages_move_while_frames_are_on_their_way(tiny, runtime, stages):
    a, b = (stage.address for stage in stages)
    orders = iter([[a, b], [b], [b, a]])
    results = []
    with PipelineDriver(tiny, lambda: hops_over(next(orders), tiny)) as line:
        for i, result in enumerate(line.run(inputs(tiny, 90, 0.002))):
            results.append(result)
            if i in (30, 60):
                line.renew("stages move")
    check(tiny, runtime, results, 90)
    assert [each.reason for each in line.breaks] == ["stages move"] * 2


def test_stages_that_move_while_they_are_asked_for_are_asked_again(tiny, runtime, stages):
    a, b = (stage.address for stage in stages)
    asked = []

    def route():
        asked.append([a, b] if not asked else [b])
        if len(asked) == 1:
            line.renew("stages move")
        return hops_over(asked[-1], tiny)

    with PipelineDriver(tiny, route) as line:
        check(tiny, runtime, list(line.run(inputs(tiny, 20))), 20)
    assert asked == [[a, b], [b]]
    assert line.breaks == []  # before the first result


def test_a_line_that_had_nothing_to_do_does_not_lose_patience(tiny, runtime, stages):
    hops = hops_over([stage.address for stage in stages], tiny)

    def frames():
        yield random_inputs(tiny, seed=0)
        time.sleep(1.0)
        line.renew("stages move")
        yield random_inputs(tiny, seed=1)

    with PipelineDriver(tiny, lambda: hops, patience_s=0.5) as line:
        check(tiny, runtime, list(line.run(frames())), 2)


def test_statistics_say_how_long_a_frame_takes_and_how_fast_the_link_is(tiny, stages):
    hops = hops_over([stage.address for stage in stages], tiny)
    found = {"rate_bps": None}
    # Many more frames than are under way at once: a stage at its end no longer knows its link.
    with (
        PipelineDriver(tiny, lambda: hops) as line,
        grpc.insecure_channel(stages[0].address) as channel,
    ):
        for i, _ in enumerate(line.run(inputs(tiny, 400))):
            if i == 35:
                give_up_s = time.monotonic() + 10.0
            while i == 35 and not found["rate_bps"]:  # news of arrivals are late on a busy machine
                assert time.monotonic() < give_up_s
                found = json.loads(channel.unary_unary(method_path(STATISTICS))(b""))
    assert found["frames"] >= 35
    assert 0 < found["busy_s"] < 0.1
    assert found["rate_bps"] > 1e6


def test_seconds_are_told_after_a_few_frames_and_are_of_the_session(tiny, stages):
    hops = hops_over([stages[0].address], tiny)
    assert stages[0].statistics()["session"] is None
    told = []
    for n in (3, 3):
        with PipelineDriver(tiny, lambda: hops) as line:
            list(line.run(inputs(tiny, n)))
            assert stages[0].statistics()["session"] == line.statistics()["session"]
        told.append(stages[0].statistics())
    assert [each["frames"] for each in told] == [3, 6]
    assert told[0]["busy_s"] is None
    assert told[1]["busy_s"] > 0
    assert told[1]["session"] > told[0]["session"]


def test_a_link_is_tried_without_a_session(stages):
    assert link_rate_bps(stages[0].address, 5.0) > 1e7
    with pytest.raises(StageLostError, match=r"127\.0\.0\.1:1 does not answer: UNAVAILABLE"):
        link_rate_bps("127.0.0.1:1", 5.0)


def test_a_link_that_gets_nothing_through_is_slow():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert link_rate_bps(address, 0.5) == 8 * PROBE_BYTES / 0.5


@pytest.mark.parametrize(("wrong", "says"), [((0, 99), "has cuts 0 to"), ((3, 5), "came to")])
def test_what_a_stage_refuses_is_not_tried_again(tiny, stages, wrong, says):
    begin_s = time.monotonic()
    hop = StageSpec((stages[0].address,), *wrong)
    with PipelineDriver(tiny, lambda: (hop,)) as line, pytest.raises(StageError, match=says):
        list(line.run(inputs(tiny, 3)))
    assert time.monotonic() - begin_s < 5


def test_another_network_is_refused(tiny, stages):
    other = replace(tiny, fingerprint="0123456789abcdef")
    hop = StageSpec((stages[0].address,), 0, 1)
    with (
        PipelineDriver(other, lambda: (hop,)) as line,
        pytest.raises(StageError, match="this device holds"),
    ):
        list(line.run(inputs(other, 1)))


def test_nobody_there_is_said_after_the_patience(tiny):
    hop = StageSpec(("127.0.0.1:1",), 0, 1)
    with (
        PipelineDriver(tiny, lambda: (hop,), patience_s=1) as line,
        pytest.raises(StageError, match="no res"),
    ):
        list(line.run(inputs(tiny, 1)))


def test_frames_that_are_none_end_the_run(tiny, stages):
    hops = hops_over([stage.address for stage in stages], tiny)
    bad = (np.zeros((1, 3, 5, 5), np.float32),)
    with PipelineDriver(tiny, lambda: hops) as line, pytest.raises(StageError, match="takes"):
        list(line.run([bad]))


def test_the_command_says_what_it_refuses(tiny, user_error):
    listen = ("--model", tiny.path, "--listen")
    assert "--insecure" in user_error("partition.stages", *listen, "0.0.0.0:0")
    assert "HOST:PORT" in user_error("partition.stages", *listen, "nowhere")
