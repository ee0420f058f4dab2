from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from envs.plant import Readings
from envs.scenarios import episodes
from envs.scenarios.randomisation import Randomisation
from envs.scenarios.scenario import Scenario
from envs.scenarios.signals import Signal
from envs.sim.batched_simulator import EXPECTED_SLOWDOWN, BatchedSimulator
from envs.sim.effects import Effects
from envs.sim.response import MAX_BACKLOG
from envs.sim.sensors import PROBE_PERIOD_S
from envs.sim.sim_config import NominalSimConfig

CLOUD, EDGE = 0, 3


def action(fleet, *, cpu=-1, gpu=-1, emc=-1, split=EDGE):
    """Indices for every board; -1 is the top clock."""
    sizes = [len(axis.values) for axis in fleet.layout.axes]
    one = [index % size for index, size in zip((cpu, gpu, emc, split), sizes, strict=True)]
    return np.tile(np.array(one, dtype=np.int64), (fleet.n, 1))


def asked_hz(fleet, actions):
    return [axis.values[i] for axis, i in zip(fleet.layout.axes[:-1], actions[0], strict=False)]


def test_an_episode_begins_at_the_top_clocks_edge_only_with_an_empty_queue(fleet):
    boards = fleet(n=3)
    readings = boards.readings()
    for f in fields(Readings):
        assert getattr(readings, f.name).shape[0] == 3
    assert readings.clocks_hz.tolist() == [asked_hz(boards, action(boards))] * 3
    assert readings.edge_share.tolist() == [1.0] * 3
    assert readings.backlog.tolist() == [0.0] * 3
    assert readings.link_age_s.tolist() == [0.0] * 3


def test_a_cool_board_runs_at_the_clocks_asked_for(fleet):
    boards = fleet()
    actions = action(boards, cpu=3, gpu=2, emc=1)
    boards.step(actions)
    assert boards.readings().clocks_hz[0].tolist() == asked_hz(boards, actions)


def test_a_hot_board_runs_slower_than_asked_and_on_its_tables(fleet):
    boards = fleet({"ambient.temperature_c": "85.0"})
    assert boards.readings().temperature_margin_c[0] < 0.0
    outcome = boards.step(action(boards))
    applied_hz = boards.readings().clocks_hz[0]
    for hz, axis in zip(applied_hz, boards.layout.axes[:-1], strict=True):
        assert hz < axis.values[-1]
        assert hz in axis.values
    assert outcome.overheat_c[0] > 0.0
    cool = fleet()
    assert cool.step(action(cool)).latency_s[0] < outcome.latency_s[0]


def test_a_board_warms_up_under_load_and_cools_down_without(fleet):
    boards = fleet({"arrivals.rate_hz": "40.0"}, n_steps=200)
    margins_c = [boards.readings().temperature_margin_c[0]]
    for actions in (action(boards), action(boards, cpu=0, gpu=0, emc=0, split=CLOUD)):
        for _ in range(80):
            boards.step(actions)
        margins_c.append(boards.readings().temperature_margin_c[0])
    start_c, loaded_c, idle_c = margins_c
    assert loaded_c < min(start_c, idle_c)


def test_the_first_step_after_a_switch_still_runs_partly_at_the_old_clocks(fleet):
    boards = fleet({"arrivals.rate_hz": "2.0"})
    before_s = boards.step(action(boards)).latency_s[0]
    low = action(boards, cpu=0, gpu=0, emc=0)
    first_s, second_s, third_s = (boards.step(low).latency_s[0] for _ in range(3))
    assert before_s < first_s < second_s
    assert second_s == third_s


def test_the_rate_of_an_idle_link_is_probed_now_and_then(fleet):
    boards = fleet()
    ages_s, rates_bps = [], []
    for _ in range(8):
        boards.step(action(boards))
        ages_s.append(boards.readings().link_age_s[0])
        rates_bps.append(boards.readings().link_bps[0])
    assert ages_s == [0.25, 0.5, 0.75, 1.0] * 2
    assert max(ages_s) <= PROBE_PERIOD_S
    assert len(set(rates_bps[:4])) == len(set(rates_bps[4:])) == 1
    assert rates_bps[3] != rates_bps[4]


def test_sending_refreshes_the_rate_and_a_silent_board_sees_the_server_anyway(fleet):
    boards = fleet({"server.load": "{ quantiles = [0.1, 0.9], correlation_time_s = 1.0 }"})
    idle = []
    for split in (CLOUD, CLOUD, EDGE, EDGE):
        boards.step(action(boards, split=split))
        idle.append(boards.readings().server_idle[0])
        assert boards.readings().link_age_s[0] == {CLOUD: 0.0}.get(split, 0.25 * (len(idle) - 2))
    assert len(set(idle)) == 4


def test_a_backlog_grows_under_overload_up_to_its_limit_and_is_worked_off(fleet):
    patient = {"requests.latency_target_ms": "10000.0", "arrivals.rate_hz": "18.0"}
    boards = fleet(patient)
    slow, fast = action(boards, cpu=0, gpu=0, emc=0), action(boards)
    boards.step(fast)
    waiting = [boards.readings().backlog[0]]
    for _ in range(10):
        outcome = boards.step(slow)
        waiting.append(boards.readings().backlog[0])
    assert waiting[0] == 0.0 < waiting[1]
    assert waiting[-1] == MAX_BACKLOG
    assert outcome.deadline_hit_rate[0] < 1.0
    for _ in range(10):
        outcome = boards.step(fast)
    assert boards.readings().backlog[0] == 0.0
    assert outcome.deadline_hit_rate[0] == pytest.approx(1.0)


def test_a_dead_link_sends_every_request_back_with_full_accuracy(fleet):
    boards = fleet({"link.rate_mbps": "0.0"})
    outcome = boards.step(action(boards, split=CLOUD))
    assert outcome.fell_back[0] == 1.0
    assert outcome.accuracy[0] == 1.0
    assert outcome.latency_s[0] < 0.1 + 0.1
    alive = fleet()
    assert alive.step(action(alive, split=CLOUD)).accuracy[0] == 0.9


def test_every_changed_axis_counts_as_a_switch_once(fleet):
    boards = fleet()
    for changes, share in (({}, 0.0), ({"gpu": 1}, 0.25), ({"gpu": 1, "split": 0}, 0.25)):
        assert boards.step(action(boards, **changes)).switched[0] == share
    assert boards.step(action(boards, cpu=0, gpu=2, emc=0, split=1)).switched[0] == 1.0


def test_power_is_read_as_the_sensor_resolves_it(fleet, device):
    boards = fleet()
    outcome = boards.step(action(boards))
    shown = boards.readings().power_w[0] / device.sensor.step_w
    assert shown == pytest.approx(round(shown))
    assert boards.readings().power_w[0] == pytest.approx(
        outcome.power_w[0], abs=device.sensor.step_w
    )


def test_the_application_knows_its_next_requests(fleet):
    rate = "{ quantiles = [1.0, 20.0], correlation_time_s = 1.0 }"
    boards = fleet({"arrivals.rate_hz": rate})
    for _ in range(5):
        expected_hz = boards.readings().arrival_hz[0]
        outcome = boards.step(action(boards))
        assert outcome.energy_j[0] == pytest.approx(outcome.power_w[0] / expected_hz)


def test_equal_seeds_give_equal_episodes_in_any_company(fleet):
    world = replace(fleet().world, scenarios=(Scenario.load("lte-driving"),))
    many, one = BatchedSimulator(world, 3), BatchedSimulator(world, 1)
    many.reset(np.array([5, 6, 7], dtype=np.uint64))
    one.reset(np.array([6], dtype=np.uint64))
    for step in range(20):
        split = step % 4
        together, alone = (f.step(action(f, cpu=step % 5, split=split)) for f in (many, one))
        for f in fields(together):
            assert getattr(together, f.name)[1] == getattr(alone, f.name)[0]
    assert together.latency_s[0] != together.latency_s[1]


@pytest.fixture
def oracle_fleet(fleet, monkeypatch):
    """Boards in a changing scenario with usual background work, three steps into an episode."""
    monkeypatch.setattr(episodes, "TAIL_SHARE", (0.0, 0.0))  # a step draws those that are held up
    scenario = Scenario.load("lte-driving")
    usual = Signal(quantiles=(EXPECTED_SLOWDOWN,))
    scenario = replace(scenario, signals={**scenario.signals, "slowdown": usual})
    world = replace(fleet().world, scenarios=(scenario,))

    def build():
        boards = BatchedSimulator(world, 3)
        boards.reset(np.array([1, 2, 3], dtype=np.uint64))
        for split in (0, 2, 3):
            boards.step(action(boards, cpu=2, split=split))
        return boards

    return build


def test_every_outcome_is_what_a_step_would_give(oracle_fleet):
    grid = oracle_fleet().every_outcome(slice(0, 3))
    sizes = [len(axis.values) for axis in oracle_fleet().layout.axes]
    names = (
        "energy_j",
        "latency_s",
        "deadline_hit_rate",
        "accuracy",
        "switched",
        "overheat_c",
        "fell_back",
    )
    for choice in np.random.default_rng(0).integers(0, sizes, (12, len(sizes))):
        outcome = oracle_fleet().step(np.tile(choice, (3, 1)))
        for name in names:
            values = np.broadcast_to(getattr(grid, name), (3, *sizes))[(slice(None), *choice)]
            np.testing.assert_allclose(
                values, getattr(outcome, name), rtol=1e-5, atol=1e-5, err_msg=name
            )


def test_outcomes_of_some_actions_are_what_a_step_would_give(oracle_fleet):
    sizes = [len(axis.values) for axis in oracle_fleet().layout.axes]
    some = np.random.default_rng(1).integers(0, sizes, (6, len(sizes)))
    found = oracle_fleet().outcomes(some, slice(1, 3))
    for k, choice in enumerate(some):
        outcome = oracle_fleet().step(np.tile(choice, (3, 1)))
        for name in (
            "energy_j",
            "latency_s",
            "deadline_hit_rate",
            "accuracy",
            "switched",
            "fell_back",
        ):
            values = np.broadcast_to(getattr(found, name), (2, len(some)))[:, k]
            expected = getattr(outcome, name)[1:]
            np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_settled_outcomes_do_not_depend_on_what_was_decided(oracle_fleet):
    one, other = oracle_fleet(), oracle_fleet()
    one.step(action(one, cpu=0, split=0))
    other.step(action(other, cpu=3, split=3))
    some = np.concatenate([action(one, cpu=1, split=2), action(one, gpu=2, split=3)])[[0, 3]]
    pair = [boards.outcomes(some, slice(0, 3), settled=True) for boards in (one, other)]
    for name in ("energy_j", "latency_s", "deadline_hit_rate", "switched"):
        np.testing.assert_array_equal(*(getattr(outcome, name) for outcome in pair))
    apart = [boards.outcomes(some, slice(0, 3)).latency_s for boards in (one, other)]
    assert (apart[0] != apart[1]).any()


def test_looking_at_every_outcome_changes_nothing(oracle_fleet):
    looked, other = oracle_fleet(), oracle_fleet()
    looked.every_outcome(slice(1, 2))
    for boards in (looked, other):
        boards.step(action(boards, gpu=4, split=1))
    for f in fields(Readings):
        seen, expected = (getattr(boards.readings(), f.name) for boards in (looked, other))
        np.testing.assert_array_equal(seen, expected)


def test_some_boards_can_be_asked_for_alone(oracle_fleet):
    boards = oracle_fleet()
    every, one = boards.every_outcome(slice(0, 3)), boards.every_outcome(slice(1, 2))
    np.testing.assert_array_equal(every.latency_s[1:2], one.latency_s)


def test_full_throttle_edge_only_is_the_reference_of_the_cost(fleet, device, costs):
    world = fleet().world
    top = (device.cpu_hz[-1], device.gpu_hz[-1], device.emc_hz[-1])
    objective = world.objective()
    assert objective.max_power_w == device.max_power_w
    assert objective.reference_latency_s == pytest.approx(device.latency_s(costs.head, *top)[-1])


def test_the_layout_names_the_axes_with_their_values(fleet, device):
    layout = fleet().layout
    assert layout.domains == ("cpu", "gpu", "emc")
    assert layout.axes[1].values == tuple(device.gpu_hz)
    assert layout.axes[-1].values == (0.0, 1.0, 2.0, 3.0)
    assert layout.board_fingerprint == device.fingerprint


def test_an_oracle_does_not_foresee_background_work(fleet):
    calm, busy = fleet(), fleet({"board.slowdown": "2.0"})
    seen_s = [boards.every_outcome(slice(0, 1)).latency_s for boards in (calm, busy)]
    np.testing.assert_array_equal(*seen_s)
    assert busy.step(action(busy)).latency_s[0] > calm.step(action(calm)).latency_s[0]


def test_a_clock_with_a_single_value_is_no_axis(fleet, cpu_only):
    world = replace(fleet().world, device=cpu_only)
    assert [axis.name for axis in world.layout.axes] == ["cpu", "route"]
    some, all_three = BatchedSimulator(world, 2), fleet(n=2)
    some.reset(np.arange(2, dtype=np.uint64))
    for cpu, split in ((3, EDGE), (3, 1), (5, CLOUD)):
        expected = all_three.step(action(all_three, cpu=cpu, split=split))
        outcome = some.step(np.tile([cpu, split], (2, 1)))
        np.testing.assert_array_equal(outcome.latency_s, expected.latency_s)
        np.testing.assert_array_equal(outcome.power_w, expected.power_w)
    assert some.readings().clocks_hz.tolist() == [[cpu_only.cpu_hz[5]]] * 2
    grid, full = some.every_outcome(slice(0, 2)), all_three.every_outcome(slice(0, 2))
    sizes = [len(axis.values) for axis in world.layout.axes]
    for name in ("energy_j", "latency_s", "deadline_hit_rate", "accuracy"):
        found = np.broadcast_to(getattr(grid, name), (2, *sizes))
        expected = np.broadcast_to(
            getattr(full, name), (2, *tuple(len(a.values) for a in all_three.layout.axes))
        )
        np.testing.assert_array_equal(found, expected[:, :, -1, -1, :])


def test_the_factors_stay_at_one_while_the_board_is_as_modelled(fleet):
    boards = fleet()
    for split in (EDGE, EDGE, CLOUD, CLOUD, 1, 1):
        boards.step(action(boards, split=split))
    seen = boards.readings()
    assert seen.latency_factor[0] == pytest.approx(1.0)
    assert seen.power_factor[0] == pytest.approx(1.0, abs=0.02)  # the sensor's resolution
    assert seen.away_factor[0] == pytest.approx(1.0, abs=0.05)  # the estimate's noise
    assert 0.0 < seen.busy[0] < 1.0


def test_the_latency_factor_finds_how_much_slower_a_board_is(fleet):
    boards = fleet({"board.slowdown": "1.5"})
    for _ in range(20):
        boards.step(action(boards))
    assert boards.readings().latency_factor[0] == pytest.approx(1.5, rel=0.02)


def test_a_battery_runs_down_and_energy_weighs_more_and_more(fleet):
    battery = {"battery.capacity_wh": "0.02", "battery.level": "0.3", "battery.low_level": "0.2"}
    boards = fleet(battery, n_steps=60)
    used_j, etas, levels = 0.0, [], []
    for _ in range(20):
        used_j += boards.step(action(boards)).power_w[0] * 0.25
        etas.append(boards.readings().eta[0])
        levels.append(boards.readings().battery_level[0])
        assert boards.eta()[0] == etas[-1]
    assert levels[-1] == pytest.approx(max(0.3 - used_j / 72.0, 0.0))
    assert etas[0] == 0.5
    expected = 0.5 + 0.5 * np.clip(1.0 - np.array(levels) / 0.2, 0.0, 1.0)
    np.testing.assert_allclose(etas, expected)
    assert levels[-1] == 0.0 < levels[5]
    assert etas[-1] == 1.0
    assert fleet().readings().battery_level[0] == 1.0


def test_faulty_sensors_keep_showing_what_was(fleet):
    always = "{ share = 0.98, mean_s = 1000.0 }"
    link = "{ quantiles = [1.0, 90.0], correlation_time_s = 1.0 }"
    faults = {"faults.link_dropout": always, "faults.power_stuck": always, "link.rate_mbps": link}
    boards, healthy = fleet({**faults, "faults.temperature_bias_c": "8.0"}), fleet()
    first = boards.readings()
    for _ in range(6):
        boards.step(action(boards, split=CLOUD))
    seen = boards.readings()
    assert seen.link_bps[0] == first.link_bps[0]
    assert seen.link_age_s[0] == 1.5
    assert seen.power_w[0] == first.power_w[0] == 0.0
    shift_c = healthy.readings().temperature_margin_c[0] - first.temperature_margin_c[0]
    assert shift_c == 8.0


def test_a_closed_case_warms_as_its_resistance_says(fleet):
    load = {"arrivals.rate_hz": "40.0"}
    plain, closed = (fleet({**load, "ambient.resistance_scale": s}) for s in ("1.0", "2.0"))
    rises_c = []
    for boards in (plain, closed):
        begin_c = boards.readings().temperature_margin_c[0]
        for _ in range(40):
            boards.step(action(boards))
        rises_c.append(begin_c - boards.readings().temperature_margin_c[0])
    assert rises_c[1] == pytest.approx(2.0 * rises_c[0], abs=1.0)


def test_randomised_boards_differ_and_keep_to_their_seed(fleet):
    settings = Randomisation(latency_sd=0.2, power_sd=0.1, thermal_sd=0.1, link_sd=0.3)
    boards, alike = fleet(n=400, randomisation=settings), fleet(n=400)
    one = BatchedSimulator(boards.world, 1)
    one.reset(np.array([7], dtype=np.uint64))
    calm = Effects.without(["latency_tails"])
    boards.world, alike.world, one.world = (
        replace(b.world, effects=calm) for b in (boards, alike, one)
    )
    varied, same, alone = (b.step(action(b)) for b in (boards, alike, one))
    assert varied.latency_s[7] == alone.latency_s[0]
    assert varied.power_w[7] == alone.power_w[0]
    work = np.log(varied.latency_s / same.latency_s)
    assert work.std() == pytest.approx(0.2, rel=0.15)
    assert np.median(work) == pytest.approx(0.0, abs=0.03)
    for _ in range(15):
        boards.step(action(boards))
    np.testing.assert_allclose(boards.readings().latency_factor, np.exp(work), rtol=0.02)
    power_w = alike.readings().power_w
    assert np.corrcoef(boards.readings().power_factor, varied.power_w / power_w)[0, 1] > 0.8


def test_what_is_believed_is_what_the_factors_and_the_references_rest_on(fleet, costs, device):
    believed = replace(costs, head=costs.head.scaled(0.5), tail=costs.tail.scaled(0.5))
    world = replace(fleet().world, nominal=NominalSimConfig(device, believed))
    boards = BatchedSimulator(world, 1)
    boards.reset(np.zeros(1, np.uint64))
    for _ in range(20):
        boards.step(action(boards))
    assert boards.readings().latency_factor[0] == pytest.approx(2.0, rel=0.02)
    true_s = fleet().world.objective().reference_latency_s
    assert world.objective().reference_latency_s == pytest.approx(0.5 * true_s)
    imagined = world.as_believed()
    assert imagined.nominal is None
    assert imagined.layout == world.layout
    dream = BatchedSimulator(imagined, 1)
    dream.reset(np.zeros(1, np.uint64))
    half_s = dream.step(action(dream)).latency_s[0]
    assert half_s < 0.6 * boards.step(action(boards)).latency_s[0]


def test_another_board_may_be_believed_without_its_clock_tables(fleet, cpu_only, costs):
    world = replace(fleet().world, nominal=NominalSimConfig(replace(cpu_only, name="other"), costs))
    assert world.as_believed().layout.axes == world.layout.axes
    assert world.as_believed().layout.board_fingerprint == world.layout.board_fingerprint
