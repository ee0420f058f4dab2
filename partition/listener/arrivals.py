"""Admission of calls that only hold a place: shared fairly, and none for longer than is allowed.

A call takes a thread as soon as its header is there. Clients that send headers only, or a stream's
first message and no other, would else take all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from partition.listener.peers import Peer, who_gives_way

_CHECK_PERIOD_S = 0.25


class Call(Protocol):
    """What is needed of a `grpc.ServicerContext`."""

    def cancel(self) -> None:
        """End the call, from any thread."""


class _Waiting(NamedTuple):
    peer: Peer
    due_s: float


class Arrivals:
    """Calls that hold a place; safe to use from several threads.

    Where all places are taken, the peer that holds most of them has to give one up.

    Args:
        places: calls that may hold one at the same time.
        timeout_s: longest time; the call is ended then.
        refused: called with peer and reason of each call that was ended.
        lacks: what a call has not had by then, for the reason.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        places: int,
        timeout_s: float,
        refused: Callable[[Peer, str], object],
        clock: Callable[[], float] = time.monotonic,
        lacks: str = "message",
    ) -> None:
        self._places, self._timeout_s, self._lacks = places, timeout_s, lacks
        self._refused, self._clock = refused, clock
        self._guard = threading.Lock()
        self._waiting: dict[Call, _Waiting] = {}  # oldest first
        self._some = threading.Event()
        self._closed = False

    def start(self) -> None:
        """Begin to end calls that take too long."""
        threading.Thread(target=self._watch, daemon=True, name="arrivals").start()

    def begin(self, call: Call, peer: Peer) -> bool:
        """A call of a peer takes a place; False: there is none for it.

        A caller that got a place calls `end` with the same call.
        """
        new = _Waiting(peer, self._clock() + self._timeout_s)
        victim = None
        with self._guard:
            if len(self._waiting) >= self._places:
                victim = self._victim(new)
                if victim is None:
                    return False
                loser = self._waiting.pop(victim)
            self._waiting[call] = new
        if not self._some.is_set():
            self._some.set()
        if victim is not None:
            self._cut(victim, loser.peer, "it held the most places, and others want one")
        return True

    def end(self, call: Call) -> None:
        """What it waited for is there, or will not come."""
        with self._guard:
            self._waiting.pop(call, None)

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
        self._some.set()

    def _victim(self, new: _Waiting) -> Call | None:
        """Who gives way to `new`; None: itself. Holds the guard."""
        loser = who_gives_way([each.peer for each in self._waiting.values()], new.peer)
        return next((call for call, each in self._waiting.items() if each.peer == loser), None)

    def _watch(self) -> None:
        while not self._closed:
            self._some.wait()
            time.sleep(_CHECK_PERIOD_S)
            now_s = self._clock()
            with self._guard:
                late = [item for item in self._waiting.items() if item[1].due_s <= now_s]
                for call, _ in late:
                    del self._waiting[call]
                if not self._waiting and not self._closed:
                    self._some.clear()
            for call, each in late:
                self._cut(call, each.peer, f"no {self._lacks} within {self._timeout_s:.1f} s")

    def _cut(self, call: Call, peer: Peer, reason: str) -> None:
        self._refused(peer, reason)
        call.cancel()
