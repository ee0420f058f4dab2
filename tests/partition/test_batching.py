"""The queue before the workers: who is run with whom, who is refused, who is dropped."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from partition.errors import DeadlineExceededError, ServerBusyError, WireError
from partition.server.batching import BatchQueue
from tests.hw.fake.clock import FakeClock

LATER_S = 1e9
WAIT_S = 10.0


class Doubling:
    """Doubles numbers; remembers batches; can be held back, or take a time."""

    def __init__(self, key="a", max_batch=16, takes=None):
        self.key, self.max_batch, self.takes = key, max_batch, takes
        self.batches = []
        self.began, self.go = threading.Event(), threading.Event()
        self.go.set()

    def run(self, requests):
        self.batches.append(list(requests))
        self.began.set()
        assert self.go.wait(WAIT_S)
        if self.takes is not None:
            self.takes(len(requests))
        if "bad" in requests:
            raise WireError("bad")
        return [2 * request for request in requests]


def wait_for(condition):
    give_up_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.001)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(40) as pool:
        yield pool


def all_at_once(pool, queue, runner, n):
    """Run some requests that have waited together behind one of another kind."""
    futures = held_up(pool, queue, plug := Doubling("plug"), [0])
    futures += [pool.submit(queue.serve, runner, i, LATER_S) for i in range(n)]
    wait_for(lambda: len(queue) == n)
    plug.go.set()
    for future in futures:
        future.result(WAIT_S)


def held_up(pool, queue, runner, requests, due_s=LATER_S):
    """One request in work that was held back, and others that queue behind it, in order."""
    runner.go.clear()
    runner.began.clear()
    futures = [pool.submit(queue.serve, runner, requests[0], due_s)]
    assert runner.began.wait(WAIT_S)
    for n, request in enumerate(requests[1:], 1):
        futures.append(pool.submit(queue.serve, runner, request, due_s))
        wait_for(lambda n=n: len(queue) == n)
    return futures


def test_a_free_worker_runs_a_request_at_once_and_alone():
    runner = Doubling()
    ran = []
    assert BatchQueue(1, ran=ran.append).serve(runner, 21, LATER_S) == 42
    assert ran == [1]


def test_what_waited_is_run_together_and_each_gets_its_own_answer(pool):
    ran = []
    queue, runner = BatchQueue(1, cap_s=10.0, ran=ran.append), Doubling()
    for _ in range(3):  # so that it is known what one takes
        queue.serve(runner, 0, LATER_S)
    futures = held_up(pool, queue, runner, list(range(17)))
    runner.go.set()
    assert [future.result(WAIT_S) for future in futures] == [2 * i for i in range(17)]
    assert max(map(len, runner.batches)) > 1
    assert sorted(ran) == sorted(len(batch) for batch in runner.batches for _ in batch)


def test_batches_grow_where_that_pays_and_stay_within_the_cap(pool):
    clock = FakeClock()
    for cap_s, takes_s, largest in (
        (0.05, lambda n: 0.004 + 0.001 * n, 16),
        (0.05, lambda n: 0.004 * n, 2),  # tried, found useless
        (0.01, lambda n: 0.004 + 0.001 * n, 4),
        (0.001, lambda n: 0.002, 1),
    ):
        queue = BatchQueue(1, cap_s=cap_s, clock=clock)
        runner = Doubling(takes=lambda n, takes_s=takes_s: clock.sleep(takes_s(n)))
        queue.serve(runner, 0, LATER_S)
        for _ in range(4):
            all_at_once(pool, queue, runner, 16)
        assert max(map(len, runner.batches[-4:])) <= largest
        assert max(map(len, runner.batches)) >= min(largest, 2)


def test_tails_of_other_cuts_are_not_mixed_in(pool):
    queue = BatchQueue(1, cap_s=10.0)
    a, b = Doubling("a"), Doubling("b")
    for runner in (a, b):
        queue.serve(runner, 0, LATER_S)
    futures = held_up(pool, queue, a, [1])
    for n, runner in enumerate((b, a, b, a), 1):
        futures.append(pool.submit(queue.serve, runner, n, LATER_S))
        wait_for(lambda n=n: len(queue) == n)
    a.go.set()
    assert [f.result(WAIT_S) for f in futures] == [2, 2, 4, 6, 8]
    assert b.batches[-1] == [1, 3]
    assert a.batches[-1] == [2, 4]


def test_one_too_many_is_refused_and_the_others_are_served(pool):
    queue, runner = BatchQueue(1, max_waiting=3), Doubling()
    futures = held_up(pool, queue, runner, [1, 2, 3, 4])
    with pytest.raises(ServerBusyError, match="3 requests wait"):
        queue.serve(runner, 5, LATER_S)
    runner.go.set()
    assert [f.result(WAIT_S) for f in futures] == [2, 4, 6, 8]
    assert queue.serve(runner, 6, LATER_S) == 12


def test_what_waited_beyond_its_deadline_is_not_run(pool):
    now_s = [0.0]
    queue, runner = BatchQueue(1, clock=lambda: now_s[0]), Doubling()
    futures = held_up(pool, queue, runner, [1, 2, 3], due_s=5.0)
    now_s[0] = 6.0
    runner.go.set()
    assert futures[0].result(WAIT_S) == 2
    for future in futures[1:]:
        with pytest.raises(DeadlineExceededError, match="too long"):
            future.result(WAIT_S)
    assert runner.batches == [[1]]
    assert queue.serve(runner, 4, LATER_S) == 8


def test_a_bad_request_does_not_spoil_the_others_of_its_batch(pool):
    queue, runner = BatchQueue(1, cap_s=10.0), Doubling()
    queue.serve(runner, 0, LATER_S)
    futures = held_up(pool, queue, runner, [1, 2, "bad", 3, 4])
    runner.go.set()
    assert [futures[i].result(WAIT_S) for i in (0, 1, 3, 4)] == [2, 4, 6, 8]
    with pytest.raises(WireError, match="bad"):
        futures[2].result(WAIT_S)


def test_a_graph_with_a_fixed_batch_is_never_given_more(pool):
    queue, runner = BatchQueue(1, cap_s=10.0), Doubling(max_batch=1)
    queue.serve(runner, 0, LATER_S)
    futures = held_up(pool, queue, runner, [1, 2, 3])
    runner.go.set()
    assert [f.result(WAIT_S) for f in futures] == [2, 4, 6]
    assert max(map(len, runner.batches)) == 1


def test_under_load_from_many_threads_nothing_is_lost_or_mixed_up(pool):
    queue = BatchQueue(2, max_waiting=1000, cap_s=10.0)
    runners = [Doubling(key) for key in "abc"]
    futures = [pool.submit(queue.serve, runners[i % 3], i, LATER_S) for i in range(3000)]
    assert [f.result(WAIT_S) for f in futures] == [2 * i for i in range(3000)]
    assert len(queue) == 0
    assert queue._free == 2
