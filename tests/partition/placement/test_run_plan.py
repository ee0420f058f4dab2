"""When stages are placed anew: devices that are gone, links that changed."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import numpy as np
import pytest

from partition.placement.cluster import Cluster, Device
from partition.placement.errors import ClusterError, InfeasibleError
from partition.placement.run.__main__ import frames_per_s, run
from partition.placement.run.replan import NOISE_S, Planner, blamed, device_of, is_other
from partition.placement.run.supervisor import Placed, Supervisor


def devices(n, **changes):
    fields = {"memory_bytes": 10**9, "reserve_bytes": 0, "flops_per_s": 1e7} | changes
    return tuple(Device(name=f"d{i}", **fields) for i in range(n))


def cluster(n=3, rate_bps=1e8, **changes):
    rates_bps = np.full((n, n), rate_bps)
    np.fill_diagonal(rates_bps, 0.0)
    fields = {"name": "test", "devices": devices(n), "delay_s": np.zeros((n, n))}
    return Cluster(rate_bps=rates_bps, **(fields | changes))


@pytest.mark.parametrize("known_s", [0.05, 0.5, 5.0])
def test_a_link_is_another_beyond_a_fifth_and_the_noise(known_s):
    assert not is_other(known_s, known_s / 0.81)
    assert not is_other(known_s, known_s / 1.19)
    assert is_other(known_s, known_s / 0.79 + NOISE_S)
    assert is_other(known_s, known_s / 1.21 - NOISE_S)


def test_a_device_that_is_gone_is_not_used(tiny):
    planner = Planner(tiny, cluster())
    plan = planner.place()
    gone = device_of(plan.stages[0])
    left = planner.place({gone})
    assert gone not in {device_of(stage) for stage in left.stages}
    assert left.period_s > plan.period_s
    assert (left.stages[0].start, left.stages[-1].end) == (0, len(tiny.cuts) - 1)


def test_devices_that_no_link_leads_to_are_said_to_be_left_out(tiny, tmp_path, monkeypatch, capsys):
    path = tmp_path / "spare.toml"
    text = "schema_version = 1\n"
    for name in ("a", "b", "spare"):
        text += f'[[devices]]\nname = "{name}"\nmemory_bytes = 1e9\nflops_per_s = 1e9\n'
    path.write_text(text + '[[links]]\nfrom = "a"\nto = "b"\nrate_bps = 1e8\n')
    asked = []

    class Nothing:
        """A supervisor that has no frames to send."""

        placed = ()

        def __init__(self, folder, cluster, report, spares):
            asked.extend(device.name for device in cluster.devices)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, n_frames):
            return {"seconds": [], "wrong": 0, "largest_error": 0.0, "breaks": []}

    monkeypatch.setattr("partition.placement.run.ray_cluster.joined", lambda _: nullcontext())
    monkeypatch.setattr("partition.placement.run.supervisor.Supervisor", Nothing)
    result = run(str(tiny.path), path, "auto", 1, quiet=False)
    assert asked == ["a", "b"]
    assert result["left_out"] == [{"name": "spare", "reason": "has no link"}]
    assert "left out: device 'spare' has no link" in capsys.readouterr().out


def test_an_end_of_the_line_cannot_be_gone(tiny):
    planner = Planner(tiny, cluster(source=1))
    assert planner.entry(planner.place()) == "d1"
    with pytest.raises(ClusterError, match="d1"):
        planner.place({"d1"})


def test_too_little_is_left(tiny):
    small = devices(2, memory_bytes=100_000)[1]
    planner = Planner(tiny, cluster(2, devices=(devices(1)[0], small)))
    planner.place()
    with pytest.raises(InfeasibleError):
        planner.place({"d0"})


def test_a_slower_link_is_avoided(tiny):
    planner = Planner(tiny, cluster())
    plan = planner.place()
    link = (device_of(plan.stages[0]), device_of(plan.stages[1]))
    assert planner.links(plan)[0] == link
    assert planner.measured(plan, {link: 0.95e8}) == ()
    assert planner.period_s(plan) == pytest.approx(plan.period_s)
    assert planner.measured(plan, {link: 1e5}) == (link,)
    assert planner.measured(plan, {link: 1e5}) == ()
    now_s = planner.period_s(plan)
    better = planner.place()
    pairs = [
        (device_of(a), device_of(b)) for a, b in zip(better.stages, better.stages[1:], strict=False)
    ]
    assert link not in pairs
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
    planner = Planner(tiny, cluster(4))
    plan = planner.place()
    names = [device_of(stage) for stage in plan.stages]
    assert len(names) >= 3
    links = list(itertools.pairwise(names))
    rates_bps = dict.fromkeys(links, 1e8) | {links[0]: 1e5, links[1]: 2e5}
    assert planner.measured(plan, rates_bps) == (links[0], links[1])
    better = [device_of(stage) for stage in planner.place().stages]
    assert names[1] not in better or len(better) == 1


def test_the_cluster_that_was_given_stays_as_it_is(tiny):
    given = cluster()
    planner = Planner(tiny, given)
    plan = planner.place()
    planner.measured(plan, {(device_of(plan.stages[0]), device_of(plan.stages[1])): 1e5})
    assert given.rate_bps.max() == given.rate_bps[given.rate_bps > 0].min() == 1e8


def test_the_rate_leaves_the_filling_of_the_line_out():
    assert frames_per_s([0.0, 0.1, 1.0, 2.0, 3.0], 2) == pytest.approx(1.0)
    assert frames_per_s([0.0, 1.0], 1) is None


@pytest.fixture
def moving(tiny):
    """A supervisor without actors whose first link has slowed down, and what it has tried."""
    planner, tried = Planner(tiny, cluster()), []
    plan = planner.place()
    slow = planner.links(plan)[0]
    planner.measured(plan, {slow: 1e5})
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._planner, supervisor._start = planner, lambda _: None
    supervisor.placed = [Placed(plan, "first", rates_bps={slow: 1e5})]

    def better(rate_bps):
        def answer(_line, links, _entry):
            tried.extend(links)
            return {} if rate_bps is None else dict.fromkeys(links, rate_bps)

        supervisor._tried = answer
        return supervisor._better(None, plan, set())

    return planner, slow, tried, better


def test_links_are_tried_before_stages_move_onto_them(moving):
    planner, slow, tried, better = moving
    plan = better(1e8)
    assert tried
    assert set(planner.links(plan)) <= {slow, *tried}
    assert slow not in planner.links(plan)


def test_what_was_tried_is_counted_on(tiny, moving):
    """All links are as slow: the plan holds on them, one that trusts them does not."""
    planner, _, tried, better = moving
    slow = Planner(tiny, cluster(rate_bps=1e5))
    trusting = planner.place()
    assert slow.period_s(trusting) > 2 * trusting.period_s
    plan = better(1e5)
    assert tried
    assert slow.period_s(plan) == pytest.approx(plan.period_s, rel=0.01)
