"""The physics of one control step, with numbers that can be followed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from envs.scenarios.episodes import EpisodeConditions
from envs.scenarios.operating_conditions import BelievedLink, OperatingConditions
from envs.sim.clocks import Clocks
from envs.sim.response import MAX_BACKLOG, respond
from envs.sim.split_costs import SplitCosts

STEP_S = 0.25
CLOUD, EARLY, LATE, EDGE = range(4)


@pytest.fixture
def now(constant) -> OperatingConditions:
    now = EpisodeConditions([constant()], np.zeros(1, np.uint64), 4, STEP_S).row(1)
    return replace(now, tail_share=np.zeros(1), hiccup_draw=None)  # nobody is held up


@pytest.fixture
def top(device) -> Clocks:
    return Clocks(*(table[-1:] for table in (device.cpu_hz, device.gpu_hz, device.emc_hz)))


@pytest.fixture
def bottom(device) -> Clocks:
    return Clocks(*(table[:1] for table in (device.cpu_hz, device.gpu_hz, device.emc_hz)))


@pytest.fixture
def serve(device, costs, now, top):
    """Serve one step at a split; everything else as in the constant scenario unless named."""

    def step(split, clocks=top, backlog=0.0, is_back_to_back=False, **changes):
        arrays = {
            name: value if name == "believed_link" or value is None else np.array([value])
            for name, value in changes.items()
        }
        around = replace(now, **arrays)
        row = SplitCosts.from_rows(costs.rows()[:, [split]])
        waiting = np.array([backlog])
        return respond(
            device, row, clocks, around, waiting, STEP_S, is_back_to_back=is_back_to_back
        )

    return step


@pytest.fixture
def edge_s(device, costs, top):
    """Time of a head and of the tail behind it on the board at the top clocks."""

    def both(split):
        row = SplitCosts.from_rows(costs.rows()[:, split])
        clocks = (top.cpu_hz[0], top.gpu_hz[0], top.emc_hz[0])
        return tuple(float(device.latency_s(part, *clocks)) for part in (row.head, row.tail))

    return both


@pytest.mark.parametrize("clock", ["cpu_hz", "gpu_hz", "emc_hz"])
def test_latency_falls_with_each_clock(serve, device, top, clock):
    table = getattr(device, clock)
    latencies_s = [
        serve(EDGE, replace(top, **{clock: np.array([hz])}), latency_target_s=9.0).latency_s[0]
        for hz in table
    ]
    assert (np.diff(latencies_s) < 0).all()


@pytest.mark.parametrize(("believed_flops_per_s", "is_sent"), [(150e9, True), (1e9, False)])
def test_a_server_is_asked_by_what_it_is_taken_for(serve, believed_flops_per_s, is_sent):
    """However fast it is: only its replies could tell."""
    believed = BelievedLink(*(np.array([v]) for v in (50e6, 0.004, believed_flops_per_s)))
    found = serve(CLOUD, latency_target_s=0.2, believed_link=believed)
    assert bool(found.sent[0]) == is_sent


@pytest.mark.parametrize("split", [CLOUD, EARLY, EDGE])
@pytest.mark.parametrize("rate_hz", [0.5, 10.0, 500.0])
def test_requests_back_to_back_come_as_they_are_answered(serve, split, rate_hz):
    alone = serve(split, latency_target_s=9.0, arrival_hz=1e-3)
    found = serve(split, latency_target_s=9.0, arrival_hz=rate_hz, is_back_to_back=True)
    service_s = alone.latency_s[0]
    assert found.latency_s[0] == pytest.approx(service_s, rel=1e-6)
    assert found.requests[0] * service_s == pytest.approx(STEP_S, rel=1e-6)
    assert found.energy_j[0] == pytest.approx(found.power_w[0] * service_s, rel=1e-6)
    assert found.deadline_hit_rate[0] == alone.deadline_hit_rate[0] == 1.0
    assert (found.backlog[0], found.blocked_s[0]) == (0.0, 0.0)


@pytest.mark.parametrize("draw", [None, 0.0, 0.999])
def test_back_to_back_nobody_waits_behind_a_hiccup_but_fewer_are_answered(serve, draw):
    held = {"tail_share": 0.5, "hiccup_draw": draw, "latency_target_s": 0.2}
    calm = serve(CLOUD, is_back_to_back=True, latency_target_s=0.2)
    found = serve(CLOUD, is_back_to_back=True, **held)
    assert found.requests[0] < calm.requests[0]
    assert found.latency_s[0] > calm.latency_s[0]
    assert found.backlog[0] == 0.0


def test_hiccups_that_are_drawn_come_to_what_they_do_on_average(serve):
    held = {"tail_share": 0.3, "latency_target_s": 0.2, "is_back_to_back": True}
    expected = serve(CLOUD, **held)
    drawn = [serve(CLOUD, hiccup_draw=draw, **held) for draw in (np.arange(200) + 0.5) / 200]
    requests = np.array([one.requests[0] for one in drawn])
    share = sum(one.fell_back[0] * one.requests[0] for one in drawn) / requests.sum()
    assert requests.mean() == pytest.approx(expected.requests[0], rel=0.1)
    assert share == pytest.approx(expected.fell_back[0], rel=0.1)


def test_a_step_that_a_hiccup_takes_whole_has_finite_figures(device, costs, now, top):
    row = SplitCosts.from_rows(costs.rows()[:, [EDGE]])
    around = (device, row, top, now, np.zeros(1), STEP_S)
    found = respond(*around, closed_s=np.array([2.0 * STEP_S]), is_back_to_back=True)
    for name in ("energy_j", "latency_s", "deadline_hit_rate", "requests", "power_w"):
        assert np.isfinite(getattr(found, name)).all(), name
    assert found.requests[0] > 0.0
    assert found.blocked_s[0] == pytest.approx(STEP_S)


def test_latency_is_head_transfer_round_trip_and_cloud(serve, edge_s):
    response = serve(EARLY, latency_target_s=9.0, server_load=0.5)
    head_s, _ = edge_s(EARLY)
    expected_s = head_s + 40_000 * 8 / 50e6 + 0.004 + 6e8 / (150e9 * 0.5)
    assert response.latency_s[0] == pytest.approx(expected_s, rel=1e-9)
    assert response.fell_back[0] == 0.0


def test_edge_only_needs_neither_link_nor_server(serve, edge_s):
    response = serve(EDGE, link_bps=1e4, rtt_s=9.0, server_load=0.99)
    assert response.latency_s[0] == pytest.approx(edge_s(EDGE)[0], rel=1e-9)
    assert response.fell_back[0] == 0.0


def test_a_fast_link_beats_the_edge_at_its_lowest_clocks(serve, bottom):
    away = serve(CLOUD, bottom, link_bps=1e9)
    alone = serve(EDGE, bottom)
    assert away.latency_s[0] < alone.latency_s[0]
    assert away.energy_j[0] < alone.energy_j[0]


def test_a_dead_link_costs_nothing_when_it_is_known(serve, edge_s):
    _, tail_s = edge_s(CLOUD)
    response = serve(CLOUD, link_bps=1e4, arrival_hz=1.0, latency_target_s=3.0 * tail_s)
    assert (response.fell_back[0], response.sent[0], response.away_s[0]) == (1.0, False, 0.0)
    assert response.latency_s[0] == pytest.approx(tail_s, rel=1e-9)


def test_a_link_that_died_costs_no_more_than_the_target_when_the_edge_makes_it(serve, edge_s):
    _, tail_s = edge_s(CLOUD)
    target_s = 3.0 * tail_s
    believed = BelievedLink(np.array([50e6]), np.array([0.004]), np.array([150e9]))
    response = serve(
        CLOUD, link_bps=1e4, arrival_hz=1.0, latency_target_s=target_s, believed_link=believed
    )
    assert (response.fell_back[0], response.sent[0]) == (1.0, True)
    waited_s = target_s - 1.2 * tail_s - 0.0005
    assert response.away_s[0] == pytest.approx(waited_s, rel=1e-9)
    assert response.latency_s[0] == pytest.approx(waited_s + tail_s, rel=1e-9)
    assert response.deadline_hit_rate[0] == 1.0


def test_when_the_edge_would_not_make_it_the_cloud_gets_as_long_as_it_would_take(serve, edge_s):
    _, tail_s = edge_s(CLOUD)
    believed = BelievedLink(np.array([50e6]), np.array([0.004]), np.array([150e9]))
    response = serve(
        CLOUD, link_bps=1e4, arrival_hz=1.0, latency_target_s=tail_s / 2, believed_link=believed
    )
    assert response.away_s[0] == pytest.approx(tail_s, rel=1e-9)
    assert response.latency_s[0] == pytest.approx(2 * tail_s, rel=1e-9)
    assert response.deadline_hit_rate[0] == 0.0


def test_falling_back_costs_the_boards_energy(serve):
    fell_back = serve(CLOUD, link_bps=1e4, radio_w=0.0, radio_w_per_bps=0.0)
    served = serve(CLOUD, radio_w=0.0, radio_w_per_bps=0.0)
    assert fell_back.gpu_util[0] > served.gpu_util[0] == 0.0
    assert fell_back.energy_j[0] > served.energy_j[0]


def test_finishing_moves_what_the_rest_of_the_network_moves(serve, device, costs):
    around = {"link_bps": 1e4, "radio_w": 0.0, "radio_w_per_bps": 0.0}
    finished, whole = (serve(split, **around).energy_j[0] for split in (CLOUD, EDGE))
    assert costs.tail_traffic_bytes[CLOUD] == costs.traffic_bytes[EDGE] > 0.0
    assert finished == pytest.approx(whole)


def test_latencies_scatter_by_five_percent_around_the_target(serve, edge_s):
    head_s, _ = edge_s(EDGE)
    shares = [
        serve(EDGE, arrival_hz=1.0, latency_target_s=factor * head_s).deadline_hit_rate[0]
        for factor in (0.94, 0.975, 1.0, 1.025, 1.06)
    ]
    assert shares == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_an_overload_waits_up_to_the_limit_and_the_rest_is_late(serve, edge_s):
    response = serve(EDGE, arrival_hz=1000.0, latency_target_s=100.0)
    done = STEP_S / edge_s(EDGE)[0]
    assert response.requests[0] == pytest.approx(done)
    assert response.backlog[0] == MAX_BACKLOG
    assert response.deadline_hit_rate[0] == pytest.approx(
        1.0 - (250.0 - done - MAX_BACKLOG) / 250.0
    )


def test_a_light_overload_leaves_its_excess_waiting(serve, edge_s):
    capacity_hz = 1.0 / edge_s(EDGE)[0]
    response = serve(EDGE, arrival_hz=capacity_hz + 4.0, backlog=0.5, latency_target_s=9.0)
    assert response.backlog[0] == pytest.approx(0.5 + 4.0 * STEP_S)
    # Requests queue behind the mean of those waiting before and after; more come than are served.
    wait_s = 0.5 * (0.5 + 1.5) / (capacity_hz + 4.0)
    assert response.latency_s[0] == pytest.approx(1.0 / capacity_hz + wait_s)


def test_waiting_requests_delay_the_others(serve, edge_s):
    response = serve(EDGE, backlog=1.0, arrival_hz=1.0)
    assert response.backlog[0] == 0.0
    head_s, _ = edge_s(EDGE)
    # Who comes finds the rest of the one that waited, until it is served.
    wait_s = 0.5 * head_s * head_s / (1.0 - head_s) / STEP_S
    assert response.latency_s[0] == pytest.approx(head_s + wait_s)


def test_irregular_arrivals_wait_as_kingman_says(serve, edge_s):
    head_s, _ = edge_s(EDGE)
    rate_hz = 0.5 / head_s
    regular, poisson = (serve(EDGE, arrival_hz=rate_hz, arrival_scv=v) for v in (0.0, 1.0))
    expected_s = 0.5 * 0.5 / (1.0 - 0.5) * head_s
    assert poisson.latency_s[0] - regular.latency_s[0] == pytest.approx(expected_s, rel=0.02)


def test_nobody_waits_for_more_than_may_wait(serve, edge_s):
    head_s, _ = edge_s(EDGE)
    for rate_hz in (0.9 / head_s, 500.0):
        poisson = serve(EDGE, arrival_hz=rate_hz, arrival_scv=1.0)
        assert head_s < poisson.latency_s[0] < head_s + MAX_BACKLOG / rate_hz


def test_background_work_lengthens_what_the_clocks_do(serve, device, costs, top):
    calm, busy = (serve(EDGE, slowdown=s, latency_target_s=9.0).latency_s[0] for s in (1.0, 2.0))
    fixed_s = float(costs.head.fixed_s[EDGE])
    assert busy - fixed_s == pytest.approx(2.0 * (calm - fixed_s))


def test_idle_clocks_cost_energy(serve, top, bottom):
    fast, slow = (serve(CLOUD, clocks).energy_j[0] for clocks in (top, bottom))
    assert fast > 1.2 * slow


def test_energy_per_request_shares_the_idle_power(serve):
    rare, often = (serve(EDGE, arrival_hz=rate) for rate in (1.0, 10.0))
    assert rare.power_w[0] < often.power_w[0]
    assert rare.energy_j[0] == pytest.approx(rare.power_w[0] / 1.0)
    assert often.energy_j[0] == pytest.approx(often.power_w[0] / 10.0)
    assert rare.energy_j[0] > often.energy_j[0]


def test_the_radio_draws_power_while_it_sends(serve):
    silent = serve(CLOUD, radio_w=0.0, radio_w_per_bps=0.0)
    sending = serve(CLOUD, radio_w=2.0, radio_w_per_bps=1e-8)
    share = 10.0 * 60_000 * 8 / 50e6
    assert sending.power_w[0] - silent.power_w[0] == pytest.approx(share * (2.0 + 0.5))


def test_the_radio_sends_no_longer_than_anyone_waits(serve):
    believed = BelievedLink(np.array([50e6]), np.array([0.004]), np.array([150e9]))
    dead = {"link_bps": 1e4, "arrival_hz": 1.0, "believed_link": believed}
    silent = serve(CLOUD, radio_w=0.0, radio_w_per_bps=0.0, **dead)
    sending = serve(CLOUD, radio_w=2.0, radio_w_per_bps=0.0, **dead)
    assert 0.0 < sending.power_w[0] - silent.power_w[0] <= 2.0 * 0.1


def test_a_board_that_is_always_busy_is_busy_once(serve, bottom):
    response = serve(EDGE, bottom, arrival_hz=1000.0)
    assert 0.0 < response.cpu_util[0] <= 1.0
    assert 0.5 < response.gpu_util[0] <= 1.0


def test_arrays_give_what_single_boards_give(device, costs, now, top, serve):
    rows = SplitCosts.from_rows(costs.rows())
    together = respond(device, rows, top, now, np.zeros(1), STEP_S)
    for split in range(4):
        alone = serve(split)
        for name in ("latency_s", "energy_j", "deadline_hit_rate", "backlog", "fell_back"):
            np.testing.assert_allclose(getattr(together, name)[split], getattr(alone, name)[0])


def test_background_load_takes_its_share_of_the_cpu_and_draws_power(serve):
    calm, busy = (serve(EDGE, background_load=b, latency_target_s=9.0) for b in (0.0, 0.5))
    cpu_s = calm.cpu_util[0] / 10.0
    assert busy.latency_s[0] - calm.latency_s[0] == pytest.approx(cpu_s)
    assert busy.cpu_util[0] == pytest.approx(calm.cpu_util[0] + 0.5)
    assert busy.power_w[0] > calm.power_w[0]


@pytest.mark.parametrize("busy", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("room", [0.3, 0.9, 1.5, 3.0])
def test_the_share_in_time_is_that_of_random_requests(serve, edge_s, busy, room):
    head_s, _ = edge_s(EDGE)
    rate_hz, slack_s = busy / head_s, room * head_s
    around = {"arrival_hz": rate_hz, "arrival_scv": 1.0, "latency_target_s": 1.1 * head_s + slack_s}
    response = serve(EDGE, **around)
    assert response.held_up[0] == pytest.approx(busy)
    waits_s, wait_s = [], 0.0
    for gap_s in np.random.default_rng(0).exponential(1.0 / rate_hz, 30_000):
        wait_s = max(wait_s + head_s - gap_s, 0.0)  # Lindley (1952)
        waits_s.append(wait_s)
    in_time = np.mean(np.array(waits_s) <= 0.1 * head_s + slack_s)
    assert response.deadline_hit_rate[0] == pytest.approx(in_time, abs=0.02)


def test_whoever_pauses_serves_less_and_later(serve, device, costs, top, now):
    row = SplitCosts.from_rows(costs.rows()[:, [EDGE]])
    around = replace(now, arrival_hz=np.array([1000.0]), latency_target_s=np.array([9.0]))
    busy, paused = (
        respond(device, row, top, around, np.zeros(1), STEP_S, closed_s=np.array([pause_s]))
        for pause_s in (0.0, 0.1)
    )
    assert paused.requests[0] == pytest.approx(busy.requests[0] * 0.15 / STEP_S)


def test_who_comes_during_a_pause_waits_for_its_end_and_for_others(serve, device, costs, top, now):
    row = SplitCosts.from_rows(costs.rows()[:, [EDGE]])
    busy, paused = (
        respond(device, row, top, now, np.zeros(1), STEP_S, closed_s=np.array([pause_s]))
        for pause_s in (0.0, 0.1)
    )
    idle = 1.0 - 10.0 * busy.latency_s[0]
    wait_s = 0.5 * 0.1 * (0.1 / idle) / STEP_S
    assert paused.latency_s[0] - busy.latency_s[0] == pytest.approx(wait_s)
    # Those are late who come while more is left than an ordinary request leaves of its target.
    late = (0.1 - (0.1 - busy.latency_s[0])) / idle / STEP_S
    assert paused.deadline_hit_rate[0] == pytest.approx(1.0 - late)
