"""What a supervisor makes of what stages tell it, without actors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import ray

from partition.placement.run.replan import Replanner, devices_of
from partition.placement.run.supervisor import PlacementRecord, Supervisor
from partition.placement.solver.solve import PlacementObjective
from tests.partition.placement.ray_answers import Answer, without_ray
from tests.partition.placement.replanning import shared


@pytest.fixture
def asked(tiny, monkeypatch):
    """A supervisor of a plan with two replicas, whose actors answer what they are made with."""
    without_ray(monkeypatch)
    planner = Replanner(tiny, shared(tiny), PlacementObjective(max_replicas=2))
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._planner, placed = planner, PlacementRecord(planner.place(), "first")
    supervisor.placed = [placed]
    line = {"frames": 9, "rate_bps": 1e6, "session": 7, "version": 0}

    def measure(sessions, also=(), **changes):
        told = {
            name: tuple(
                SimpleNamespace(statistics=Answer(answer))
                for answer in (
                    *({"session": each, "frames": i + 3} | IN_SESSION for each in sessions),
                    *also,
                )
            )
            for i, name in enumerate(devices_of(placed.plan))
        }
        supervisor._pool = SimpleNamespace(actors=told.get)
        supervisor._measure(SimpleNamespace(progress=Answer(line | changes)), placed)
        return placed

    return measure


IN_SESSION = {"busy_s": 0.1, "rate_bps": 1e6}


def test_frames_and_seconds_of_each_replica_are_told_and_no_rate_next_to_them(asked):
    placed = asked([7])
    assert placed.frames == {"d0": 3, "d1": 4, "d2": 5}
    assert placed.busy_s == dict.fromkeys(placed.frames, 0.1)
    assert placed.rates_bps == {}


def test_only_those_in_the_session_tell_of_a_placement(asked):
    assert asked([None, 6]).frames == {}
    assert asked([7], version=-1).frames == {}
    assert asked([None, 7, 6]).frames == {"d0": 3, "d1": 4, "d2": 5}


def test_one_that_does_not_answer_silences_no_other(asked):
    assert asked([7], [None]).frames == {"d0": 3, "d1": 4, "d2": 5}
    assert asked([7], [ray.exceptions.ActorDiedError()]).frames == {"d0": 3, "d1": 4, "d2": 5}
