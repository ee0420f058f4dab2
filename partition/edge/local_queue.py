"""Requests of applications on a board: a short, fair queue that the control loop takes from."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.edge.pipeline import InferenceResult
from partition.errors import (
    CloudUnavailableError,
    DeadlineExceededError,
    ServerBusyError,
    WireError,
)
from partition.listener import fair_pool
from partition.listener.peers import Peer, Turns, who_gives_way
from partition.model.folder import ModelFolder

Arrays = tuple[npt.NDArray[Any], ...]
N_ARRIVALS = 32
"""That are remembered: at 8 requests per second of the last four seconds."""
_STOPPED = "the board's service was stopped"


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """What an application gets."""

    result: InferenceResult
    latency_s: float
    """From arrival to answer, waiting included."""


class LocalRequest:
    """An application waits for the answer to this.

    Args:
        inputs: of the network.
        peer: the application.
        arrived_s: on the service's clock.
        due_s: when the application stops waiting.
        clock: the service's, s.

    Attributes:
        label: of the unsplit network; unknown.
    """

    label: None = None

    def __init__(
        self,
        inputs: Arrays,
        peer: Peer,
        arrived_s: float,
        due_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.inputs, self.peer = inputs, peer
        self.arrived_s, self.due_s = arrived_s, due_s
        self._clock = clock
        self._answer: Future[LocalAnswer] = Future()

    @property
    def is_late(self) -> bool:
        """Whether no client waits any more."""
        return self._clock() >= self.due_s

    def answer(self, result: InferenceResult) -> bool:
        """Give the network's answer; returns whether the client still waits for it."""
        if not self._answer.done():
            self._answer.set_result(LocalAnswer(result, self._clock() - self.arrived_s))
        return not self.is_late

    def refuse(self, error: Exception) -> None:
        """Say why there will be no answer."""
        if not self._answer.done():
            self._answer.set_exception(error)

    def wait(self) -> LocalAnswer:
        """The answer.

        Raises:
            DeadlineExceededError: it did not come in time.
            Exception: it will not come, for the reason that was given.
        """
        try:
            with fair_pool.aside():
                return self._answer.result(max(self.due_s - self._clock(), 0.0))
        except FutureTimeoutError:
            raise DeadlineExceededError("the request waited too long") from None


class LocalQueue:
    """Requests that wait, bounded and fair; safe to use from several threads.

    Args:
        folder: the network.
        max_waiting: requests; with one more, the connection that has most of them loses its last.
        clock: monotonic seconds.

    Attributes:
        refused: requests since the start that came when too many waited, or waited too long.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused = 0
        self._folder, self._max_waiting, self._clock = folder, max_waiting, clock
        self._input = folder.split_points[0]
        self._changed = threading.Condition()
        self._waiting: deque[LocalRequest] = deque()
        self._turns = Turns()
        self._open: set[LocalRequest] = set()  # waiting, or taken and not answered
        self._arrivals_s: deque[float] = deque(maxlen=N_ARRIVALS)
        self._stopped = False

    def stop(self) -> None:
        """Refuse everybody who waits or comes."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            for request in self._open:
                request.refuse(CloudUnavailableError(_STOPPED))

    def ask(self, inputs: Arrays, due_s: float, peer: Peer) -> LocalAnswer:
        """Wait for the answer to one request.

        Args:
            inputs: of the network, in its types and shapes.
            due_s: when the application stops waiting, on the service's clock.
            peer: the application.

        Raises:
            WireError: no inputs of the network.
            ServerBusyError: too many wait already.
            DeadlineExceededError: there was no answer in time.
            CloudUnavailableError: the service was stopped.
            Exception: the network fails, for the reason that was given.
        """
        self._check(inputs)
        request = LocalRequest(inputs, peer, self._clock(), due_s, self._clock)
        self._enqueue(request)
        try:
            return request.wait()
        finally:
            with self._changed:
                self._open.discard(request)

    def waiting(self) -> int:
        """Requests that have not been taken yet."""
        with self._changed:
            self._forget_late()
            return len(self._waiting)

    def arrivals_s(self) -> list[float]:
        """When the latest requests came, refused ones too, on the service's clock."""
        with self._changed:
            return list(self._arrivals_s)

    def take(self, until_s: float) -> LocalRequest | None:
        """The next request that came before a moment; None if there is none until then.

        Connections take turns; of each it is the oldest one.

        The caller that takes it has to answer it.
        """
        with self._changed:
            while True:
                self._forget_late()
                if self._waiting:
                    if self._waiting[0].arrived_s >= until_s:
                        return None
                    request = self._turns.next(self._waiting, lambda each: each.peer)
                    self._waiting.remove(request)
                    return request
                left_s = until_s - self._clock()
                if left_s <= 0.0:
                    return None
                self._changed.wait(left_s)

    def _forget_late(self) -> None:
        """Let those go whose application stopped waiting."""
        n = len(self._waiting)
        self._waiting = deque(request for request in self._waiting if not request.is_late)
        self.refused += n - len(self._waiting)

    def _enqueue(self, request: LocalRequest) -> None:
        with self._changed:
            if self._stopped:
                raise CloudUnavailableError(_STOPPED)
            self._arrivals_s.append(request.arrived_s)
            self._forget_late()
            if len(self._waiting) >= self._max_waiting:
                self.refused += 1
                self._drop_for(request)
            self._waiting.append(request)
            self._open.add(request)
            self._changed.notify()

    def _drop_for(self, new: LocalRequest) -> None:
        """Make room for a request at the cost of the connection that has most of them."""
        busy = ServerBusyError(f"{self._max_waiting} requests wait already")
        loser = who_gives_way([each.peer for each in self._waiting], new.peer)
        if loser is None:
            raise busy
        victim = next(each for each in reversed(self._waiting) if each.peer == loser)
        self._waiting.remove(victim)
        victim.refuse(busy)

    def _check(self, inputs: Arrays) -> None:
        """Refuse what are no inputs of the network.

        Raises:
            WireError: they are none.
        """
        shapes, names = tuple(a.shape for a in inputs), tuple(a.dtype.name for a in inputs)
        if (shapes, names) != (self._input.shapes, self._input.dtypes):
            raise WireError(
                f"the network takes {self._input.shapes} of {', '.join(self._input.dtypes)}, "
                f"unquantised, not {shapes} of {', '.join(names)}"
            )
        if not all(np.isfinite(array).all() for array in inputs if array.dtype.kind == "f"):
            raise WireError("an input holds NaN or infinity")
