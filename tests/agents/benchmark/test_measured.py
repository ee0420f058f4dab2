"""Boards as they were measured, and what is fitted to ten of the points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.deciders.nominal import NominalModel, every_action
from benchmarks.policies import measured
from benchmarks.policies.measured_table import DATA, measured_grid
from benchmarks.policies.plan import BenchmarkJob
from benchmarks.policies.run import measure
from benchmarks.policies.world import job_world
from envs.scenarios.signals import Signal
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from hw.boards.measured_table import load
from hw.device.model import DeviceModel

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="measured data are not there")


@pytest.fixture(scope="module")
def job(tiny, tmp_path_factory):
    """Of a network that takes the place of VGG19: its operations take as long."""
    flops = tiny.routes[-1].edge.flops
    device = measured.fitted_device(measured.TABLE, flops, tmp_path_factory.mktemp("device"))
    return BenchmarkJob(
        device=str(device),
        model=str(tiny.path),
        scenarios=("steady-wifi",),
        decider="max-edge",
        fit_seed=0,
        episode_seeds=(0,),
        n_episodes=1,
        server_gflop_per_s=2000.0,
        table=measured.TABLE,
    )


@pytest.fixture(scope="module")
def fitted(job):
    """A quiet world, as it is taken to be."""
    world = job_world(job)
    (scenario,) = world.scenarios
    rare = {"arrival_hz": Signal(quantiles=(0.1,)), "latency_target_s": Signal(quantiles=(9.0,))}
    rare["slowdown"] = Signal(quantiles=(1.0,))
    scenario = replace(scenario, signals={**scenario.signals, **rare})
    return replace(world, scenarios=(scenario,))


@pytest.fixture(scope="module")
def true(fitted):
    return replace(fitted, measured=measured_grid(fitted, measured.TABLE))


def at_every_point(world):
    """Latency and power with everything on the board, by clocks."""
    boards = BatchedSimulator(world, 1)
    boards.reset(np.zeros(1, np.uint64))
    actions = every_action(boards.layout)
    actions = actions[actions[:, -1] == len(boards.layout.axes[-1].values) - 1]
    outcome = boards.outcomes(actions, slice(0, 1), settled=True)
    gpu, emc = (np.array(axis.values) for axis in boards.layout.axes[:2])
    clocks = zip(gpu[actions[:, 0]], emc[actions[:, 1]], strict=True)
    keys = [(0, round(gpu_hz), round(emc_hz)) for gpu_hz, emc_hz in clocks]
    return keys, outcome.latency_s[0], np.broadcast_to(outcome.power_w, outcome.latency_s.shape)[0]


def test_boards_are_as_fast_as_measured(true):
    table = load(DATA, measured.TABLE)
    keys, latency_s, _ = at_every_point(true)
    assert len(keys) == len(table.latency_s) == 52
    expected_s = np.array([table.latency_s[key] for key in keys])
    held_up = latency_s / expected_s
    assert held_up == pytest.approx(np.full(52, np.median(held_up)), rel=1e-3)
    assert np.median(held_up) == pytest.approx(1.0, abs=0.03)  # some requests are held up


def test_the_fit_has_seen_ten_points_and_is_near_the_others(true):
    off = np.abs(1.0 / true.measured.work - 1.0)
    assert true.measured.work.shape == (1, 13, 4)
    assert 0.001 < off.mean() < 0.03
    assert off.max() < 0.12


def test_boards_draw_what_was_measured(true):
    """Busy without a pause, with the processor idle at its highest clock instead of its lowest."""
    scenario = replace(true.scenarios[0], arrivals="back-to-back")
    effects = replace(true.effects, latency_tails=False)
    table, power = load(DATA, measured.TABLE), true.device.power
    # As VGG19's, whose memory traffic belongs to what was read.
    moved_bytes = power.peak_traffic_bytes_per_s * true.objective().reference_latency_s
    traffic_bytes = np.full_like(true.costs.traffic_bytes, moved_bytes)
    costs = replace(true.costs, traffic_bytes=traffic_bytes)
    world = replace(true, scenarios=(scenario,), effects=effects, costs=costs)
    keys, _, power_w = at_every_point(world)
    lowest_hz = float(DeviceModel.load("tx2").cpu_hz[0])
    at_top = [k for k, key in enumerate(keys) if key in table.rails]
    assert len(at_top) == 13
    for k in at_top:
        _, gpu_hz, emc_hz = keys[k]
        top_w, low_w = (
            float(power.idle_w(cpu_hz, float(gpu_hz), float(emc_hz)))
            for cpu_hz in (float(true.device.cpu_hz[-1]), lowest_hz)
        )
        measured_w = float(table.rails[keys[k]].total_w)
        assert power_w[k] - top_w + low_w == pytest.approx(measured_w, rel=0.03)
    more = true.measured.busy_power
    assert (more[..., 0] == more[..., -1]).all()


def test_nobody_who_decides_knows_the_measurements(fitted, true):
    assert NominalModel.of(true).device == NominalModel.of(fitted).device
    assert true.as_believed().measured is None
    one, other = (BatchedSimulator(world, 1) for world in (fitted, true))
    seeds = np.zeros(1, np.uint64)
    assert one.reset(seeds).latency_factor == other.reset(seeds).latency_factor
    action = np.array([[3, 1, len(one.layout.axes[-1].values) - 1]])
    for _ in range(30):
        one.step(action)
        other.step(action)
    seen = float(other.readings().latency_factor[0] / one.readings().latency_factor[0])
    assert seen == pytest.approx(float(true.measured.work[0, 3, 1]), rel=0.01)


def test_units_differ_from_what_was_measured_too(true):
    other = replace(true, randomisation=replace(true.randomisation, latency_sd=0.3))
    (_, usual_s, _), (_, unit_s, _) = at_every_point(true), at_every_point(other)
    ratio = unit_s / usual_s
    assert ratio == pytest.approx(np.full(52, ratio[0]), rel=0.02)
    assert abs(ratio[0] - 1.0) > 0.01


def test_fits_are_to_the_model_and_verdicts_by_the_table(job):
    judged, modelled = measure(job), measure(replace(job, table=""))
    (one,), (other,) = judged.episodes.values(), modelled.episodes.values()
    top = measured_grid(job_world(job), measured.TABLE).work[0, -1, -1]
    (by_table,), (by_model,) = (np.mean(e["latency_s"]).reshape(1) for e in (one, other))
    assert by_table / by_model == pytest.approx(top, rel=0.02)
    assert job_world(job).scenarios[0].server_flops_per_s == 2e12


def test_a_board_that_replays_the_table_takes_the_same_file(job):
    assert Path(job.device).name == "tx2-vgg19_n2.toml"
    world = build_sim_config(job.device, job.model, job.scenarios)
    assert world.device.replay.network == measured.TABLE
