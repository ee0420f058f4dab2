"""Where applications on a board hand in inputs and wait for the network's answers.

The same messages as between board and cloud, at the split point of the input; whoever decides where
the network is cut takes the requests one by one.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from partition import rpc, wire
from partition.endpoint import Endpoint
from partition.errors import CloudError, DeadlineExceededError, ServerBusyError, WireError
from partition.load import LoadMeter
from partition.model_folder import ModelFolder
from partition.tls import is_loopback

Arrays = tuple[npt.NDArray[Any], ...]
N_ARRIVALS = 32
"""That are remembered: at 8 requests per second of the last four seconds."""
_DRAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """An application waits for the answer to this.

    Attributes:
        inputs: of the network.
        arrived_s: on the service's clock.
        label: of the unsplit network; nobody knows it.
    """

    inputs: Arrays
    arrived_s: float
    label: None = None
    _outputs: Future[Arrays] = field(default_factory=Future)

    def claim(self) -> bool:
        """Whether somebody still waits; from then on the answer is owed."""
        return self._outputs.set_running_or_notify_cancel()

    def answer(self, outputs: Arrays) -> None:
        """Give the network's outputs."""
        self._outputs.set_result(outputs)

    def refuse(self, error: Exception) -> None:
        """Say why there will be no answer."""
        self._outputs.set_exception(error)

    def wait(self, seconds: float) -> Arrays:
        """The outputs.

        Raises:
            DeadlineExceededError: they did not come in time.
            Exception: they will not come, for the reason that was given.
        """
        try:
            return self._outputs.result(seconds)
        except (FutureTimeoutError, CancelledError):
            self._outputs.cancel()
            raise DeadlineExceededError("the request waited too long") from None


class LocalService:
    """Takes requests of applications on this machine.

    Args:
        folder: the network.
        listen: HOST:PORT of this machine; port 0 takes a free one.
        max_waiting: requests; one more is refused.
        clock: monotonic seconds.

    Attributes:
        port: that is listened on.
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
                f"{host} is reachable from other machines, but only applications on this one are "
                "served: listen on 127.0.0.1"
            )
        self._input = folder.split_points[0]
        self._clock = clock
        self._queue: queue.Queue[LocalRequest] = queue.Queue(max_waiting)
        self._load = LoadMeter(1)
        self._counting = threading.Lock()
        self._arrivals_s: deque[float] = deque(maxlen=N_ARRIVALS)
        self.refused = 0
        self._endpoint = Endpoint(
            listen,
            self._answer,
            {folder.fingerprint: folder},
            lambda: self._load.read()[0],
            n_requests=max_waiting + 1,
        )
        self.port = self._endpoint.port

    def start(self) -> None:
        """Begin to listen."""
        self._endpoint.start()

    def stop(self) -> None:
        """Refuse who waits, and stop."""
        while (request := self.take(0.0)) is not None:
            request.refuse(CloudError("the board's service was stopped"))
        self._endpoint.stop(_DRAIN_S)

    def waiting(self) -> int:
        """Requests that nobody has taken yet."""
        return self._queue.qsize()

    def arrivals_s(self) -> list[float]:
        """When the latest requests came, refused ones too, on the service's clock."""
        with self._counting:
            return list(self._arrivals_s)

    def take(self, wait_s: float) -> LocalRequest | None:
        """The next request that somebody still waits for; None if none comes in time.

        Whoever takes it has to answer it.
        """
        until_s = self._clock() + wait_s
        while True:
            try:
                request = self._queue.get(timeout=max(until_s - self._clock(), 0.0))
            except queue.Empty:
                return None
            if request.claim():
                return request

    def _answer(self, message: bytes, remaining_s: float) -> wire.Reply:
        with self._counting:
            arrived_s = self._clock()
            self._arrivals_s.append(arrived_s)
        self._load.begin()
        try:
            request = LocalRequest(self._inputs(message), arrived_s)
            outputs = self._outputs(request, remaining_s)
        except (ServerBusyError, DeadlineExceededError):
            with self._counting:
                self.refused += 1
            raise
        finally:
            self._load.end()
        load, pending = self._load.read()
        return wire.Reply(outputs, self._clock() - arrived_s, load, pending)

    def _inputs(self, message: bytes) -> Arrays:
        """What a request holds.

        Raises:
            CloudError: another network is asked for.
            WireError: no inputs of the network.
        """
        request = wire.unpack_request(message)
        self._endpoint.find(request.fingerprint)
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

    def _outputs(self, request: LocalRequest, remaining_s: float) -> Arrays:
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            raise ServerBusyError(f"{self._queue.maxsize} requests wait already") from None
        return request.wait(remaining_s)
