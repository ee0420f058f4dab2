"""The end of the line that feeds stages: which replicas take part."""

from __future__ import annotations

import pytest
import ray

from partition.placement.run import actors
from partition.stages.errors import StageLostError
from tests.partition.placement.ray_answers import Answer, without_ray


class Actor:
    def __init__(self, address=None):
        self.address = Answer(address)


@pytest.fixture
def feeding(tiny, monkeypatch):
    """A line without Ray whose actors answer at once or never."""
    monkeypatch.setattr(actors, "_ADDRESS_TIMEOUT_S", 0.0)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    without_ray(monkeypatch)
    line = actors.LineActor(tiny.path, "none", 1)
    renewed = []
    line._line.renew = renewed.append
    return line, renewed


def placed(replicas, start=0, end=3):
    names = tuple(f"d{i}" for i in range(len(replicas)))
    return actors.PlacedStage(names, tuple((actor,) for actor in replicas), start, end)


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
