"""The live plant on a modelled board whose time passes only when it is waited for."""

from __future__ import annotations

import itertools
import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from envs.live.cloud_link import NO_CLOUD_RTT_S, CloudLink
from envs.live.pacer import BoardPacer
from envs.live.plant import LivePlant, live_layout
from envs.live.requests import BackToBackRequests, ScenarioRequests
from envs.scenarios.episodes import MIN_LINK_BPS
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.effects import Effects
from envs.sim.response import MAX_BACKLOG
from envs.sim.split_costs import SplitCosts
from hw.boards.emulated import EmulatedBoard
from hw.boards.guard import ThermalGuard
from hw.boards.sim import SimBoard
from hw.errors import SensorReadError, WindowTooShortError
from partition.edge.client import LinkEstimate
from partition.edge.pipeline import SplitPipeline
from partition.errors import CloudUnavailableError, HopelessError
from partition.model.runtime import SplitRuntime
from partition.transport.wire import Reply
from tests.hw.fake.clock import FakeClock
from tests.hw.read_point import read_point

STEP_S = 0.25
LINK = LinkEstimate(rate_bps=20e6, rtt_s=0.01, age_s=0.5, server_load=0.25)


class FakeCloud:
    """Answers after `delay_s`, or not at all."""

    def __init__(self, clock, *, logits=None, delay_s=0.01):
        self.link, self.refusal = LINK, None
        self.logits, self.delay_s, self.clock = logits, delay_s, clock
        self.refreshes, self.is_closed = 0, False

    def infer(self, point, encoded, deadline_s, host=nullcontext):
        if self.logits is None:
            raise CloudUnavailableError("gone")
        self.clock.sleep(self.delay_s)
        return Reply((self.logits,), 0.001, 0.25, 0)

    def expected_s(self, point, message_bytes):
        return math.inf

    def check(self, point, message_bytes, deadline_s):
        """Everything is worth sending."""

    def server_flops_per_s(self, usual):
        return usual

    def refresh(self):
        self.refreshes += 1

    def close(self):
        self.is_closed = True


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(scope="session")
def split_runtime(tiny):
    return SplitRuntime(tiny)


@pytest.fixture(scope="session")
def inputs(tiny):
    draw = np.random.default_rng(0)
    return [draw.normal(size=tiny.input_shape).astype(np.float32) for _ in range(2)]


@pytest.fixture(scope="session")
def tiny_costs(tiny, device):
    return SplitCosts.of(device, tiny.routes)


@pytest.fixture
def plant(tiny, device, clock, constant, split_runtime, inputs, tiny_costs, labels):
    """Build and reset a plant in a constant scenario with some keys changed."""

    def build(
        changes=None,
        *,
        cloud=None,
        dry_run=False,
        n_steps=40,
        requests=None,
        board=SimBoard,
        folder=tiny,
    ):
        board = board(device, clock=clock, sleep=clock.sleep, dry_run=dry_run)
        board.open()
        live = LivePlant(
            board,
            SplitPipeline(tiny, split_runtime, cloud, BoardPacer(board, tiny.routes), clock=clock),
            live_layout(board, folder, device.max_power_w),
            folder,
            requests or ScenarioRequests(inputs, labels, clock, clock.sleep),
            constant(changes),
            CloudLink(cloud, clock),
            n_steps=n_steps,
            step_s=STEP_S,
            clock=clock,
            sleep=clock.sleep,
        )
        live.reset(np.zeros(1, np.uint64))
        return live

    return build


@pytest.fixture
def labels(split_runtime, inputs):
    return [int(split_runtime.whole((x,))[0].argmax()) for x in inputs]


@pytest.fixture
def logits(split_runtime, inputs):
    return split_runtime.whole((inputs[0],))[0]


def action(plant, *, cpu=-1, gpu=-1, emc=-1, split=-1):
    sizes = [len(axis.values) for axis in plant.layout.axes]
    return np.array([[i % n for i, n in zip((cpu, gpu, emc, split), sizes, strict=True)]])


def test_edge_only_takes_the_modelled_latency(plant, device, tiny_costs):
    live = plant()
    outcome = live.step(action(live))
    top = (device.cpu_hz[-1], device.gpu_hz[-1], device.emc_hz[-1])
    expected_s = device.latency_s(tiny_costs.head, *top)[-1]
    assert outcome.latency_s[0] == pytest.approx(expected_s, abs=1e-4)
    assert outcome.deadline_hit_rate[0] == outcome.accuracy[0] == 1.0
    assert outcome.fell_back[0] == outcome.uplink_bytes[0] == 0.0


def test_an_emulated_board_works_at_its_clocks_and_has_its_own_power(plant, clock, inputs, labels):
    """Pieces take what they really take here, times the clock's slowness; the rest is waited."""

    # Read at the begin, at the end and after the accounting: each piece takes 4 ms, that none.
    seconds = itertools.accumulate(itertools.cycle((0.0, 0.004, 0.0)))

    def emulated(device, **options):
        return EmulatedBoard(busy_clock=lambda: next(seconds), **options)

    prepared = [lambda x=x: (x,) for x in inputs]
    live = plant(
        {"arrivals.rate_hz": "8.0"},
        board=emulated,
        requests=ScenarioRequests(prepared, labels, clock, clock.sleep),
    )
    fast, slow = np.array([[-1, -1, -1]]) % [4, 6, 5], np.array([[0, 0, 4]])
    power_w = {}
    for name, chosen, slowness in (("fast", fast, (1.0, 1.0)), ("slow", slow, (1000 / 220, 4.6))):
        live.step(chosen)  # both clocks are in force from the next one on
        live.step(chosen)
        host_s, edge_s = (0.004 * factor for factor in slowness)
        assert [s.result.host_s for s in live.served] == pytest.approx([host_s] * 2, abs=1e-5)
        assert [s.result.edge_s for s in live.served] == pytest.approx([edge_s] * 2, abs=1e-5)
        assert [s.latency_s for s in live.served] == pytest.approx([host_s + edge_s] * 2, abs=1e-5)
        assert live.readings().busy[0] == pytest.approx(2 * (host_s + edge_s) / STEP_S, rel=1e-3)
        power_w[name] = live.last_power.power_w
    assert power_w["slow"] < 0.8 * power_w["fast"]


def test_a_step_takes_its_time_and_serves_what_arrives(plant, clock):
    live = plant({"arrivals.rate_hz": "8.0"})
    start_s, n = clock(), 0
    for _ in range(10):
        live.step(action(live))
        n += len(live.served)
        assert live.last_duration_s == pytest.approx(STEP_S)
    assert clock() - start_s == pytest.approx(10 * STEP_S)
    assert n == 20


def test_irregular_arrivals_keep_the_rate(plant):
    changes = {"arrivals.rate_hz": "20.0", "arrivals.kind": '"poisson"'}
    live = plant(changes, n_steps=400)
    counts = []
    for _ in range(400):
        live.step(action(live))
        counts.append(len(live.served))
    assert np.mean(counts) / STEP_S == pytest.approx(20.0, rel=0.15)
    assert np.std(counts) > 1.0


def test_live_and_simulated_boards_agree(plant, fleet, tiny_costs):
    effects = Effects.without(["latency_tails"])  # this machine holds nobody up
    boards = BatchedSimulator(replace(fleet().world, costs=tiny_costs, effects=effects), 1)
    boards.reset(np.zeros(1, np.uint64))
    live = plant()
    for setting in ({}, {"cpu": 2, "gpu": 3, "emc": 2}):
        steps = [action(live, **setting)] * 8
        real, simulated = ([plant.step(a) for a in steps] for plant in (live, boards))
        for name in ("energy_j", "latency_s", "deadline_hit_rate"):
            means = [np.mean([getattr(o, name) for o in side]) for side in (real, simulated)]
            assert means[0] == pytest.approx(means[1], rel=0.03), name


def test_clocks_are_set_and_read_back(plant):
    live = plant()
    live.step(action(live, cpu=1, gpu=2, emc=3))
    expected_hz = [axis.values[k] for axis, k in zip(live.layout.axes, (1, 2, 3), strict=False)]
    assert live.readings().clocks_hz[0].tolist() == expected_hz


def test_a_dry_run_leaves_the_clocks_alone(plant):
    live = plant(dry_run=True)
    before = live.readings().clocks_hz
    live.step(action(live, cpu=0, gpu=0, emc=0))
    np.testing.assert_array_equal(live.readings().clocks_hz, before)


def test_closing_gives_the_clocks_back_and_hangs_up(plant, clock, logits):
    cloud = FakeCloud(clock, logits=logits)
    live = plant(cloud=cloud)
    before = read_point(live._board)
    live.step(action(live, cpu=0, gpu=0, emc=0))
    live.close()
    clock.sleep(1.0)
    assert read_point(live._board) == before
    assert cloud.is_closed


def test_the_air_of_the_scenario_surrounds_a_modelled_board(plant):
    margins_c = []
    for temperature_c in ("10.0", "60.0"):
        live = plant({"ambient.temperature_c": temperature_c})
        live.step(action(live))
        margins_c.append(live.readings().temperature_margin_c[0])
    assert margins_c[0] - margins_c[1] == pytest.approx(50.0, abs=0.5)


def test_an_overheated_board_is_charged_for_it(plant):
    live = plant({"ambient.temperature_c": "85.0"})
    assert live.step(action(live)).overheat_c[0] > 0.0
    assert live.readings().temperature_margin_c[0] < 0.0


def test_the_cloud_answers(plant, clock, logits, tiny, inputs, labels):
    first = ScenarioRequests(inputs[:1], labels[:1], clock, clock.sleep)
    live = plant(cloud=FakeCloud(clock, logits=logits), requests=first)
    outcome = live.step(action(live, split=0))
    assert {s.result.served_by for s in live.served} == {"cloud"}
    assert outcome.accuracy[0] == 1.0
    assert outcome.fell_back[0] == 0.0
    assert outcome.uplink_bytes[0] == tiny.split_points[0].wire_bytes
    assert outcome.latency_s[0] == pytest.approx(0.01, abs=1e-3)
    assert live.readings().edge_share[0] == 0.0


@pytest.mark.parametrize(("split", "more_j"), [(0, 70.0), (-1, 0.0)])
def test_the_servers_energy_counts_where_the_scenario_says_so(plant, clock, logits, split, more_j):
    plain, counted = (
        live.step(action(live, split=split)).energy_j[0]
        for changes in ({}, {"server.j_per_request": "70.0"})
        for live in [plant(changes, cloud=FakeCloud(clock, logits=logits))]
    )
    assert counted - plain == pytest.approx(more_j, abs=0.05)


def test_requests_back_to_back_share_the_energy_that_they_take(plant, clock, inputs, labels):
    changes = {"arrivals.kind": '"back-to-back"', "arrivals.rate_hz": None}
    live = plant(changes, requests=BackToBackRequests(inputs, labels, clock, clock.sleep))
    for _ in range(3):
        outcome = live.step(action(live))
    took_s = live.served[0].latency_s
    assert outcome.requests[0] * took_s == pytest.approx(STEP_S, rel=0.1)
    assert outcome.energy_j[0] == pytest.approx(outcome.power_w[0] * took_s, rel=0.1)
    assert live.readings().arrival_hz[0] == pytest.approx(1.0 / took_s, rel=0.05)
    assert live.readings().backlog[0] == live.dropped == 0


def test_an_answer_with_another_label_costs_accuracy(plant, clock, logits):
    live = plant(cloud=FakeCloud(clock, logits=-logits))
    assert live.step(action(live, split=0)).accuracy[0] == 0.0


def test_without_labels_accuracy_is_the_routes_or_unknown(plant, clock, logits, inputs, tiny):
    def served(**known):
        requests = ScenarioRequests(inputs, [None, None], clock, clock.sleep)
        folder = replace(tiny, **known)
        return plant(cloud=FakeCloud(clock, logits=logits), requests=requests, folder=folder)

    live = served()
    assert np.isnan(live.step(action(live, split=0)).accuracy[0])
    assert {live.accuracy_of(s) for s in live.served} == {None}
    n = len(tiny.split_points)
    live = served(fidelity=(0.75, *(1.0,) * (n - 1)), measure="boxes")
    assert live.step(action(live, split=0)).accuracy[0] == 0.75


def test_an_answer_after_the_target_is_late(plant, clock, logits):
    live = plant(cloud=FakeCloud(clock, logits=logits, delay_s=0.11))
    outcome = live.step(action(live, split=0))
    assert outcome.deadline_hit_rate[0] == 0.0
    assert outcome.latency_s[0] >= 0.11


@pytest.mark.parametrize("has_client", [True, False])
def test_without_an_answer_the_edge_finishes(plant, clock, has_client):
    live = plant(cloud=FakeCloud(clock) if has_client else None)
    outcome = live.step(action(live, split=0))
    assert outcome.fell_back[0] == outcome.accuracy[0] == outcome.deadline_hit_rate[0] == 1.0
    assert {s.result.served_by for s in live.served} == {"edge"}


def test_the_link_is_measured_in_the_background_only_while_nothing_is_sent(plant, clock, logits):
    cloud = FakeCloud(clock, logits=logits)
    live = plant(cloud=cloud)
    live.step(action(live, split=0))
    assert cloud.refreshes == 0
    live.step(action(live))
    assert cloud.refreshes == 1


def test_a_link_that_ruled_a_request_out_is_measured_once_it_is_answered(plant, clock):
    class Hopeless(FakeCloud):
        def check(self, point, message_bytes, deadline_s):
            raise HopelessError("it would take too long")

        def refresh(self):
            super().refresh()
            clock.sleep(0.02)  # which nobody is to wait for

    alone = plant()
    own_s = alone.step(action(alone)).latency_s[0]
    cloud = Hopeless(clock)
    live = plant(cloud=cloud)
    outcome = live.step(action(live, split=0))
    assert cloud.refreshes == len(live.served) > 0
    assert outcome.latency_s[0] == pytest.approx(own_s, abs=5e-3)


def test_readings_show_the_clients_estimate_or_a_dead_link(plant, clock):
    cloud = FakeCloud(clock)
    live = plant(cloud=cloud)
    seen = live.readings()
    shown = (seen.link_bps[0], seen.rtt_s[0], seen.link_age_s[0], seen.server_idle[0])
    assert shown == (20e6, 0.01, 0.5, 0.75)
    assert seen.radio_w[0] == pytest.approx(1.0 + 0.01 * 20)
    cloud.link = None
    dead = live.readings()
    assert (dead.link_bps[0], dead.rtt_s[0]) == (MIN_LINK_BPS, NO_CLOUD_RTT_S)


def test_a_modelled_radio_draws_power_while_it_sends(plant, clock, logits, tiny):
    powers_w = []
    for radio_w in ("0.0", "20.0"):
        changes = {"link.radio_w": radio_w, "link.radio_w_per_mbps": "0.0"}
        live = plant(changes, cloud=FakeCloud(clock, logits=logits))
        powers_w.append(live.step(action(live, split=0)).power_w[0])
        n = len(live.served)
    sending_s = n * 8 * tiny.split_points[0].wire_bytes / LINK.rate_bps
    assert powers_w[1] - powers_w[0] == pytest.approx(20.0 * sending_s / STEP_S, rel=0.01)


def test_an_overload_queues_up_to_the_limit_and_drops_the_rest(plant):
    live = plant({"arrivals.rate_hz": "1000.0"})
    slow = action(live, cpu=0, gpu=0, emc=0)
    for _ in range(4):
        outcome = live.step(slow)
    assert live.dropped > 0
    share = sum(s.met_deadline for s in live.served) / (len(live.served) + live.dropped)
    assert outcome.deadline_hit_rate[0] == pytest.approx(share)
    assert share < 1.0
    one_service = 1000.0 * outcome.latency_s[0]
    assert live.readings().backlog[0] <= MAX_BACKLOG + one_service


def test_a_step_without_a_request_misses_nothing(plant):
    live = plant({"arrivals.rate_hz": "0.5"})
    first, idle = (live.step(action(live)) for _ in range(2))
    assert live.served == []
    assert idle.requests[0] == 0.0
    assert idle.deadline_hit_rate[0] == idle.accuracy[0] == 1.0
    assert idle.latency_s[0] == first.latency_s[0]
    assert idle.energy_j[0] == pytest.approx(idle.power_w[0] / 0.5)


def test_the_error_of_a_window_is_shared_by_the_requests_expected_in_it(plant, monkeypatch):
    live = plant({"arrivals.rate_hz": "8.0"})
    end = live._board.end_window

    def uncertain():
        return replace(end(), uncertainty_j=0.1)

    monkeypatch.setattr(live._board, "end_window", uncertain)
    live.step(action(live))
    assert live.energy_uncertainty_j == pytest.approx(0.1 / (8.0 * STEP_S))


def test_the_layout_names_the_modelled_device(plant, device, tiny):
    layout = plant().layout
    assert layout.board == device.name
    assert layout.board_fingerprint == device.fingerprint
    assert layout.model == tiny.name
    assert layout.cut_list_fingerprint == tiny.cut_list_fingerprint
    assert layout.domains == ("cpu", "gpu", "emc")


def test_a_live_board_measures_its_factors_against_its_model(plant, logits, clock):
    live = plant(cloud=FakeCloud(clock, logits=logits, delay_s=0.05))
    for _ in range(6):
        live.step(action(live))
    seen = live.readings()
    assert seen.latency_factor[0] == pytest.approx(1.0, abs=0.02)
    assert seen.power_factor[0] == pytest.approx(1.0, abs=0.02)
    assert 0.0 < seen.busy[0] < 1.0
    for _ in range(6):
        live.step(action(live, split=0))
    assert live.readings().away_factor[0] > 1.5  # the estimate promised an answer sooner


def test_a_live_board_tells_how_long_a_decision_took(plant, clock):
    live = plant()
    live.step(action(live))
    clock.sleep(0.03)
    live.step(action(live))
    assert live.readings().decision_s[0] == pytest.approx(0.03)


class OverrunBoard(SimBoard):
    """A modelled board whose sensors need time, as real ones do."""

    shortest_window_s = 0.2 * STEP_S

    def end_window(self):
        energy = super().end_window()
        if energy.duration_s < self.shortest_window_s:
            raise WindowTooShortError(f"{energy.duration_s} s")
        return energy


@pytest.mark.parametrize("overrun_s", [0.1, 0.2, 0.24, 0.249, 0.25, 0.251, 0.6, 2.0])
def test_no_step_is_shorter_than_the_sensors_need(plant, clock, overrun_s):
    live = plant({"arrivals.rate_hz": "0.5"}, board=OverrunBoard)
    for _ in range(4):
        live.step(action(live))
        assert live.last_power.is_measured
        assert live.last_duration_s >= live.shortest_step_s >= STEP_S / 2
        clock.sleep(overrun_s)  # what a step that took too long, a stopped process, a swap-in cost
    assert live.n_failures["power"] == 0


def test_a_step_that_is_late_ends_on_the_grid_of_control_steps(plant, clock):
    live = plant({"arrivals.rate_hz": "0.5"})
    began_s = clock()
    for late_s in (0.0, 0.1, 0.3, 1.0):
        clock.sleep(late_s)
        live.step(action(live))
        n_steps = (clock() - began_s) / STEP_S
        assert n_steps == pytest.approx(round(n_steps))


def test_a_step_tells_how_late_it_began(plant, clock):
    live = plant({"arrivals.rate_hz": "0.5"})
    told_s = []
    for late_s in (0.0, 0.1, 0.3, 0.0):
        clock.sleep(late_s)
        live.step(action(live))
        told_s.append(live.late_s)
    assert told_s == pytest.approx([0.0, 0.1, 0.3, 0.0])


def test_a_request_that_takes_longer_than_the_step_makes_the_next_one_late(plant, clock, logits):
    live = plant({"arrivals.rate_hz": "1.0"}, cloud=FakeCloud(clock, logits=logits, delay_s=0.4))
    live.step(action(live, split=0))
    assert live.late_s == 0.0
    live.step(action(live))
    assert live.late_s == pytest.approx(0.15, abs=0.01)


def test_an_episode_begins_at_the_highest_clocks_with_the_first_picture(plant, clock, inputs):
    live = plant({"arrivals.rate_hz": "4.0"})
    first = []
    for _ in range(2):
        live.reset(np.zeros(1, np.uint64))
        tops_hz = [axis.values[-1] for axis in live.layout.axes[:-1]]
        assert live.readings().clocks_hz[0].tolist() == tops_hz
        assert live.readings().backlog[0] == live.dropped == 0
        first.append(live._requests.take(live._episodes.row(1), math.inf).inputs)
        for _ in range(3):
            live.step(action(live, cpu=0, gpu=0, emc=0))
        assert live.readings().clocks_hz[0].tolist() != tops_hz
    assert first[0] is first[1] is inputs[0]


def test_a_hot_board_does_not_begin_an_episode_at_higher_clocks_than_it_has(plant):
    live = plant()
    live._board.guard = ThermalGuard(margin_c=1e3)
    lowest_hz = [axis.values[0] for axis in live.layout.axes[:-1]]
    live.step(action(live, cpu=0, gpu=0, emc=0))
    live.reset(np.zeros(1, np.uint64))
    assert live.readings().clocks_hz[0].tolist() == lowest_hz


def test_nothing_is_learned_of_the_model_while_power_is_unknown(plant, monkeypatch):
    live = plant()
    live.step(action(live))
    factor = live.readings().power_factor[0]

    def fail():
        raise SensorReadError("EIO")

    monkeypatch.setattr(live._board, "end_window", fail)
    live.step(action(live, cpu=0, gpu=0, emc=0))
    assert live.readings().power_factor[0] == factor
    assert not live.last_power.is_measured


def test_whoever_wants_the_answer_sooner_is_not_kept_waiting_for_the_cloud(plant, clock, logits):
    """The cloud needs 90 ms of the 100 that the scenario allows; the board alone is quicker."""
    live = plant(cloud=FakeCloud(clock, logits=logits, delay_s=0.09))
    asked = []
    infer = live._pipeline.infer

    def noted(inputs, route, deadline_s):
        asked.append(deadline_s)
        return infer(inputs, route, deadline_s)

    live._pipeline.infer = noted
    take = live._requests.take
    live._requests.take = lambda around, until_s: (
        None
        if (request := take(around, until_s)) is None
        else replace(request, due_s=request.arrived_s + 0.03)
    )
    live.step(action(live, split=0))
    assert asked
    assert max(asked) <= 0.03 + 1e-9
