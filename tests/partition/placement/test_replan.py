"""When a network is placed again: devices that are gone or slow, links that changed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from partition.placement.errors import ClusterError, InfeasibleError
from partition.placement.run.drift import NOISE_S, is_other
from partition.placement.run.replan import Replanner, blamed, devices_of
from partition.placement.solver.solve import PlacementObjective
from tests.partition.placement.replanning import (
    WISH,
    cluster,
    devices,
    drifted,
    pinned,
    shared,
    tight,
)


@pytest.mark.parametrize("known_s", [0.05, 0.5, 5.0])
def test_a_link_is_another_beyond_a_fifth_and_the_noise(known_s):
    assert not is_other(known_s, known_s / 0.81)
    assert not is_other(known_s, known_s / 1.19)
    assert is_other(known_s, known_s / 0.79 + NOISE_S)
    assert is_other(known_s, known_s / 1.21 - NOISE_S)


def test_a_device_that_is_gone_is_not_used(tiny):
    planner = Replanner(tiny, cluster(), WISH)
    plan = planner.place()
    gone = devices_of(plan)[0]
    left = planner.place({gone})
    assert gone not in devices_of(left)
    assert left.period_s > plan.period_s
    assert (left.stages[0].start, left.stages[-1].end) == (0, len(tiny.cuts) - 1)


def test_an_end_of_the_line_cannot_be_gone(tiny):
    planner = Replanner(tiny, cluster(source=1), WISH)
    assert planner.entry(planner.place()) == "d1"
    with pytest.raises(ClusterError, match="d1"):
        planner.place({"d1"})


def test_too_little_is_left(tiny):
    small = devices(2, memory_bytes=100_000)[1]
    planner = Replanner(tiny, cluster(2, devices=(devices(1)[0], small)), WISH)
    planner.place()
    with pytest.raises(InfeasibleError):
        planner.place({"d0"})


def test_a_slower_link_is_avoided(tiny):
    planner = Replanner(tiny, cluster(), WISH)
    plan = planner.place()
    link = devices_of(plan)[:2]
    assert planner.links(plan)[0] == link
    assert planner.measured(plan, {link: 0.95e8}) == ()
    assert planner.value(plan) == pytest.approx(plan.period_s)
    assert planner.measured(plan, {link: 1e5}) == (link,)
    assert planner.measured(plan, {link: 1e5}) == ()
    now_s = planner.value(plan)
    better = planner.place()
    assert link not in itertools.pairwise(devices_of(better))
    assert better.period_s < now_s


@pytest.mark.parametrize(
    ("slower", "others", "devices"),
    [
        ([("a", "b"), ("b", "c")], [("c", "d")], ["b"]),
        ([("c", "d")], [("a", "b"), ("b", "c")], ["d"]),
        ([("a", "b")], [("b", "c")], ["a"]),
        ([("b", "c")], [("a", "b"), ("c", "d")], []),
        ([("a", "b")], [], []),
        ([("a", "b"), ("b", "c"), ("c", "d")], [], ["b", "c"]),
    ],
)
def test_a_cable_is_blamed_where_no_other_link_of_it_is_sound(slower, others, devices):
    assert [device for device, _ in blamed(slower, others)] == devices


def test_a_slow_cable_makes_its_unused_links_slow(tiny):
    planner = Replanner(tiny, cluster(4), WISH)
    plan = planner.place()
    names = devices_of(plan)
    assert len(names) >= 3
    links = list(itertools.pairwise(names))
    rates_bps = dict.fromkeys(links, 1e8) | {links[0]: 1e5, links[1]: 2e5}
    assert planner.measured(plan, rates_bps) == (links[0], links[1])
    better = devices_of(planner.place())
    assert names[1] not in better or len(better) == 1


@pytest.mark.parametrize("behind", [False, True])
def test_the_way_there_and_back_is_no_slower_link(tiny, behind):
    """Of a frame behind another on the link it does not show."""
    delays_s = np.full((3, 3), 0.04)
    planner = Replanner(tiny, cluster(delay_s=delays_s, rate_bps=1e7), WISH)
    plan = planner.place()
    link = planner.links(plan)[0]
    bits = 8 * plan.stages[1].received_bytes
    way_s = 0.0 if behind else 0.08
    assert planner.measured(plan, {link: bits / (bits / 1e7 + way_s)}) == ()
    assert planner.measured(plan, {link: bits / (bits / 1e6 + 0.08)}) == (link,)
    assert planner._rate_bps(link) == pytest.approx(1e6)
    assert planner.measured(plan, {link: bits / (bits / 1e6 + way_s)}) == ()
    assert planner.measured(plan, {link: 2e5}, by_frames=False) == (link,)
    assert planner._rate_bps(link) == pytest.approx(2e5)


def test_the_cluster_that_was_given_stays_as_it_is(tiny):
    given = cluster()
    planner = Replanner(tiny, given, WISH)
    plan = planner.place()
    planner.measured(plan, {devices_of(plan)[:2]: 1e5})
    assert given.rate_bps.max() == given.rate_bps[given.rate_bps > 0].min() == 1e8


def test_a_file_that_is_wrong_about_all_devices_alike_moves_nothing(tiny):
    planner = Replanner(tiny, cluster(), WISH)
    plan = planner.place({"d2"})
    busy_s = {stage.devices[0]: 4.0 * stage.compute_s for stage in plan.stages}
    assert set(drifted(planner, plan, busy_s)) == {"d0", "d1"}
    assert planner.value(plan) == pytest.approx(4.0 * plan.period_s)
    assert planner.place().period_s == pytest.approx(
        4.0 * Replanner(tiny, cluster(), WISH).place().period_s
    )
    assert drifted(planner, plan, busy_s) == ()
    busy_s["d0"] *= 2.0
    assert drifted(planner, plan, busy_s) == ("d0",)


def test_pins_hold_until_their_device_is_gone(tiny):
    planner = pinned(tiny)
    stage = planner.place().stages[0]
    assert (stage.devices, stage.start) == (("d2",), 0)
    assert stage.end >= 4
    left = planner.place({"d2"})
    assert "d2" not in devices_of(left)
    assert planner.value(left, {"d2"}) == pytest.approx(left.period_s)
    assert planner.value(left) == float("inf")


def test_latency_is_wished_for_and_followed(tiny):
    planner = Replanner(tiny, cluster(), PlacementObjective(objective="latency", time_limit_s=5.0))
    plan = planner.place()
    assert len(plan.stages) == 1
    assert planner.value(plan) == pytest.approx(plan.latency_s)
    planner = Replanner(tiny, cluster(), tight(plan))
    assert drifted(planner, plan, {devices_of(plan)[0]: 3.0 * plan.stages[0].compute_s})
    assert planner.value(plan) == float("inf")


def test_a_latency_that_nothing_keeps_to_any_longer_is_made_as_short_as_it_can_be(tiny):
    quick = replace(
        cluster(), devices=(*devices(2), structs.replace(devices(3)[2], flops_per_s=1e9))
    )
    shortest = PlacementObjective(objective="latency", time_limit_s=5.0)
    least_s = Replanner(tiny, quick, shortest).place().latency_s
    planner = Replanner(tiny, quick, PlacementObjective(max_latency_s=1.5 * least_s))
    assert planner.closest()[1] is None
    plan, short = planner.closest({"d2"})
    assert "no placement answers within" in str(short)
    assert plan.latency_s == Replanner(tiny, quick, shortest).place({"d2"}).latency_s
    with pytest.raises(InfeasibleError, match="memory"):
        Replanner(tiny, replace(quick, devices=devices(3, memory_bytes=9)), WISH).closest()


def test_replicas_share_a_stage_where_they_are_allowed(tiny):
    alone = Replanner(tiny, shared(tiny), WISH).place()
    planner = Replanner(tiny, shared(tiny), PlacementObjective(max_replicas=2))
    plan = planner.place()
    assert max(len(stage.devices) for stage in plan.stages) == 2
    assert planner.value(plan) == pytest.approx(plan.period_s)
    assert plan.period_s == pytest.approx(alone.period_s / 2, rel=0.1)
    gone = next(stage.devices[1] for stage in plan.stages if len(stage.devices) == 2)
    assert gone not in devices_of(planner.place({gone}))


def test_replicas_stay_alike_until_one_is_measurably_another(tiny):
    planner = Replanner(tiny, shared(tiny), PlacementObjective(max_replicas=2))
    plan = planner.place()
    a, b = next(stage.devices for stage in plan.stages if len(stage.devices) == 2)
    busy_s = {name: stage.compute_s for stage in plan.stages for name in stage.devices}
    about = dict(zip(busy_s, (1.1, 1.0, 0.95), strict=True))
    assert drifted(planner, plan, {name: about[name] * busy_s[name] for name in busy_s}) == ()
    assert planner.value(plan) == pytest.approx(plan.period_s, rel=0.15)
    assert max(len(stage.devices) for stage in planner.place().stages) == 2
    assert drifted(planner, plan, busy_s | {a: 3.0 * busy_s[a]}) == (a,)
    assert planner.value(plan) == pytest.approx(3.0 * busy_s[a] / 2)
    (others,) = (stage.devices for stage in planner.place().stages if len(stage.devices) == 2)
    assert b in others
    assert a not in others


def test_a_link_that_the_file_lacks_is_not_compared(tiny):
    """What feeds replicas where there is no source."""
    given = shared(tiny)
    given.rate_bps[0, 1] = given.rate_bps[1, 0] = 0.0
    planner = Replanner(tiny, given, PlacementObjective(max_replicas=2))
    plan = planner.place({"d2"})
    assert planner.measured(plan, {("d0", "d1"): 1e6}) == ()


def test_every_link_between_replicas_counts(tiny):
    planner = Replanner(tiny, shared(tiny), PlacementObjective(max_replicas=2))
    plan = planner.place()
    one, two = plan.stages
    links = set(itertools.product(one.devices, two.devices))
    assert len(links) == 2
    assert links <= set(planner.links(plan))
    before_s = planner.value(plan)
    slow, sound = links
    assert planner.measured(plan, {slow: 1e5, sound: 1e8}) == (slow,)
    assert planner.value(plan) > 2 * before_s
