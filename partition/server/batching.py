"""Batching of tails of one cut: requests that wait while the workers are busy run as one batch.

Nothing waits for company: a request that finds a free worker is run at once, by the thread that
brought it. Otherwise it queues, and the worker that becomes free first takes the oldest request of
the peer whose turn it is and others of its cut, as many as pay and as the latency cap allows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from partition.errors import DeadlineExceededError, ServerBusyError
from partition.listener import fair_pool, peers
from partition.listener.peers import Peer, Turns, who_gives_way

_SMOOTHING = 0.2
# A larger batch must take this share of the time per request, or smaller ones are left apart.
_WORTH = 0.9
_FORGETTING = 0.995

_NOBODY = peers.parse("")

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_In_contra = TypeVar("_In_contra", contravariant=True)
_Out_co = TypeVar("_Out_co", covariant=True)


class Runner(Protocol[_In_contra, _Out_co]):
    """Something that runs several requests of its kind at once, for instance one tail."""

    @property
    def max_batch(self) -> int:
        """How many it can take together."""

    @property
    def key(self) -> Hashable:
        """Equal for requests that may share a batch."""

    def run(self, requests: Sequence[_In_contra]) -> Sequence[_Out_co]:
        """The answers, in order."""


@dataclass(slots=True, eq=False)
class _Job(Generic[_In]):
    runner: Runner[_In, Any]
    request: _In
    due_s: float
    peer: Peer
    gate: threading.Lock = field(default_factory=threading.Lock)
    batch: list[_Job[_In]] | None = None
    """Set when the thread that waits for this job has to run them all."""
    answer: Any = None
    batch_size: int = 0
    """Requests that were served together."""
    error: BaseException | None = None


class BatchQueue:
    """Runs requests on a few workers, batched; `serve` is called from one thread per request.

    Args:
        workers: batches that run at the same time.
        max_waiting: requests that may queue; with one more, whoever has most of them loses his
            last.
        max_batch: largest batch; a power of two.
        cap_s: a batch is only taken together if it will be done within this time.
        ran: called, for each request that was answered, with how many were served together.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        workers: int,
        max_waiting: int = 64,
        max_batch: int = 16,
        cap_s: float = 0.02,
        ran: Callable[[int], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free = workers
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._cap_s = cap_s
        self._ran = ran
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[_Job[Any]] = deque()
        self._batch_s: dict[tuple[Hashable, int], float] = {}
        self._turns = Turns()

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def serve(
        self, runner: Runner[_In, _Out], request: _In, due_s: float, peer: Peer = _NOBODY
    ) -> _Out:
        """Run a request and return its answer.

        Args:
            runner: what runs it.
            request: given to the runner, perhaps with others.
            due_s: time after which the answer is not read any more, by the clock.
            peer: whose it is.

        Raises:
            ServerBusyError: too many requests wait, and no other peer has more of them.
            DeadlineExceededError: it was not begun in time.
        """
        job = _Job(runner, request, due_s, peer)
        job.gate.acquire()
        with self._lock:
            if self._free:
                self._free -= 1
                job.batch = [job]
            else:
                self._drop_for(peer)
                self._waiting.append(job)
        if job.batch is None:
            with fair_pool.aside():
                job.gate.acquire()  # until it is done, to be run, or dropped
        if job.batch is not None:
            try:
                self._run(job.batch)
            finally:
                self._hand_over()
        if job.error is not None:
            raise job.error
        self._ran(job.batch_size)
        answer: _Out = job.answer
        return answer

    def _run(self, batch: list[_Job[Any]]) -> None:
        """Run a batch in this thread and let those who wait for it go."""
        start_s = self._clock()
        if self._try(batch):
            self._learn((batch[0].runner.key, len(batch)), self._clock() - start_s)
        elif len(batch) > 1:  # one bad request must not spoil the others'
            for job in batch:
                job.error = None
                self._try([job])
        for job in batch[1:]:
            job.gate.release()

    @staticmethod
    def _try(batch: list[_Job[Any]]) -> bool:
        """Whether a batch ran; whatever went wrong is kept for those who wait for it."""
        try:
            with fair_pool.aside():
                answers = batch[0].runner.run([job.request for job in batch])
            for job, answer in zip(batch, answers, strict=True):
                job.answer, job.batch_size = answer, len(batch)
        except BaseException as error:
            for job in batch:
                job.error = error
            return False
        return True

    def _learn(self, key: tuple[Hashable, int], batch_s: float) -> None:
        before_s = self._batch_s.get(key, batch_s)
        self._batch_s[key] = before_s + _SMOOTHING * (batch_s - before_s)

    def _hand_over(self) -> None:
        """Give this worker to those who have waited longest."""
        with self._lock:
            self._drop_late()
            if not self._waiting:
                self._free += 1
                return
            first = self._turns.next(self._waiting, lambda job: job.peer)
            alike = [job for job in self._waiting if job.runner.key == first.runner.key]
            alike.remove(first)
            first.batch = [first, *alike][: self._choose(first.runner, len(alike) + 1)]
            taken = set(map(id, first.batch))
            self._waiting = deque(job for job in self._waiting if id(job) not in taken)
        first.gate.release()

    def _drop_for(self, new: Peer) -> None:
        """Make room for a request, if there is none, at the cost of the peer that has most."""
        if len(self._waiting) < self._max_waiting:
            return
        busy = ServerBusyError(f"{len(self._waiting)} requests wait already")
        loser = who_gives_way([job.peer for job in self._waiting], new)
        if loser is None:
            raise busy
        job = next(job for job in reversed(self._waiting) if job.peer == loser)
        self._waiting.remove(job)
        job.error = busy
        job.gate.release()

    def _drop_late(self) -> None:
        now_s = self._clock()
        if all(job.due_s > now_s for job in self._waiting):
            return
        for job in self._waiting:
            if job.due_s <= now_s:
                job.error = DeadlineExceededError("the request waited too long")
                job.gate.release()
        self._waiting = deque(job for job in self._waiting if job.error is None)

    def _choose(self, runner: Runner[Any, Any], n_alike: int) -> int:
        """The batch size with the least time per request within the cap; unknown ones are tried."""
        best, best_s = 1, self._batch_s.get((runner.key, 1))
        size = 2
        while best_s is not None and size <= min(n_alike, runner.max_batch, self._max_batch):
            batch_s = self._batch_s.get((runner.key, size))
            if batch_s is None:
                return size if best_s / best * size <= self._cap_s else best
            if batch_s <= self._cap_s and batch_s / size < _WORTH * best_s / best:
                best, best_s = size, batch_s
            else:  # one slow run must not rule a size out for ever
                self._batch_s[runner.key, size] = _FORGETTING * batch_s
                break
            size *= 2
        return best
