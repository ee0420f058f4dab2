"""Local service: applications on a board hand in inputs and wait for the network's answers.

The same messages as between board and cloud, at the split point of the input. The program that
decides where the network is cut takes the requests one by one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.errors import CloudError, DeadlineExceededError, ServerBusyError, WireError
from partition.listener import fair_pool
from partition.listener.endpoint import Endpoint
from partition.listener.listener import check_free
from partition.listener.load_meter import LoadMeter
from partition.listener.peers import Peer, Turns, who_gives_way
from partition.model.folder import ModelFolder
from partition.security.tls import is_loopback
from partition.transport import rpc, wire

Arrays = tuple[npt.NDArray[Any], ...]
N_ARRIVALS = 32
"""That are remembered: at 8 requests per second of the last four seconds."""
_DRAIN_S = 1.0


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
        self._outputs: Future[Arrays] = Future()

    @property
    def is_late(self) -> bool:
        """Whether no client waits any more."""
        return self._clock() >= self.due_s

    def answer(self, outputs: Arrays) -> bool:
        """Give the network's outputs; returns whether the client still waits for them."""
        if not self._outputs.done():
            self._outputs.set_result(outputs)
        return not self.is_late

    def refuse(self, error: Exception) -> None:
        """Say why there will be no answer."""
        if not self._outputs.done():
            self._outputs.set_exception(error)

    def wait(self) -> Arrays:
        """The outputs.

        Raises:
            DeadlineExceededError: they did not come in time.
            Exception: they will not come, for the reason that was given.
        """
        try:
            with fair_pool.aside():
                return self._outputs.result(max(self.due_s - self._clock(), 0.0))
        except FutureTimeoutError:
            raise DeadlineExceededError("the request waited too long") from None


class LocalService:
    """Takes requests of applications on this machine.

    Args:
        folder: the network.
        listen: HOST:PORT of this machine; port 0 takes a free one.
        max_waiting: requests; with one more, the connection that has most of them loses its last.
        clock: monotonic seconds.

    Attributes:
        address: that is listened on, once it has been started.
        refused: requests since the start that came when too many waited, or waited too long.

    Raises:
        CloudError: the address is no address, not of this machine, in use or not permitted.
    """

    def __init__(
        self,
        folder: ModelFolder,
        listen: str = "127.0.0.1:0",
        *,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        host, _ = rpc.parse_address(listen)
        if not is_loopback(host):
            raise CloudError(
                f"{host} is reachable from other machines, but only applications on this one "
                "are served: listen on 127.0.0.1"
            )
        check_free(listen)
        self.address = listen
        self.refused = 0
        self._folder, self._max_waiting, self._clock = folder, max_waiting, clock
        self._input = folder.split_points[0]
        self._changed = threading.Condition()
        self._waiting: deque[LocalRequest] = deque()
        self._turns = Turns()
        self._open: set[LocalRequest] = set()  # waiting, or taken and not answered
        self._arrivals_s: deque[float] = deque(maxlen=N_ARRIVALS)
        self._endpoint: Endpoint | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to listen; before, a client learns at once that no service answers."""
        self._endpoint = Endpoint(
            self.address,
            self._answer,
            {self._folder.fingerprint: self._folder},
            LoadMeter(1),
            n_requests=self._max_waiting + 1,
            is_local=True,
            clock=self._clock,
        )
        self.address = f"{self.address.rpartition(':')[0]}:{self._endpoint.port}"
        self._endpoint.start()

    def stop(self) -> None:
        """Refuse everybody who waits, and stop."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            for request in self._open:
                request.refuse(CloudError("the board's service was stopped"))
        if self._endpoint is not None:
            self._endpoint.stop(_DRAIN_S)

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

    def _answer(self, asked: wire.Request, due_s: float, peer: Peer) -> Arrays:
        request = LocalRequest(self._inputs(asked), peer, self._clock(), due_s, self._clock)
        self._enqueue(request)
        try:
            return request.wait()
        finally:
            with self._changed:
                self._open.discard(request)

    def _enqueue(self, request: LocalRequest) -> None:
        with self._changed:
            if self._stopped:
                raise CloudError("the board's service was stopped")
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

    def _inputs(self, request: wire.Request) -> Arrays:
        """What a request holds.

        Raises:
            WireError: no inputs of the network.
        """
        if request.split != self._input.index:
            raise WireError(
                f"split point {request.split} was asked for, a board takes whole inputs "
                f"({self._input.index})"
            )
        arrays = tuple(t.array for t in request.tensors if isinstance(t, wire.Raw))
        shapes, names = tuple(a.shape for a in arrays), tuple(a.dtype.name for a in arrays)
        if (shapes, names) != (self._input.shapes, self._input.dtypes):
            raise WireError(
                f"the network takes {self._input.shapes} of {', '.join(self._input.dtypes)}, "
                f"unquantised, not {shapes} of {', '.join(names)}"
            )
        if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
            raise WireError("an input holds NaN or infinity")
        return arrays
