"""What was measured long ago is tried again."""

from __future__ import annotations

import pytest

from partition.placement.run.replan import Replanner, devices_of
from partition.placement.run.shelf_life import FIRST_S, ShelfLife
from tests.partition.placement.replanning import WISH, cluster, drifted


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_what_was_not_measured_for_long_is_told_once_and_later_each_time(clock):
    life = ShelfLife(clock)
    for holds_s in (FIRST_S, 2 * FIRST_S, 4 * FIRST_S):
        life.renew(["a", "b"])
        clock.now_s += holds_s - 1
        life.renew(["b"])
        assert life.ended() == []
        clock.now_s += 1
        assert life.ended() == ["a"]
        assert life.ended() == []
        assert list(life.known) == ["b"]


def measure(planner, plan, factor, slow):
    """Two looks at stages, one of whose devices is slower than all others."""
    busy_s = {
        name: stage.compute_s / planner._speeds.factors([name])[0] * (factor if name == slow else 1)
        for stage in plan.stages
        for name in stage.devices
    }
    return drifted(planner, plan, busy_s)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_device_that_lost_its_stages_is_tried_again(tiny, clock, from_the_start):
    planner = Replanner(tiny, cluster(), WISH, clock=clock)
    plan = planner.place()
    before_s = plan.period_s
    slow = devices_of(plan)[0]
    if not from_the_start:
        assert measure(planner, plan, 1.0, slow) == ()
    assert measure(planner, plan, 100.0, slow) == (slow,)
    left = planner.place()
    assert slow not in devices_of(left)
    for _ in range(2):
        clock.now_s += FIRST_S / 2
        assert planner.forgotten() == () or clock.now_s >= FIRST_S
        measure(planner, left, 1.0, slow)
    assert planner.place().period_s == pytest.approx(before_s)


def test_a_device_that_has_a_stage_stays_as_it_was_measured(tiny, clock):
    planner = Replanner(tiny, cluster(), WISH, clock=clock)
    plan = planner.place()
    slow = devices_of(plan)[0]
    assert measure(planner, plan, 2.0, slow) == (slow,)
    now = planner.place()
    assert slow in devices_of(now)
    for _ in range(5):
        clock.now_s += FIRST_S / 2
        measure(planner, now, 1.0 if slow not in devices_of(now) else 2.0, slow)
        assert planner.forgotten() == ()
    assert planner._speeds.factors([slow])[0] == pytest.approx(2.0)


def test_links_that_no_frame_takes_are_tried_again_and_others_are_not(tiny, clock):
    planner = Replanner(tiny, cluster(4), WISH, clock=clock)
    plan = planner.place()
    link, other = planner.links(plan)[:2]
    planner.measured(plan, {link: 1e5, other: 1e8})
    clock.now_s += FIRST_S - 1
    planner.measured(plan, {link: 1e5, other: 1e8})
    slowed = [pair for pair in planner._life.known if pair != link]
    assert slowed  # of the same cable
    clock.now_s += 1
    assert planner.forgotten() == tuple(f"link {a} to {b}" for a, b in slowed)
    assert {planner._rate_bps(pair) for pair in slowed} == {1e8}
    assert planner._rate_bps(link) == pytest.approx(1e5)
    clock.now_s += FIRST_S
    assert planner.forgotten() == (f"link {link[0]} to {link[1]}",)
    assert planner.place().period_s == pytest.approx(plan.period_s)
