"""Threads for the calls of a server, dealt out in turn to addresses and connections.

A pool that takes calls as they come answers a board after the thousands that a flood has sent
before it. Here the next call is one of the address, and in it of the connection, whose turn it is.

A call is begun only while few others are in Python: a hundred threads that all want the interpreter
keep it from gRPC's own. Those that wait, or run a network, do not count; they go on as soon as they
can, before another one is begun.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from partition.listener import peers
from partition.listener.peers import Peer

logger = logging.getLogger(__name__)

_NOBODY = peers.parse("")
_ACTIVE = 4
"""Calls in Python beside which no other is begun. Each waits for the others, gRPC for them all."""
_CROWD, _SHARE = 128, 8
"""Where so many calls wait in all, a connection beside others may have so many: a tenth of a second
of work, and twice what a board asks for at once."""
_here = threading.local()


class _Job(NamedTuple):
    future: Future[Any]
    work: Callable[[], Any]
    call: Any
    """gRPC's; None where its peer cannot be known."""


class FairPool(ThreadPoolExecutor):
    """Threads for gRPC's server, which asks for this class.

    Args:
        threads: at most; each is made when it is needed.
        queue: calls of one connection that may wait for a thread; one more is ended.
        ended: called with the peer of each call that is ended so.
    """

    def __init__(self, threads: int, queue: int, ended: Callable[[Peer], object]) -> None:
        super().__init__(threads)
        self._queue, self._ended = queue, ended
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, OrderedDict[Peer, deque[_Job]]] = OrderedDict()
        self._workers: list[threading.Thread] = []
        self._calls: Counter[Peer] = Counter()
        self._n_idle = self._n_active = self._n_waiting = 0
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call when its peer's turn has come."""
        call = _call_of(args)
        peer = peers.parse(call.peer().decode()) if call is not None else _NOBODY
        job = _Job(Future(), partial(fn, *args, **kwargs), call)
        with self._changed:
            queue = self._waiting.setdefault(peer.address, OrderedDict()).setdefault(peer, deque())
            is_full = call is not None and len(queue) >= self._room(peer)
            if not is_full:
                queue.append(job)
                self._calls[peer] += 1
                self._n_waiting += 1
                self._wake()
        if is_full:
            _end(job)
            self._ended(peer)
        return job.future

    def calls(self) -> dict[Peer, int]:
        """How many calls of each connection wait or run."""
        with self._changed:
            return dict(self._calls)

    def forget(self, peer: Peer) -> None:
        """End all calls of a connection that wait."""
        with self._changed:
            of_address = self._waiting.get(peer.address)
            jobs = of_address.pop(peer, ()) if of_address else ()
            if of_address is not None and not of_address:
                del self._waiting[peer.address]
            self._leave(peer, len(jobs))
            self._n_waiting -= len(jobs)
        for job in jobs:
            _end(job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Run what waits, then end the threads."""
        with self._changed:
            self._closed, self._n_idle = True, 0
            self._changed.notify_all()
        if wait:
            for thread in self._workers:
                thread.join()

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, daemon=True, name="serve")
        try:
            thread.start()
        except RuntimeError:  # the system gives no more of them: those that are there have to do
            if not self._workers:
                raise
        else:
            self._workers.append(thread)

    def count(self, change: int) -> None:
        """So many calls more are in Python now."""
        with self._changed:
            self._n_active += change
            self._wake()

    def _wake(self) -> None:
        """Find a thread for a call that waits, if there may be one more in Python."""
        if not self._waiting or self._n_active >= _ACTIVE:
            return
        if self._n_idle:
            self._n_idle -= 1  # that one is spoken for
            self._changed.notify()
        elif len(self._workers) < self._max_workers:
            self._add_thread()

    def _work(self) -> None:
        _here.pool = self
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Run the call whose turn it is, once there is one; False: there will be no more.

        A method of its own, so that nothing of the call outlives it: gRPC counts a call among those
        of its connection for as long as a thread holds it, and forty-eight that idle threads held
        kept a connection from all others.
        """
        found = self._next()
        if found is None:
            return False
        peer, job = found
        _here.counts = True
        try:
            job.future.set_result(job.work())
        except BaseException as error:
            logger.exception("a call failed beyond its handler")
            job.future.set_exception(error)
        finally:
            stop_counting()
            with self._changed:
                self._leave(peer, 1)
        return True

    def _room(self, peer: Peer) -> int:
        """How many calls of a connection may wait now."""
        is_alone = len(self._waiting) == len(self._waiting[peer.address]) == 1
        return self._queue if is_alone or self._n_waiting < _CROWD else _SHARE

    def _leave(self, peer: Peer, n: int) -> None:
        self._calls[peer] -= n
        if not self._calls[peer]:
            del self._calls[peer]

    def _next(self) -> tuple[Peer, _Job] | None:
        """The call whose turn it is; None: there will be no more."""
        with self._changed:
            while not self._waiting or self._n_active >= _ACTIVE:
                if self._closed and not self._waiting:
                    return None
                self._n_idle += 1
                self._changed.wait()
            self._n_active += 1
            self._n_waiting -= 1
            address, of_address = self._waiting.popitem(last=False)
            peer, queue = of_address.popitem(last=False)
            job = queue.popleft()
            if queue:
                of_address[peer] = queue
            if of_address:
                self._waiting[address] = of_address
            elif self._closed and not self._waiting:
                self._changed.notify_all()  # those that waited for a place in Python, too
            return peer, job


class ActiveThreads:
    """Threads beside a pool's that may be in Python at the same time; others wait for their turn.

    Args:
        n_threads: at most.
    """

    def __init__(self, n_threads: int = _ACTIVE) -> None:
        self._free = threading.BoundedSemaphore(n_threads)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Within, this thread is one of them, save for what it does `aside`."""
        _here.pool, _here.counts = self, True
        self.count(1)
        try:
            yield
        finally:
            stop_counting()

    def count(self, change: int) -> None:
        """One thread more, once it may be, or one less."""
        if change > 0:
            self._free.acquire()
        else:
            self._free.release()


def stop_counting() -> None:
    """From now on the call of this thread, if it has one, is not among those in Python."""
    if getattr(_here, "counts", False):
        _here.counts = False
        _here.pool.count(-1)


@contextmanager
def aside() -> Iterator[None]:
    """While a call or a joined thread waits, or runs what is not Python."""
    counted = getattr(_here, "counts", False)
    stop_counting()
    try:
        yield
    finally:
        if counted:
            _here.counts = True
            _here.pool.count(1)


def _call_of(arguments: tuple[Any, ...]) -> Any:
    """The call among what gRPC gives to a thread; None if this version gives none."""
    for each in arguments:
        call = getattr(each, "call", None)
        if hasattr(call, "peer"):
            return call
    return None


def _end(job: _Job) -> None:
    job.call.cancel()
    job.future.set_result(None)
