"""Stage actors: a device is used once its stage has answered, and left out when it cannot."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from partition.placement.run import actors, stage_pool
from partition.stages.errors import StageError
from tests.partition.placement.ray_answers import Answer, without_ray


class Device:
    """What is started on a device; it ends when it is killed."""

    def __init__(self):
        self.address = Answer()
        self.is_killed = False


def task_error(cause):
    return ray.exceptions.RayTaskError("address", "a\nlong\ntrace", cause)


@pytest.fixture
def pool(monkeypatch):
    """A pool without Ray, what was started, and what was refused."""
    started, refused = {}, []

    without_ray(monkeypatch)
    monkeypatch.setattr(ray, "kill", lambda device: setattr(device, "is_killed", True))

    def make(name):
        started.setdefault(name, []).append(Device())
        return (started[name][-1],)

    return stage_pool.StagePool(make, lambda *told: refused.append(told)), started, refused


def test_a_device_is_used_once_its_stage_answers(pool):
    pool, started, _ = pool
    assert pool.update({"a", "b"}) == []
    started["a"][0].address.value = "10.0.0.1:1"
    assert pool.update({"a", "b"}) == ["a"]
    assert pool.update({"a", "b"}) == []
    assert pool.usable == {"a"}
    pool.keep(())
    assert started["a"][0].is_killed
    assert not started["b"][0].is_killed  # it may still answer
    assert pool.require(["a"], lambda: False) is False  # its node has gone
    started["a"][1].address.value = "10.0.0.1:2"
    pool.update({"a", "b"})
    assert pool.require(["a"]) is True
    assert len(started["a"]) == 2


def test_a_stage_is_waited_for_while_its_node_is_there(pool):
    pool, started, _ = pool
    asked = []

    def is_there():
        asked.append(len(started["a"]))
        if len(asked) == 3:
            started["a"][0].address.value = "10.0.0.1:1"
        return True

    assert pool.require(["a"], is_there) is True
    assert pool.require(["b"], lambda: False) is False
    assert asked == [1, 1, 1]


def test_a_device_that_cannot_run_a_stage_is_left_out_until_its_node_is_new(pool):
    pool, started, refused = pool
    pool.update({"a"})
    started["a"][0].address.value = task_error(StageError("model folder /m is missing"))
    assert pool.update({"a"}) == pool.update({"a"}) == []
    assert refused == [("a", "model folder /m is missing")]
    assert pool.refused == dict(refused)
    assert pool.usable == set()
    assert started["a"][0].is_killed
    pool.update(())
    pool.update({"a"})
    started["a"][1].address.value = "10.0.0.1:1"
    assert pool.update({"a"}) == ["a"]
    assert pool.refused == {}


def test_a_device_that_does_not_answer_in_time_is_left_out(pool, monkeypatch):
    pool, _, refused = pool
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(stage_pool, "time", clock)
    pool.update({"a"})
    clock.monotonic = lambda: stage_pool.START_TIMEOUT_S
    pool.update({"a"})
    assert refused == [("a", "its stage has not started within 120 s")]


def test_a_device_that_no_longer_runs_a_stage_is_not_usable(pool):
    pool, started, refused = pool
    pool.update({"a"})
    started["a"][0].address.value = "10.0.0.1:1"
    pool.update({"a"})
    pool.keep(())
    assert pool.usable == {"a"}
    pool._ask(["a"])
    started["a"][1].address.value = ray.exceptions.ActorDiedError()
    assert pool.require(["a"]) is False
    assert [device for device, _ in refused] == ["a"]
    assert pool.usable == set()


def test_a_device_that_is_gone_is_forgotten(pool):
    pool, started, _ = pool
    pool.update({"a"})
    started["a"][0].address.value = "10.0.0.1:1"
    pool.update({"a"})
    pool.update(())
    assert pool.usable == set()
    assert pool.actors("a") == ()


def test_the_cause_is_told_in_a_line():
    assert actors.reason_of(task_error(StageError("no room"))) == "no room"
    assert actors.reason_of(ray.exceptions.RaySystemError("one\n two\n")) == "two"
    assert actors.reason_of(task_error(ValueError())) == "ValueError"


def test_a_stage_of_another_network_does_not_start(tiny):
    with pytest.raises(StageError, match=r"holds network .*, not 0123456789abcdef"):
        actors.StageActor(tiny.path, "0123456789abcdef").address()
