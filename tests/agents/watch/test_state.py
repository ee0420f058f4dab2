"""The state of a driven board: what stands on its page and on its screen."""

from __future__ import annotations

import json
import math

import pytest

from agents.deployed.service_totals import ServiceTotals
from agents.watch.events import events_kept
from agents.watch.history import KEPT_S, PERIOD_S
from agents.watch.state import RECENT_S
from agents.watch.watch import Watch
from partition.errors import DeadlineExceededError
from tests.agents.watch.shown_plant import STEP_S, Plant

N_STEPS = round(PERIOD_S / STEP_S)


def two_periods(shown):
    for _ in range(N_STEPS):
        shown.step((0.02, None), (0.04, None))
    for _ in range(N_STEPS):
        shown.step((0.3, DeadlineExceededError), dropped=1)
    return shown.state.document()


def test_a_period_is_what_came_in_it(shown):
    history = two_periods(shown)["history"]
    assert history["time_s"] == [1e9 + PERIOD_S, 1e9 + 2 * PERIOD_S]
    assert history["in_time"] == [2 * N_STEPS, 0]
    assert history["late"] == [0, N_STEPS]
    assert history["dropped"] == [0, N_STEPS]
    assert history["fallbacks"] == [0, N_STEPS]
    assert history["latency_mean_s"] == pytest.approx([0.03, 0.3])
    assert history["latency_p95_s"] == pytest.approx([0.04, 0.3], rel=0.01)
    assert history["energy_per_request_j"] == pytest.approx([4.0 * STEP_S / 2, 4.0 * STEP_S])
    assert history["power_w"] == pytest.approx([4.0, 4.0])
    assert history["cut"] == ["16 kB cut"] * 2
    assert history["clocks_hz"][0] == {"cpu": 1_000_000_000, "gpu": 500_000_000}
    assert {len(row) for row in history.values()} == {2}


def test_power_is_weighed_by_time(shown):
    shown.plant.power_w = 2.0
    for _ in range(N_STEPS - 1):
        shown.step()
    shown.plant.power_w = 10.0
    shown.now.s += 6.75
    shown.step()
    history = shown.state.document()["history"]
    (power_w,), (energy_j,), (duration_s,) = (
        history[name] for name in ("power_w", "energy_j", "duration_s")
    )
    assert power_w == pytest.approx(energy_j / duration_s)
    assert power_w == pytest.approx((2.0 * 1.75 + 10.0 * 7.0) / 8.75)


def test_a_clock_that_is_set_moves_all_of_the_past(shown):
    two_periods(shown)
    shown.now.day_s += 86_400.0
    assert shown.state.document()["history"]["time_s"] == [
        1e9 + 86_400.0 + PERIOD_S,
        1e9 + 86_400.0 + 2 * PERIOD_S,
    ]


def test_lately_is_pooled_over_periods(shown):
    recent = two_periods(shown)["recent"]
    assert recent["requests"] == 3 * N_STEPS
    assert recent["deadline_hit_rate"] == pytest.approx(2 / 4)
    assert recent["energy_per_request_j"] == pytest.approx(4.0 * STEP_S * 2 / 3)
    assert recent["latency_p50_s"] == pytest.approx(0.04, rel=0.01)
    assert recent["duration_s"] == pytest.approx(2 * PERIOD_S)


def test_time_without_requests_is_not_known_rather_than_nought(shown):
    for _ in range(N_STEPS):
        shown.step()
    document = shown.state.document()
    assert document["history"]["latency_mean_s"] == [None]
    assert document["history"]["energy_per_request_j"] == [None]
    assert document["history"]["cut"] == [None]
    assert document["recent"]["deadline_hit_rate"] is None


@pytest.mark.parametrize("longer_s", [0.0, 5.0])
def test_the_past_is_bounded(shown, longer_s):
    for _ in range(round(1.5 * KEPT_S / (STEP_S + longer_s))):
        shown.now.s += longer_s
        shown.step((0.02, None))
    document = shown.state.document()
    times_s = document["history"]["time_s"]
    period_s = PERIOD_S if not longer_s else STEP_S + longer_s
    assert KEPT_S - 2 * period_s <= times_s[-1] - times_s[0] <= KEPT_S
    assert RECENT_S <= document["recent"]["duration_s"] <= RECENT_S + period_s


def test_a_loop_that_stops_shows_by_the_age_of_what_it_says(shown):
    shown.step((0.02, None))
    shown.now.s += 60.0
    assert shown.state.document()["age_s"] >= 60.0


def test_a_step_that_overruns_makes_a_longer_period(shown):
    shown.step((0.02, None))
    shown.now.s += 7.0
    shown.step((0.02, None))
    document = shown.state.document()
    assert document["history"]["duration_s"] == [7.0 + 2 * STEP_S]
    assert document["recent"]["requests"] == 2


def test_what_json_does_not_have_is_not_known(shown):
    shown.plant.known_margin_c, shown.plant.latency_target_s = math.inf, math.nan
    for _ in range(N_STEPS):
        shown.step()
    document = shown.state.document()
    assert document["temperature_margin_c"] is None
    assert document["latency_target_s"] is None
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_link_that_does_not_answer_is_not_a_slow_one(shown):
    shown.plant.known_link = None
    for _ in range(N_STEPS):
        shown.step()
    document = shown.state.document()
    assert document["cloud"] == {
        "is_there": True,
        "link_bps": None,
        "rtt_s": None,
        "server_load": None,
    }
    assert document["history"]["link_bps"] == [None]


def test_clocks_say_who_won(shown):
    for _ in range(N_STEPS):
        shown.step()
    cpu, gpu = shown.state.document()["clocks"]
    assert cpu == {
        "name": "cpu",
        "hz": 1_000_000_000,
        "asked_hz": 2_000_000_000,
        "overruled_by": "the thermal guard",
    }
    assert gpu["overruled_by"] is None


def test_a_failure_to_show_ends_no_service(tmp_path, caplog):
    with events_kept() as events:
        watch = Watch(events, tmp_path)
        watch.look()  # nothing to show yet
        plant = Plant()
        watch.begin("advised", plant, ServiceTotals(plant), None)
        type(plant).known_margin_c, before = property(lambda _: 1 / 0), plant.known_margin_c
        try:
            watch._state._taken_s = -math.inf
            for _ in range(3):
                watch.look()
        finally:
            type(plant).known_margin_c = before
    assert caplog.text.count("showing the board failed: ZeroDivisionError") == 1


def test_events_are_there_at_once(shown):
    shown.events.add("something happened", "warning")
    assert shown.state.document()["events"] == [
        {"time_s": 1e9, "level": "warning", "text": "something happened"}
    ]
