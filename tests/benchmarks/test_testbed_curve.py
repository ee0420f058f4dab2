"""The curve's parts: its task, the virtual board, the arms, the page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agents.deciders.static import Random
from agents.testbed import comparison
from agents.testbed import tune as tuning
from agents.training import callbacks, validation
from benchmarks.testbed_curve import __main__ as command
from benchmarks.testbed_curve import arms, real, recorded, task
from benchmarks.testbed_curve.arms import ARMS, Arm, Bench, Course
from benchmarks.testbed_curve.page import better_after, costs_of, page
from benchmarks.testbed_curve.virtual import VirtualClock, VirtualCloud, virtual_env
from partition.errors import DeadlineExceededError


@pytest.fixture
def bench(tiny, small_device, tmp_path) -> Bench:
    scenario = task.write_scenario(tmp_path)
    return Bench(
        world=task.world_of(scenario, str(small_device), str(tiny.path)),
        scenario=scenario,
        device=str(small_device),
        model=str(tiny.path),
        folder=tmp_path,
        simulated_steps=32,
    )


@pytest.fixture
def brief(monkeypatch):
    """Minutes of four steps, and one or two of them."""
    for module in (recorded, arms):
        monkeypatch.setattr(module, "STEPS_PER_MINUTE", 4)
    monkeypatch.setattr(arms, "MINUTES", dict.fromkeys(arms.MINUTES, 2))
    monkeypatch.setattr(arms, "AFTERWARDS", 1)
    monkeypatch.setattr(arms, "simulated_scenarios", lambda name: (name,))
    monkeypatch.setattr(comparison, "BLOCK_STEPS", 2)
    monkeypatch.setattr(comparison, "N_BLOCKS", 1)
    monkeypatch.setattr(tuning, "N_SIMULATED", 64)
    monkeypatch.setattr(tuning, "N_REHEARSALS", 4)
    monkeypatch.setattr(validation, "N_VALIDATIONS", 1)
    monkeypatch.setattr(validation, "N_EPISODES", 1)
    monkeypatch.setattr(callbacks, "Oracle", lambda: Random(0))
    monkeypatch.setattr(task, "N_EPISODES", 1)


def test_the_link_is_fast_and_slow_by_turns(bench):
    assert [task.rate_bps(s) for s in (0.0, 9.9, 10.0, 19.9, 20.0)] == [
        *(50e6, 50e6, 0.5e6, 0.5e6, 50e6),
    ]
    assert bench.world.scenarios[0].eta == 0.65


def test_the_virtual_cloud_answers_as_its_link_allows(tiny):
    clock = VirtualClock()
    cloud, point = VirtualCloud(clock), tiny.split_points[0]
    cloud.check(point, 62_500, 0.1)  # half a megabit, 10 ms
    cloud.infer(point, None, 0.1)
    assert clock() == pytest.approx(0.014, abs=1e-3)
    assert cloud.link.rate_bps == pytest.approx(50e6, rel=0.01)
    clock.sleep(10.0)
    cloud.check(point, 62_500, 0.1)  # what it does not know yet it finds out by being late
    with pytest.raises(DeadlineExceededError):
        cloud.infer(point, None, 0.1)
    assert clock() == pytest.approx(10.114, abs=1e-3)
    with pytest.raises(DeadlineExceededError):
        cloud.check(point, 62_500, 0.1)
    clock.sleep(2.0)
    cloud.refresh()
    assert cloud.link.rate_bps == 0.5e6


def test_a_message_may_be_sent_over_the_change_of_the_rate():
    clock = VirtualClock()
    cloud = VirtualCloud(clock)
    clock.sleep(9.9)
    assert cloud._sending_s(5e6 + 0.25e6) == pytest.approx(0.6, abs=0.01)


def test_a_virtual_board_is_the_simulators_but_for_what_is_unlike(bench, tiny):
    costs = []
    for seed in (0, 1, 1, 2):
        env = virtual_env(bench.world, tiny, seed)
        env.reset(seed=0)
        for _ in range(8):
            *_, info = env.step(env.action_space.nvec - 1)
        costs.append((info["outcome"]["power_w"], info["outcome"]["latency_s"]))
        env.close()
    device, head = bench.world.device, bench.world.costs.head
    top = (device.cpu_hz[-1], device.gpu_hz[-1], device.emc_hz[-1])
    assert costs[0][1] >= device.latency_s(head, *top)[-1] - 1e-4
    assert costs[1] == costs[2]
    assert len(set(costs)) == 3


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_arm_runs_for_its_minutes(bench, arm):
    course = command.run_virtual(bench, arm, 1)
    assert (len(course.costs), len(course.hits), len(course.afterwards)) == (2, 2, 1)
    assert (course.costs > 0.0).all()
    assert (course.afterwards > 0.0).all()


@pytest.mark.usefixtures("brief")
def test_an_arm_runs_in_real_time_too(bench, tiny, tmp_path, capsys):
    options = ["--board", "sim", "--device", bench.device, "--model", str(tiny.path)]
    options += ["--folder", str(tmp_path / "work"), "--scratch", str(tmp_path / "scratch")]
    assert real.main(["best-static", *options]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [len(found[name]) for name in ("costs", "hits", "afterwards")] == [2, 2, 1]


def test_a_policy_is_better_when_three_minutes_are():
    costs = np.array([2.0, 0.5, 2.0, 0.9, 0.9, 0.9])
    assert better_after(costs, 1.0) == 6
    assert better_after(costs, 0.8) is None


def test_the_page_has_what_was_measured(tmp_path):
    runs = (
        ("virtual", "best-static", "1", "1.0 1.0 1.0", "1 1 1", "1.0"),
        ("virtual", "sac warm", "1", "0.9 0.9 0.9", "1 1 1", "0.8"),
        ("virtual", "sac warm", "2", "1.1 1.1 1.1", "1 1 1", "1.0"),
    )
    rows = [dict(zip(command.COLUMNS, run, strict=True)) for run in runs]
    text = page(rows, 0.111, tmp_path)
    assert "| sac warm | 2 | 1.000 | 1.000 | 0.900 | 3, never | 10 |" in text
    assert "11.1 % less" in text
    assert (tmp_path / "testbed-curve.png").is_file()
    assert costs_of(rows, "virtual", Arm("sac", "warm")).shape == (2, 3)


def test_a_curve_that_was_interrupted_goes_on_run_by_run(tmp_path, monkeypatch, bench):
    monkeypatch.setattr(command, "_WORK", tmp_path / "work")
    monkeypatch.setattr(command, "world_of", lambda _: bench.world)
    monkeypatch.setattr(command, "gain", lambda _: 0.111)
    done = []

    def ran(_bench, arm, seed):
        if len(done) == 3:
            done.append(None)
            raise KeyboardInterrupt
        done.append((arm.name, seed))
        return Course(np.ones(arm.minutes), np.ones(arm.minutes), np.ones(5))

    monkeypatch.setattr(command, "run_virtual", ran)
    options = ["--out", str(tmp_path / "out"), "--seeds", "1"]
    with pytest.raises(KeyboardInterrupt):
        command.main(options)
    assert command.main(options) == 0
    assert [run for run in done if run] == [(arm.name, command.FIRST_SEED) for arm in ARMS]
    assert "11.1 % less" in (tmp_path / "out" / "testbed-curve.md").read_text()
