"""Running a plan as a command, without a Ray cluster: what is taken and what is told."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from partition.placement import report
from partition.placement.cluster import Cluster
from partition.placement.errors import PlacementError
from partition.placement.run.__main__ import _text, describe, frames_per_s, run
from partition.placement.run.replan import Replanner
from partition.placement.solver.solve import PlacementObjective
from tests.partition.placement.replanning import WISH, cluster, devices, shared


def test_devices_that_no_link_leads_to_are_said_to_be_left_out(tiny, tmp_path, monkeypatch, capsys):
    path = tmp_path / "spare.toml"
    text = "schema_version = 1\n"
    for name in ("a", "b", "spare"):
        text += f'[[devices]]\nname = "{name}"\nmemory_bytes = 1e9\nflops_per_s = 1e9\n'
    path.write_text(text + '[[links]]\nfrom = "a"\nto = "b"\nrate_bps = 1e8\n')
    asked = []

    class Nothing:
        """A supervisor that has no frames to send."""

        placed = left_out = ()

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


def record(plan):
    return SimpleNamespace(plan=plan, reason="first", frames={}, busy_s={}, rates_bps={})


def test_a_bound_is_told_in_the_unit_of_what_was_wished(tiny):
    planner = Replanner(tiny, cluster(), WISH)
    told = describe(0, record(plan := planner.place()), [])
    assert told["bound_frames_per_s"] == pytest.approx(1 / plan.bound)
    assert told["bound_frames_per_s"] >= told["expected_frames_per_s"] * (1 - 1e-9)
    assert told["bound_latency_s"] is None
    latency = PlacementObjective(objective="latency", time_limit_s=5.0)
    plan = Replanner(tiny, cluster(source=1), latency).place()
    told = describe(0, record(plan), [])
    assert told["bound_frames_per_s"] is None
    assert told["bound_latency_s"] == plan.bound <= told["expected_latency_s"] * (1 + 1e-9)


def test_a_network_that_takes_no_time_is_told_without_a_rate(tiny):
    idle = (0.0,) * (len(tiny.cuts) - 1)
    given = cluster(devices=devices(3, flops_per_s=None, block_s=idle))
    plan = Replanner(tiny, given, WISH).place()
    told = describe(0, record(plan), [(0.1 * i, 0) for i in range(9)])
    assert plan.period_s == 0.0
    assert (told["expected_frames_per_s"], told["share"]) == (None, None)
    assert told["measured_frames_per_s"] == pytest.approx(10.0)
    result = {"frames": 9, "wrong": 0, "largest_error": 0.0, "placements": [told], "breaks": []}
    assert "first: no limit to the rate expected, 10.00 measured\n" in _text(result)
    assert report.beside(plan, plan) == "planned anew it would be no better"


def test_a_plan_of_the_planner_with_replicas_is_run(tiny, tmp_path, monkeypatch):
    wish = PlacementObjective(max_replicas=2, time_limit_s=5.0)
    plan = Replanner(tiny, shared(tiny), wish).place()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json() | {"fingerprint": tiny.fingerprint}))
    given = []

    def take(*_, first, **__):
        given.append(first)
        raise PlacementError("enough")

    monkeypatch.setattr("partition.placement.run.ray_cluster.joined", lambda _: nullcontext())
    monkeypatch.setattr("partition.placement.run.supervisor.Supervisor", take)
    for allowed in (wish, WISH):
        with pytest.raises(PlacementError) as refused:
            run(str(tiny.path), shared(tiny), "auto", 1, wish=allowed, plan_file=path, quiet=True)
    assert [each.stages for each in given] == [plan.stages]
    assert "--replicas" in str(refused.value)


def test_the_rate_leaves_the_filling_of_the_line_out():
    assert frames_per_s([0.0, 0.1, 1.0, 2.0, 3.0], 2) == pytest.approx(1.0)
    assert frames_per_s([0.0, 1.0], 1) is None
