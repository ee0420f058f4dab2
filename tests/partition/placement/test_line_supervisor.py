"""What a supervisor does about devices and links that change, without actors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import ray
from msgspec import structs

from partition.placement.errors import PlacementError
from partition.placement.run.move_pace import MovePace
from partition.placement.run.replan import WORTH, Replanner, devices_of
from partition.placement.run.supervisor import PlacementRecord, Supervisor
from partition.placement.solver.solve import PlacementObjective
from tests.partition.placement.replanning import WISH, cluster, devices, pinned, tight


class Pool:
    """Stages on the devices that are there; some cannot run one."""

    def __init__(self, there, unable=()):
        self.there, self.unable = there, unable
        self.usable, self.refused = set(there) - set(unable), {}

    def update(self, alive, _timeout_s=0.0):
        joined = sorted(set(alive) - self.usable - set(self.unable))
        self.usable = set(alive) - set(self.unable)
        return joined

    def require(self, devices, _go_on):
        self.refused |= dict.fromkeys(set(devices) & set(self.unable), "no room")
        self.usable -= set(self.unable)
        return set(devices) <= self.usable

    def keep(self, devices):
        self.kept = devices


@pytest.fixture
def moving(tiny):
    """A supervisor without actors whose first link has slowed down, and what it has tried."""
    planner, tried = Replanner(tiny, cluster(), WISH), []
    plan = planner.place()
    slow = planner.links(plan)[0]
    planner.measured(plan, {slow: 1e5})
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._planner, supervisor._names = planner, {"d0", "d1", "d2"}
    supervisor._pool, supervisor._is_stuck = Pool(supervisor._names), False
    supervisor._alive = lambda: supervisor._names
    supervisor.placed = [PlacementRecord(plan, "first", rates_bps={slow: 1e5})]

    def better(rate_bps):
        def answer(_line, links, _entry):
            tried.extend(links)
            return {} if rate_bps is None else dict.fromkeys(links, rate_bps)

        supervisor._tried = answer
        return supervisor._better(None, plan)

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
    slow = Replanner(tiny, cluster(rate_bps=1e5), WISH)
    trusting = planner.place()
    assert slow.value(trusting) > 2 * trusting.period_s
    plan = better(1e5)
    assert tried
    assert slow.value(plan) == pytest.approx(plan.period_s, rel=0.01)


@pytest.fixture
def watched(tiny):
    """A supervisor of three devices without actors, and where it has placed stages."""
    there, moves, busy_s = {"d0", "d1", "d2"}, [], {}

    def make(planner=None, first=None, rest=None):
        planner = planner or Replanner(tiny, cluster(), WISH)
        plan = rest or first or planner.place({"d0", "d1", "d2"} - there)
        supervisor = Supervisor.__new__(Supervisor)
        supervisor._planner, supervisor._first = planner, first
        supervisor._names, supervisor._pool = {"d0", "d1", "d2"}, Pool(there)
        supervisor._measured_s, supervisor._is_stuck = -1e9, False
        supervisor._changed, supervisor.now_s = {}, 0.0
        supervisor._pace = MovePace(lambda: supervisor.now_s)
        supervisor.placed = [PlacementRecord(plan, "first")]
        supervisor._alive = lambda: set(there)
        supervisor._measure = lambda *_: dict(busy_s)
        supervisor._tried = lambda *_: {}
        supervisor.said = []
        supervisor._report = supervisor.said.append

        def place(_line, plan, reason):
            moves.append(reason)
            supervisor.placed.append(PlacementRecord(plan, reason))

        supervisor._place = place
        return supervisor

    return make, there, moves, busy_s


def look_twice(supervisor):
    """Two looks, a while after whatever was before."""
    supervisor.now_s += 10.0
    for _ in range(2):
        supervisor._measured_s = -1e9
        supervisor._look(LINE)


LINE = SimpleNamespace(rejoin=SimpleNamespace(remote=lambda: None))


def test_a_device_that_joins_is_used(watched):
    make, there, moves, _ = watched
    there -= {"d1"}
    supervisor = make()
    slower_s = supervisor.placed[0].plan.period_s
    supervisor._look(LINE)
    assert moves == []
    there |= {"d1"}
    supervisor._look(LINE)
    assert moves == ["d1 has joined"]
    assert "d1" in devices_of(supervisor.placed[-1].plan)
    assert supervisor.placed[-1].plan.period_s < slower_s
    supervisor._look(LINE)
    assert moves == ["d1 has joined"]


def test_a_device_that_is_throttled_gets_less_and_gets_it_back(watched):
    make, _, moves, busy_s = watched
    supervisor = make()
    plan = supervisor.placed[0].plan
    stage = max(plan.stages, key=lambda each: each.compute_s)
    name = stage.devices[0]
    busy_s[name] = 1.1 * stage.compute_s
    look_twice(supervisor)
    assert moves == []
    busy_s[name] = 3.0 * stage.compute_s
    look_twice(supervisor)
    assert moves == [f"{name} takes another time"]
    moved = supervisor.placed[-1].plan
    assert moved.period_s < 0.95 * 3.0 * stage.compute_s
    (its,) = (each for each in moved.stages if name in each.devices)
    assert (its.start, its.end) != (stage.start, stage.end)
    busy_s[name] = 1.1 * its.compute_s / 3.0
    look_twice(supervisor)
    again_s = supervisor._planner.value(supervisor.placed[-1].plan)
    assert again_s <= 1.1 * plan.period_s / (1 - WORTH)


def test_a_file_that_is_wrong_about_single_blocks_does_not_keep_stages_moving(tiny, watched):
    """What a device takes in one stage says little of the next one."""
    rng = np.random.default_rng(10)
    filed = np.outer([0.5, 2.0, 1.0], rng.uniform(0.01, 0.1, len(tiny.cuts) - 1))
    true = filed * rng.uniform(0.6, 1.8, filed.shape)
    timed = tuple(
        structs.replace(device, flops_per_s=None, block_s=tuple(row))
        for device, row in zip(devices(3), filed, strict=True)
    )
    make, _, moves, _ = watched
    supervisor = make(Replanner(tiny, cluster(devices=timed), WISH))
    supervisor._measure = lambda _line, placed: {
        stage.devices[0]: true[int(stage.devices[0][1]), stage.start : stage.end].sum()
        for stage in placed.plan.stages
    }
    for _ in range(60):
        supervisor._measured_s = -1e9
        supervisor.now_s += 3.0
        supervisor._look(LINE)
    assert 1 <= len(moves) <= 5


def test_what_is_measured_while_stages_rest_moves_them_later(watched):
    make, _, moves, busy_s = watched
    supervisor = make()
    supervisor._pace.moved()
    stage = supervisor.placed[0].plan.stages[0]
    for slowdown in (1.0, 1.0, 5.0, 5.0):
        busy_s[stage.devices[0]] = slowdown * stage.compute_s
        supervisor._measured_s = -1e9
        supervisor._look(LINE)
    assert moves == []
    supervisor.now_s += 10.0
    supervisor._look(LINE)
    assert moves == [f"{stage.devices[0]} takes another time"]


def test_a_plan_that_was_given_stays_until_a_device_of_it_is_gone(watched):
    make, there, moves, busy_s = watched
    first = make().placed[0].plan
    supervisor = make(first=first)
    busy_s[first.stages[0].devices[0]] = 10.0
    look_twice(supervisor)
    assert moves == []
    there -= {devices_of(first)[1]}
    supervisor._look(LINE)
    assert moves == [f"{devices_of(first)[1]} is gone"]


def test_a_pinned_device_that_is_gone_moves_stages_once_and_so_does_its_return(tiny, watched):
    make, there, moves, busy_s = watched
    supervisor = make(pinned(tiny))
    there -= {"d2"}
    supervisor._look(LINE)
    assert moves == ["d2 is gone"]
    for stage in supervisor.placed[-1].plan.stages:
        busy_s[stage.devices[0]] = 1.5 * stage.compute_s
    for _ in range(3):
        look_twice(supervisor)
    assert moves == ["d2 is gone"]
    there |= {"d2"}
    supervisor._look(LINE)
    assert moves == ["d2 is gone", "d2 has joined"]
    assert supervisor.placed[-1].plan.stages[0].devices == ("d2",)


def test_a_wish_that_cannot_be_kept_any_longer_leaves_the_line_running(tiny, watched):
    make, _, moves, busy_s = watched
    supervisor = make(Replanner(tiny, cluster(1), tight(Replanner(tiny, cluster(1), WISH).place())))
    plan = supervisor.placed[0].plan
    supervisor._names.intersection_update({"d0"})
    for slowdown in (4.0, 8.0):
        busy_s["d0"] = slowdown * plan.stages[0].compute_s
        look_twice(supervisor)
    assert moves == []
    (said,) = supervisor.said
    assert said.startswith("stages stay where they are: ")
    assert "frames per second" in said
    busy_s["d0"] = plan.stages[0].compute_s
    look_twice(supervisor)
    busy_s["d0"] = 4.0 * plan.stages[0].compute_s
    look_twice(supervisor)
    assert len(supervisor.said) == 2


def test_a_device_that_is_gone_ends_no_run_that_cannot_keep_its_wish_without_it(tiny, watched):
    make, there, moves, _ = watched
    planner = Replanner(tiny, cluster(), WISH)
    rate_hz = 0.99 / planner.place().period_s
    wish = PlacementObjective(objective="latency", rate_hz=rate_hz, time_limit_s=5.0)
    supervisor = make(Replanner(tiny, cluster(), wish))
    for gone in ("d1", "d2"):
        there -= {gone}
        supervisor._look(LINE)
        left = supervisor.placed[-1].plan
        assert left.period_s == pytest.approx(planner.place({"d1", "d2"} - there).period_s)
    assert moves == ["d1 is gone", "d2 is gone"]
    (said,) = supervisor.said
    assert said.startswith("the line goes on, as near to the wish as it can: ")
    there |= {"d1", "d2"}
    supervisor._look(LINE)
    assert moves[2:] == ["d1 has joined"]
    assert 1 / supervisor.placed[-1].plan.period_s >= rate_hz


def test_a_sink_that_is_gone_leaves_the_line_running(tiny, watched):
    make, there, moves, busy_s = watched
    plan = Replanner(tiny, cluster(), WISH).place({"d2"})
    supervisor = make(Replanner(tiny, cluster(sink=2), WISH), rest=plan)
    there -= {"d2"}
    busy_s["d0"] = 10.0
    look_twice(supervisor)
    assert moves == []
    assert "'d2', an end of the line, cannot be used" in supervisor.said[0]


def test_a_node_that_goes_while_its_stage_starts_is_not_waited_for(tiny, watched):
    """Nor is a stage while a device of the line is gone."""
    make, there, moves, _ = watched
    supervisor = make()
    plan = supervisor.placed[0].plan
    gone, other, *_ = devices_of(plan)

    def starts(devices, go_on):
        if other in devices and other in there:
            there.remove(other)
        return go_on()

    supervisor._pool.require = starts
    there -= {gone}
    supervisor._look(LINE)
    assert moves == [f"{gone} is gone"]
    assert set(devices_of(supervisor.placed[-1].plan)) == there
    assert supervisor._worth_moving(LINE, plan) is None


def test_stages_end_once_the_line_no_longer_uses_them(tiny, monkeypatch, watched):
    supervisor = watched[0]()
    done, plan = [], supervisor.placed[0].plan
    supervisor._pool = SimpleNamespace(
        keep=lambda devices: done.append(("keep", devices)), actors=lambda _: ()
    )
    line = SimpleNamespace(place=SimpleNamespace(remote=lambda *_: done.append(("place", None))))
    monkeypatch.setattr(ray, "get", lambda *_, **__: None)
    Supervisor._place(supervisor, line, plan, "d9 has joined")
    assert done == [("place", None), ("keep", devices_of(plan))]


def test_a_device_that_cannot_run_a_stage_gets_none(watched):
    make, there, moves, _ = watched
    there -= {"d1"}
    supervisor = make()
    plan = supervisor.placed[0].plan
    supervisor._pool.unable = {"d1"}
    supervisor._pool.usable = {"d0", "d1", "d2"}
    there |= {"d1"}
    assert supervisor._worth_moving(LINE, plan) is None
    assert supervisor._pool.refused == {"d1": "no room"}
    supervisor._pool.usable = {"d0", "d1", "d2"}
    assert "d1" not in devices_of(supervisor._planned())
    assert moves == []


@pytest.fixture
def ray_nodes(monkeypatch):
    """What nodes Ray has."""
    there = set()
    monkeypatch.setattr(Supervisor, "_alive", staticmethod(lambda: set(there)))
    return there


def test_a_line_starts_with_the_devices_that_are_there(tiny, ray_nodes):
    said, given = [], cluster()
    planner = Replanner(tiny, given, WISH)
    with pytest.raises(PlacementError, match="device 'd0' has no Ray node: start one on it"):
        Supervisor(tiny, given, planner, said.append)
    ray_nodes |= {"d0", "d2"}
    Supervisor(tiny, given, planner, said.append)
    assert len(said) == 1
    assert said[0].startswith("device 'd1' has no Ray node, it is used once it has")
    with pytest.raises(PlacementError, match="device 'd1' has no Ray node"):
        Supervisor(tiny, given, planner, said.append, first=planner.place())


@pytest.mark.parametrize("end", ["source", "sink"])
def test_a_given_plan_needs_both_ends_of_the_line(tiny, ray_nodes, end):
    given = cluster(**{end: 1})
    ray_nodes |= {"d0", "d2"}
    planner = Replanner(tiny, given, WISH)
    first = Replanner(tiny, cluster(), WISH).place({"d1"})
    with pytest.raises(PlacementError, match="device 'd1' has no Ray node: start one on it"):
        Supervisor(tiny, given, planner, first=first)
    with pytest.raises(PlacementError, match="device 'd1' has no Ray node: start one on it"):
        Supervisor(tiny, given, planner)


def test_a_line_that_does_not_answer_is_said(tiny, ray_nodes, monkeypatch):
    ray_nodes |= {"d0", "d1", "d2"}
    supervisor = Supervisor(tiny, cluster(), Replanner(tiny, cluster(), WISH))

    def silent(*_, **__):
        raise ray.exceptions.GetTimeoutError("Get timed out: some object(s) not ready.")

    supervisor._pool, supervisor._place = Pool({"d0", "d1", "d2"}), silent
    supervisor._actor = lambda *_, **__: SimpleNamespace(remote=lambda *_: None)
    monkeypatch.setattr(ray, "kill", lambda _: None)
    with pytest.raises(PlacementError, match=r"feeds the line failed \(Get timed out.*start again"):
        supervisor.run(1)


def test_a_line_does_not_start_where_no_device_can_run_a_stage(tiny, ray_nodes):
    ray_nodes |= {"d0"}
    supervisor = Supervisor(tiny, cluster(), Replanner(tiny, cluster(), WISH))
    supervisor._pool = Pool((), unable={"d0"})
    supervisor._pool.refused = {"d0": "model folder /m is missing"}
    with pytest.raises(PlacementError, match=r"'d0' cannot run a stage \(model folder /m is mi"):
        supervisor._begin()
