"""When stages are placed again: devices that are gone, links that changed."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from partition.placement.cluster import Cluster, Device
from partition.placement.errors import ClusterError, InfeasibleError, PlacementError
from partition.placement.run.__main__ import frames_per_s, run
from partition.placement.run.replan import NOISE_S, Replanner, blamed, devices_of, is_other
from partition.placement.run.supervisor import PlacementRecord, Supervisor
from partition.placement.solver.solve import PlacementObjective
from partition.stages.errors import StageLostError

WISH = PlacementObjective(time_limit_s=5.0)


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
    planner = Replanner(tiny, cluster(), WISH)
    plan = planner.place()
    gone = devices_of(plan)[0]
    left = planner.place({gone})
    assert gone not in devices_of(left)
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

        def __init__(self, folder, cluster, planner, report, **_):
            asked.extend(device.name for device in cluster.devices)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, n_frames):
            return {"seconds": [], "wrong": 0, "largest_error": 0.0, "breaks": []}

    monkeypatch.setattr("partition.placement.run.ray_cluster.joined", lambda _: nullcontext())
    monkeypatch.setattr("partition.placement.run.supervisor.Supervisor", Nothing)
    result = run(str(tiny.path), Cluster.load(path), "auto", 1, wish=WISH, quiet=False)
    assert asked == ["a", "b"]
    assert result["left_out"] == [{"name": "spare", "reason": "has no link"}]
    assert "left out: device 'spare' has no link" in capsys.readouterr().out


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


def test_the_cluster_that_was_given_stays_as_it_is(tiny):
    given = cluster()
    planner = Replanner(tiny, given, WISH)
    plan = planner.place()
    planner.measured(plan, {devices_of(plan)[:2]: 1e5})
    assert given.rate_bps.max() == given.rate_bps[given.rate_bps > 0].min() == 1e8


def test_the_rate_leaves_the_filling_of_the_line_out():
    assert frames_per_s([0.0, 0.1, 1.0, 2.0, 3.0], 2) == pytest.approx(1.0)
    assert frames_per_s([0.0, 1.0], 1) is None


@pytest.fixture
def moving(tiny):
    """A supervisor without actors whose first link has slowed down, and what it has tried."""
    planner, tried = Replanner(tiny, cluster(), WISH), []
    plan = planner.place()
    slow = planner.links(plan)[0]
    planner.measured(plan, {slow: 1e5})
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._planner, supervisor._start = planner, lambda _: None
    supervisor.placed = [PlacementRecord(plan, "first", rates_bps={slow: 1e5})]

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
    slow = Replanner(tiny, cluster(rate_bps=1e5), WISH)
    trusting = planner.place()
    assert slow.value(trusting) > 2 * trusting.period_s
    plan = better(1e5)
    assert tried
    assert slow.value(plan) == pytest.approx(plan.period_s, rel=0.01)


@pytest.fixture
def watched(tiny, monkeypatch):
    """A supervisor of three devices without actors, and where it has placed stages."""
    planner = Replanner(tiny, cluster(), WISH)
    there, moves, busy_s = {"d0", "d1", "d2"}, [], {}

    def make(plan=None, first=None):
        plan = plan or first or planner.place({"d0", "d1", "d2"} - there)
        supervisor = Supervisor.__new__(Supervisor)
        supervisor._planner, supervisor._first = planner, first
        supervisor._names, supervisor._there = {"d0", "d1", "d2"}, set(there)
        supervisor._stages, supervisor._measured_s = {}, -1e9
        supervisor.placed = [PlacementRecord(plan, "first", busy_s=busy_s)]
        supervisor._alive = lambda: set(there)
        supervisor._start = supervisor._keep = lambda _: None
        supervisor._measure = lambda *_: None
        supervisor._tried = lambda *_: {}

        def place(_line, plan, reason):
            moves.append(reason)
            supervisor.placed.append(PlacementRecord(plan, reason, busy_s=busy_s))

        supervisor._place = place
        return supervisor

    return make, there, moves, busy_s


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
    supervisor._look(LINE)
    assert moves == []
    busy_s[name] = 3.0 * stage.compute_s
    supervisor._measured_s = -1e9
    supervisor._look(LINE)
    assert moves == [f"{name} takes another time"]
    moved = supervisor.placed[-1].plan
    assert moved.period_s < 0.95 * 3.0 * stage.compute_s
    (its,) = (each for each in moved.stages if name in each.devices)
    assert (its.start, its.end) != (stage.start, stage.end)
    busy_s[name] = its.compute_s / 3.0
    supervisor._measured_s = -1e9
    supervisor._look(LINE)
    assert supervisor.placed[-1].plan.period_s == pytest.approx(plan.period_s)


def test_a_file_that_is_wrong_about_all_devices_alike_moves_nothing(tiny):
    planner = Replanner(tiny, cluster(), WISH)
    plan = planner.place({"d2"})
    busy_s = {stage.devices[0]: 4.0 * stage.compute_s for stage in plan.stages}
    assert set(planner.drifted(plan, busy_s)) == {"d0", "d1"}
    assert planner.value(plan) == pytest.approx(4.0 * plan.period_s)
    assert planner.place().period_s == pytest.approx(
        4.0 * Replanner(tiny, cluster(), WISH).place().period_s
    )
    assert planner.drifted(plan, busy_s) == ()
    busy_s["d0"] *= 2.0
    assert planner.drifted(plan, busy_s) == ("d0",)


def test_a_plan_that_was_given_stays_until_a_device_of_it_is_gone(watched):
    make, there, moves, busy_s = watched
    first = make().placed[0].plan
    supervisor = make(first=first)
    busy_s[first.stages[0].devices[0]] = 10.0
    supervisor._look(LINE)
    assert moves == []
    there -= {devices_of(first)[1]}
    supervisor._look(LINE)
    assert moves == [f"{devices_of(first)[1]} is gone"]


def test_pins_hold_until_their_device_is_gone(tiny):
    names = [cut.name for cut in tiny.cuts[1:]]
    planner = Replanner(tiny, cluster(), WISH, [f"{names[0]}..{names[3]}=d2"])
    stage = planner.place().stages[0]
    assert (stage.devices, stage.start) == (("d2",), 0)
    assert stage.end >= 4
    assert "d2" not in devices_of(planner.place({"d2"}))


def test_latency_is_wished_for_and_followed(tiny):
    planner = Replanner(tiny, cluster(), PlacementObjective(objective="latency", time_limit_s=5.0))
    plan = planner.place()
    assert len(plan.stages) == 1
    assert planner.value(plan) == pytest.approx(plan.latency_s)
    tight = PlacementObjective(objective="latency", rate_hz=0.5 / plan.period_s, time_limit_s=5.0)
    planner = Replanner(tiny, cluster(), tight)
    assert planner.drifted(plan, {devices_of(plan)[0]: 3.0 * plan.stages[0].compute_s})
    assert planner.value(plan) == float("inf")


@pytest.fixture
def ray_nodes(monkeypatch):
    """What nodes Ray has."""
    pytest.importorskip("ray")
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


def shared(tiny):
    """Where one block takes longest by far: two of the three devices share its stage."""
    block_s = [0.001] * (len(tiny.cuts) - 1)
    block_s[len(block_s) // 2] = 0.1
    return cluster(devices=devices(3, flops_per_s=None, block_s=tuple(block_s)))


def test_replicas_share_a_stage_where_they_are_allowed(tiny):
    alone = Replanner(tiny, shared(tiny), WISH).place()
    planner = Replanner(tiny, shared(tiny), PlacementObjective(max_replicas=2))
    plan = planner.place()
    assert max(len(stage.devices) for stage in plan.stages) == 2
    assert planner.value(plan) == pytest.approx(plan.period_s)
    assert plan.period_s == pytest.approx(alone.period_s / 2, rel=0.1)
    gone = next(stage.devices[1] for stage in plan.stages if len(stage.devices) == 2)
    assert gone not in devices_of(planner.place({gone}))


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


class Answer:
    """What an actor of Ray's answers, or that it does not."""

    def __init__(self, value):
        self.value = value

    def remote(self):
        return self


class Actor:
    def __init__(self, address=None):
        self.address = Answer(address)


@pytest.fixture
def feeding(tiny, monkeypatch):
    """A line without Ray whose actors answer at once or never."""
    ray = pytest.importorskip("ray")
    from partition.placement.run import actors

    monkeypatch.setattr(actors, "_ADDRESS_TIMEOUT_S", 0.0)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setattr(
        ray, "wait", lambda answers, **_: ([each for each in answers if each.value], [])
    )
    monkeypatch.setattr(ray, "get", lambda answer: answer.value)
    line = actors.LineActor(tiny.path, "none", 1)
    renewed = []
    line._line.renew = renewed.append
    return line, renewed


def placed(actors, start=0, end=3):
    from partition.placement.run.actors import PlacedStage

    names = tuple(f"d{i}" for i in range(len(actors)))
    return PlacedStage(names, tuple((actor,) for actor in actors), start, end)


def test_a_replica_that_does_not_answer_is_left_out_until_it_is_back(feeding):
    line, renewed = feeding
    lost = Actor()
    line.place((placed([Actor("10.0.0.1:1"), lost]), placed([Actor("10.0.0.3:3")], 3, 9)), 0)
    assert renewed.pop() == "stages are placed again"
    assert [hop.addresses for hop in line._route()] == [("10.0.0.1:1",), ("10.0.0.3:3",)]
    line.rejoin()
    assert renewed == []
    lost.address.value = "10.0.0.2:2"
    line.rejoin()
    line.rejoin()
    assert renewed == ["replica d1 is back"]
    assert line._route()[0].addresses == ("10.0.0.1:1", "10.0.0.2:2")
    line.rejoin()
    assert renewed == ["replica d1 is back"]


def test_a_stage_without_any_replica_is_lost(feeding):
    line, _ = feeding
    line.place((placed([Actor(), Actor()]),), 0)
    with pytest.raises(StageLostError, match="has not come back"):
        line._route()


@pytest.fixture
def asked(tiny, monkeypatch):
    """A supervisor of a plan with two replicas, whose actors answer what they are made with."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda answers, **_: [answer.value for answer in answers])
    planner = Replanner(tiny, shared(tiny), PlacementObjective(max_replicas=2))
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._planner, supervisor._processes = planner, 1
    return supervisor, PlacementRecord(planner.place(), "first")


def test_frames_and_seconds_of_each_replica_are_told_and_no_rate_next_to_them(asked):
    supervisor, placed = asked
    line = SimpleNamespace(progress=Answer({"frames": 9, "rate_bps": 1e6}))
    supervisor._stages = {
        name: (
            SimpleNamespace(statistics=Answer({"frames": i + 3, "busy_s": 0.1, "rate_bps": 1e6})),
        )
        for i, name in enumerate(devices_of(placed.plan))
    }
    supervisor._measure(line, placed)
    assert placed.frames == {"d0": 3, "d1": 4, "d2": 5}
    assert placed.busy_s == dict.fromkeys(placed.frames, 0.1)
    assert placed.rates_bps == {}
