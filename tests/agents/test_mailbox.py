from __future__ import annotations

import threading

import numpy as np
import pytest

from agents.deployed import concurrent
from agents.deployed.board_decider import BoardDecider
from agents.deployed.concurrent import ConcurrentDecider
from agents.errors import AgentError

FIRST = np.array([7])


def observation(value: float) -> np.ndarray:
    return np.array([value], dtype=np.float32)


def as_seen(seen: np.ndarray) -> np.ndarray:
    return seen.astype(np.int64)


class Slow:
    """Thinks until it is let go on."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.started, self.released = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, seen):
        self.seen.append(float(seen[0]))
        self.started.release()
        assert self.released.acquire(timeout=10.0)
        return seen.astype(np.int64)


def wait_for(decider, action: int) -> None:
    for _ in range(2000):
        if decider.latest().action[0] == action:
            return
        threading.Event().wait(0.002)
    pytest.fail(f"no decision for {action}")


def test_the_action_before_stays_in_force_while_thinking():
    slow = Slow()
    with ConcurrentDecider(BoardDecider(slow), FIRST) as decider:
        decider.post(observation(1.0))
        assert slow.started.acquire(timeout=10.0)
        assert decider.latest().action[0] == 7
        slow.released.release()
        wait_for(decider, 1)
        assert decider.latest().selection_s > 0.0


def test_no_request_is_forgotten_while_observations_are():
    slow, told = Slow(), []
    board = BoardDecider(slow, lambda asked, late: told.append((asked, late)))
    with ConcurrentDecider(board, FIRST) as decider:
        decider.post(observation(1.0))
        assert slow.started.acquire(timeout=10.0)
        for value in (2.0, 3.0, 4.0):
            decider.account(5, 1)
            decider.post(observation(value))
        slow.released.release(2)
        wait_for(decider, 4)
    assert told == [(0, 0), (15, 3)]


def test_a_newer_observation_replaces_one_that_waits():
    slow = Slow()
    with ConcurrentDecider(BoardDecider(slow), FIRST) as decider:
        decider.post(observation(1.0))
        assert slow.started.acquire(timeout=10.0)
        for value in (2.0, 3.0, 4.0):
            decider.post(observation(value))
        slow.released.release(2)
        wait_for(decider, 4)
    assert slow.seen == [1.0, 4.0]


def test_a_decision_is_waited_for_only_so_long():
    slow = Slow()
    with ConcurrentDecider(BoardDecider(slow), FIRST) as decider:
        decider.post(observation(1.0))
        assert decider.wait(0.01).action[0] == 7
        slow.released.release()
        assert decider.wait(10.0).action[0] == 1
        decider.post(observation(2.0))
        assert decider.wait(0.01).action[0] == 1
        slow.released.release()


def test_whoever_waits_gets_what_the_thread_raises():
    def fail(_):
        raise ValueError("no weights")

    with ConcurrentDecider(BoardDecider(fail), FIRST) as decider:
        decider.post(observation(1.0))
        with pytest.raises(ValueError, match="no weights"):
            decider.wait(10.0)


def test_what_the_thread_raises_reaches_the_caller():
    def fail(_):
        raise ValueError("no weights")

    with ConcurrentDecider(BoardDecider(fail), FIRST) as decider:
        decider.post(observation(1.0))
        with pytest.raises(ValueError, match="no weights"):
            wait_for(decider, 1)
        with pytest.raises(ValueError, match="no weights"):
            decider.post(observation(2.0))


def test_the_observation_may_change_after_it_was_posted():
    with ConcurrentDecider(BoardDecider(as_seen), FIRST) as decider:
        mine = observation(3.0)
        decider.post(mine)
        mine[:] = 9.0
        wait_for(decider, 3)


def test_the_thread_ends_with_the_context():
    with ConcurrentDecider(BoardDecider(as_seen), FIRST) as decider:
        thread = decider._thread
    assert not thread.is_alive()


def test_a_decision_that_never_ends_is_told(monkeypatch):
    monkeypatch.setattr(concurrent, "STOP_S", 0.05)
    slow = Slow()
    decider = ConcurrentDecider(BoardDecider(slow), FIRST)
    decider.post(observation(1.0))
    assert slow.started.acquire(timeout=10.0)
    with pytest.raises(AgentError, match="deploy another policy"):
        decider.close()
    slow.released.release()
