"""Who drives a board whose policy fails, with real threads and a clock that is told the time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from agents.deployed import driver as module
from agents.deployed.board_decider import BoardDecider
from agents.deployed.driver import LONGEST_RETRY_S, RETRY_S, STEADY_S, STUCK_S, Driver
from agents.errors import AgentError, PolicyError
from envs.plant import Axis
from hw.errors import HardwareError
from tests.hw.fake.clock import FakeClock

ACTION, ON_BOARD = [0, 1], [2, 4]
OBSERVATION = np.zeros(3, np.float32)
STEP_S = 0.25
PATIENCE_S = 2.0
"""Of a test for a thread; a policy that answers does so at once."""


class Plant:
    """Has a clock of three values and five routes."""

    layout = SimpleNamespace(axes=(Axis("cpu", (1.0, 2.0, 3.0)), Axis("route", (0, 1, 2, 3, 4))))
    is_given_back, can_give_back = False, True

    @contextmanager
    def clocks_given_back(self):
        if not self.can_give_back:
            raise HardwareError("cpu: no permission")
        self.is_given_back = True
        yield
        self.is_given_back = False


class Policy:
    """Does what it is told to; counts how often it was begun."""

    def __init__(self):
        self.does, self.n_begun = lambda: np.array(ACTION), 0
        self.accounted = []

    def begin(self):
        self.n_begun += 1
        return BoardDecider(lambda _: self.does(), lambda *what: self.accounted.append(what))


@pytest.fixture
def world(monkeypatch):
    """A driver, and everything around it."""
    monkeypatch.setattr(module, "PATIENCE_S", PATIENCE_S)
    clock, told = FakeClock(), []
    plant, policy = Plant(), Policy()
    driver = Driver(policy.begin, plant, tell=told.append, clock=clock)

    def steps(seconds):
        """Actions of all steps within some time."""
        actions = []
        for _ in range(round(seconds / STEP_S)):
            clock.sleep(STEP_S)
            actions.append(driver.decide(OBSERVATION).action.tolist())
        return actions

    with driver:
        yield SimpleNamespace(**locals())


def fail():
    raise ZeroDivisionError("a reading of nothing")


FAILURES = {
    "ZeroDivisionError: a reading of nothing": fail,
    "the policy chose [3, 0], which": lambda: np.array([3, 0]),
    "the policy chose [0, -1], which": lambda: np.array([0, -1]),
    "the policy chose [0.5, 0.0], which": lambda: np.array([0.5, 0.0]),
    "the policy chose [nan, 1.0], which": lambda: np.array([np.nan, 1.0]),
    "the policy chose [1], which": lambda: np.array([1]),
}


def test_the_policy_drives_while_it_decides(world):
    assert world.steps(2.0) == [ACTION] * 8
    assert not world.plant.is_given_back
    assert (world.told, world.driver.n_failures, world.driver.stood_in_s) == ([], 0, 0.0)


@pytest.mark.parametrize("reason", FAILURES)
def test_the_governors_stand_in_for_a_policy_that_fails_until_it_decides_again(world, reason):
    world.steps(1.0)
    world.policy.does = FAILURES[reason]
    assert world.steps(1.0) == [ON_BOARD] * 4
    assert world.plant.is_given_back
    assert reason in world.driver.failure
    world.policy.does = lambda: np.array(ACTION)
    assert world.steps(RETRY_S)[-1] == ACTION
    assert not world.plant.is_given_back
    assert world.driver.failure is None
    assert world.policy.n_begun == 2
    assert world.driver.stood_in_s == pytest.approx(RETRY_S)
    said, again = world.told
    assert said.startswith(reason)
    assert "the board's own governors have the clocks" in said
    assert again == "the policy decides again, after it was stood in for during 10 s"


def test_one_that_hangs_is_stood_in_for_and_goes_on_where_it_comes_to_its_end(world, monkeypatch):
    world.steps(1.0)
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)
    go_on = threading.Event()
    world.policy.does = lambda: (go_on.wait(60.0), np.array(ACTION))[1]
    assert world.steps(STUCK_S) == [ACTION] * 20  # the last one stays in force
    assert world.steps(1.0)[-1] == ON_BOARD
    assert world.steps(3 * RETRY_S)[-1] == ON_BOARD
    assert world.told == [
        "the policy has not decided for 5 s; the board's own governors have the clocks, and the "
        "network runs on this board alone until it decides again"
    ]
    go_on.set()
    monkeypatch.setattr(module, "PATIENCE_S", PATIENCE_S)
    assert world.steps(5 * RETRY_S)[-1] == ACTION
    assert world.policy.n_begun == 1


def test_one_that_hangs_after_what_was_no_action_is_stood_in_for(world, monkeypatch):
    monkeypatch.setattr("agents.deployed.concurrent.STOP_S", 0.1)
    world.steps(1.0)
    concurrent = world.driver._concurrent
    hangs, go_on, close = threading.Event(), threading.Event(), concurrent.close

    def hang():
        hangs.set()
        go_on.wait(60.0)
        return np.array(ACTION)

    def close_at_work():
        world.policy.does = hang
        concurrent.post(OBSERVATION)
        assert hangs.wait(PATIENCE_S)
        close()

    world.policy.does = lambda: np.array([9, 9])
    monkeypatch.setattr(concurrent, "close", close_at_work)
    assert world.steps(1.0)[-1] == ON_BOARD
    assert "[9, 9], which is no action" in world.driver.failure
    monkeypatch.setattr(concurrent, "close", close)
    world.policy.does = lambda: np.array(ACTION)
    go_on.set()
    assert world.steps(5 * RETRY_S)[-1] == ACTION


def test_one_that_fails_again_and_again_is_tried_ever_less_often_and_told_once(world):
    world.steps(1.0)
    tries = []

    def fail_again():
        tries.append(world.clock())
        raise ValueError("broken")

    world.policy.does = fail_again
    world.steps(3 * LONGEST_RETRY_S)
    waits_s = np.diff(tries)
    assert waits_s[0] == RETRY_S
    assert (np.diff(waits_s) >= 0).all()
    assert waits_s[-1] == LONGEST_RETRY_S
    assert len(world.told) == 1


def test_one_that_flaps_is_trusted_less_each_time_until_it_was_good_for_long(world):
    for wait_s in (RETRY_S, 2 * RETRY_S, 4 * RETRY_S):
        world.policy.does = lambda: np.array(ACTION)
        while world.driver.decide(OBSERVATION).action.tolist() != ACTION:
            world.clock.sleep(STEP_S)
        world.policy.does = fail
        world.steps(STEP_S)
        assert world.steps(wait_s - STEP_S)[-1] == ON_BOARD
        world.policy.does = lambda: np.array(ACTION)
        assert world.steps(STEP_S)[-1] == ACTION
    world.steps(STEADY_S)
    world.policy.does = fail
    world.steps(STEP_S)
    world.policy.does = lambda: np.array(ACTION)
    assert world.steps(RETRY_S)[-1] == ACTION


def test_clocks_that_cannot_be_given_back_stay_at_the_highest(world):
    world.steps(1.0)
    world.plant.can_give_back = False
    world.policy.does = fail
    assert world.steps(1.0)[-1] == ON_BOARD
    assert "clocks stay at the highest, as they cannot be given back (cpu: no" in world.told[0]
    world.policy.does = lambda: np.array(ACTION)
    assert world.steps(RETRY_S)[-1] == ACTION


def test_a_policy_that_never_decided_ends_the_service(world):
    world.policy.does = fail
    with pytest.raises(ZeroDivisionError):
        world.steps(STEP_S)
    assert not world.plant.is_given_back


def test_want_of_memory_ends_the_service(world):
    world.steps(1.0)

    def run_out():
        raise MemoryError

    world.policy.does = run_out
    with pytest.raises(MemoryError):
        world.steps(STEP_S)


def test_a_policy_hears_of_the_steps_that_it_decided_on_alone(world):
    world.steps(1.0)
    world.driver.account(3, 1)
    world.steps(1.0)
    world.policy.does = fail
    world.steps(1.0)
    world.driver.account(5, 5)
    world.policy.does = lambda: np.array(ACTION)
    world.steps(RETRY_S)
    assert sum(asked for asked, _ in world.policy.accounted) == 3


def test_a_hung_policy_is_named_at_the_end(monkeypatch):
    monkeypatch.setattr("agents.deployed.concurrent.STOP_S", 0.1)
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)
    go_on = threading.Event()
    driver = Driver(lambda: BoardDecider(lambda _: go_on.wait(60.0)), Plant(), clock=FakeClock())
    with pytest.raises(AgentError, match="has not come to its end"), driver:
        driver.decide(OBSERVATION)
    go_on.set()


def test_a_policy_that_takes_too_long_for_its_first_decision_ends_the_service(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)
    clock, go_on = FakeClock(), threading.Event()
    driver = Driver(lambda: BoardDecider(lambda _: go_on.wait(60.0)), Plant(), clock=clock)
    assert driver.decide(OBSERVATION).action.tolist() == ON_BOARD
    clock.sleep(module.FIRST_S + 1.0)
    with pytest.raises(PolicyError, match="has not decided for 60 s"):
        driver.decide(OBSERVATION)
    go_on.set()
    driver.__exit__(None, None, None)
