"""Client for a board's own applications to get the network's answers from `deploy.py --listen`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from partition.errors import CloudUnavailableError, WireError
from partition.model.folder import ModelFolder
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
            deadline_s: time after which the answer is of no use; a minute at most is waited.

        Raises:
            DeadlineExceededError: there was none in time.
            ServerBusyError: too many requests wait already.
            CloudError: the service is gone, or refuses the inputs.
            WireError: there are more or fewer inputs than the network takes, the type of one
                cannot become the network's without other values, or the deadline is no number.
        """
        dtypes = self._input.dtypes
        if len(inputs) != len(dtypes):
            raise WireError(f"{len(inputs)} inputs for {self._folder.name}, it takes {len(dtypes)}")
        tensors = tuple(
            wire.Raw(_cast(x, np.dtype(dtype), i))
            for i, (x, dtype) in enumerate(zip(inputs, dtypes, strict=True))
        )
        number, message = self._stub.request(self._input, tensors)
        answer = self._call(self._stub.infer, message, rpc.timeout_s(deadline_s))
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
                    f"nobody answers at {self._address}: start deploy.py --listen {self._address}"
                )
            raise failure from error


def _cast(x: Any, dtype: np.dtype[Any], position: int) -> npt.NDArray[Any]:
    """An input as the type of the network's.

    Rounding within a kind of numbers is fine, as from float64 to float32; another value is not.

    Raises:
        WireError: it has another kind, or values beyond the type's.
    """
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise WireError(f"input {position} is no array ({error})") from error
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise WireError(
            f"input {position} is of {array.dtype}, the network takes {dtype}: convert it first"
        )
    with np.errstate(over="ignore"):
        cast = np.asarray(array, dtype, order="C")
    if array.dtype != dtype and not _kept(array, cast):
        raise WireError(
            f"input {position} of {array.dtype} holds values beyond {dtype}, which the network "
            "takes: scale or check it first"
        )
    return cast


def _kept(array: npt.NDArray[Any], cast: npt.NDArray[Any]) -> bool:
    """Whether whole numbers are the same after a cast, and finite ones still finite."""
    if cast.dtype.kind != "f":
        return bool((array == cast).all())
    if array.dtype.kind != "f":
        return bool(np.isfinite(cast).all())
    return bool((np.isfinite(array) == np.isfinite(cast)).all())
