"""Client for a board's own applications to get the network's answers from `deploy.py --listen`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy.typing as npt

from common import command
from partition.errors import CloudUnavailableError
from partition.model.folder import ModelFolder
from partition.model.inputs import as_inputs
from partition.security.tls import UNENCRYPTED
from partition.transport import grpc_options, refusals, rpc, wire
from partition.transport.stub import Stub

_HELLO_S = 2.0


class LocalClient:
    """Asks a board's service; a context manager; safe to use from several threads.

    Args:
        address: HOST:PORT that `deploy.py` listens on.
        model: folder of the network, or its name under models/.

    Raises:
        ModelMismatchError: the service runs another network.
        CloudError: no service answers there.
        ModelNotFoundError: there is no such folder.
    """

    def __init__(self, address: str, model: str | Path) -> None:
        self._address = address
        self._folder = ModelFolder.open(model)
        self._input = self._folder.split_points[0]
        self._channel = UNENCRYPTED.channel(address, grpc_options.LOCAL_CLIENT)
        self._stub = Stub(self._channel, address, self._folder)
        try:
            self._stub.check_hello(self._call(self._stub.hello, self._stub.greeting, _HELLO_S))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LocalClient:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def infer(
        self, *inputs: npt.NDArray[Any], deadline_s: float = 1.0
    ) -> tuple[npt.NDArray[Any], ...]:
        """The network's outputs; of a classifier the first one is (1, n_classes).

        Args:
            inputs: of the network, preprocessed; of an image network float32 (1, 3, H, W).
            deadline_s: time after which the answer is of no use; a minute at most is waited, also
                for one that is infinite.

        Raises:
            DeadlineExceededError: there was none in time, or the time was over before.
            ServerBusyError: too many requests wait already.
            CloudError: the service is gone, or refuses the inputs.
            WireError: there are more or fewer inputs than the network takes, the type of one
                cannot become the network's without other values, or the deadline is no number.
        """
        timeout_s = rpc.patience_s(deadline_s)
        tensors = tuple(map(wire.Raw, as_inputs(self._folder, inputs)))
        number, message = self._stub.request(self._input, tensors)
        answer = self._call(self._stub.infer, message, timeout_s)
        return self._stub.reply(answer, number).outputs

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _call(self, method: Callable[..., Any], message: bytes, timeout_s: float) -> bytes:
        try:
            return bytes(method(message, timeout=timeout_s))
        except grpc.RpcError as error:
            failure = refusals.explain(error, self._address, timeout_s)
            if isinstance(failure, CloudUnavailableError):
                failure = CloudUnavailableError(
                    f"nobody answers at {self._address}: start {command.program('deploy')} "
                    f"--listen {self._address}"
                )
            raise failure from error
