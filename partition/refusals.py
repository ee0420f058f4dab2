"""What a failed call of gRPC means, in the words of `partition.errors`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import grpc

from partition import rpc
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ModelMismatchError,
    ServerBusyError,
)

_SHOWN_CHARACTERS = 200


def explain(error: Any, address: str, timeout_s: float) -> CloudError:
    """The exception for a `grpc.RpcError` of a call to `address`."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return ModelMismatchError(f"{address} refuses: {details}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" not in details:
        return ServerBusyError(f"{address} is busy: {details}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"{address} did not answer within {timeout_s * 1e3:.1f} ms")
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return CloudError(f"{address} refuses: {details} ({code.name.lower()})")
    reason = f"{code.name.lower()}: {details[:_SHOWN_CHARACTERS]}"
    if "handshake failed" in details:
        return CloudUnavailableError(
            f"no cloud server at {address} that can be trusted ({reason}): give --tls-ca the "
            "authority of its certificate"
        )
    return CloudUnavailableError(
        f"no cloud server at {address} ({reason}): start python -m partition.server there"
    )


def load_of(error: Any) -> float:
    """Load that went along with a refusal; a server that says nothing is full."""
    for name, value in error.trailing_metadata() or ():
        if name == rpc.LOAD_METADATA:
            with suppress(ValueError):
                return min(max(float(value), 0.0), 1.0)
    return 1.0
