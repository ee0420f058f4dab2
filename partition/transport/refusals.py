"""Failed gRPC calls as errors of `partition.errors`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import grpc

from partition.errors import (
    CloudAccessError,
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ModelMismatchError,
    ServerBusyError,
)
from partition.transport import rpc

OWN_FAULTS = (
    *(grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE),
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # too large: where there is no room, it is `_busy`
)
"""Codes of a request that is malformed, so that the server has nothing to do with it."""
_NO_ACCESS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_NO_SERVICE = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.FAILED_PRECONDITION)
_PASSING = (CloudUnavailableError, DeadlineExceededError, ServerBusyError)
_SHOWN_CHARACTERS = 200
_OUR_CERTIFICATE = "python -m partition.certificates"
_UNKNOWN_AUTHORITY = (
    "its certificate is of an unknown authority: give --tls-ca the authority of its certificate"
)
_UNVERIFIED = (
    "CERTIFICATE_VERIFY_FAILED",
    "SIGNATURE",
    "self signed",
    "self-signed",
    "unable to get",
)
_UNTRUSTED = (
    (
        "Hostname Verification Check failed",
        "its certificate is for another host: use a name or address that it holds, or make one "
        f"with {_OUR_CERTIFICATE} --host",
    ),
    (
        "certificate has expired",
        f"its certificate has expired: make a new one there with {_OUR_CERTIFICATE}, or set the "
        "clock here",
    ),
    ("certificate is not yet valid", "its certificate is not valid yet: set the clock here"),
    (
        "WRONG_VERSION_NUMBER",
        "it does not encrypt: start it with --tls-cert and --tls-key, or give --insecure on a "
        "network you trust",
    ),
    *((sign, _UNKNOWN_AUTHORITY) for sign in _UNVERIFIED),
)
_MISFITS = (
    (
        "ALERT_PROTOCOL_VERSION",
        "it speaks no TLS from 1.2 on: update it, or check that it is a dvfo server",
    ),
    ("UNSUPPORTED_PROTOCOL", "it speaks no TLS from 1.2 on: update it, or check the port"),
    ("ALPN", "it encrypts and speaks no HTTP/2, as a web server does: check the port"),
    ("http1.x", "it speaks HTTP/1, as a web server does: check the port"),
    ("Failed parsing HTTP/2", "it speaks no HTTP/2, so it is no gRPC server: check the port"),
    ("handshake failed", "the encryption cannot be agreed on: check the port and its --tls-cert"),
)
"""Peers that are another thing than a server of this package."""
_UNREACHABLE = (
    ("Connection refused", "start python -m partition.server there"),
    ("resolv", "check the name and this machine's resolver"),
    ("timed out", "check the network and the firewalls up to there"),
    ("No route", "check the network and the firewalls up to there"),
    ("unreachable", "check the network and the firewalls up to there"),
)
_HANGS_UP = ("Socket closed", "Connection reset")
_NEVER_SHOOK_HANDS = "Handshake read failed"
"""The connection ended before the server said anything; one that does not believe a client has
said who it is, and the end comes later."""
_UNWILLING = (
    "it accepts and hangs up: it starts, is full, or is no gRPC server; wait, or check the port"
)
_ENCRYPTS = (
    "it hangs up, as a server does that encrypts: give --tls-ca its authority; or as one that "
    "starts, is full, or is no gRPC server"
)
_BROKEN = "the connection broke, wait until there is another"
_NO_STREAM = ("REFUSED_STREAM", "RST_STREAM with error code 7")
"""A server's own limit of calls, reported as if no server were there."""
_GIVEN_UP = ("CANCELLED", "RST_STREAM")
"""Cancelled there; what was cancelled here says so in other words."""


def explain(error: Any, address: str, timeout_s: float) -> CloudError:
    """The exception for a `grpc.RpcError` of a call to `address`.

    Args:
        error: of the call.
        address: HOST:PORT.
        timeout_s: that the call had.
    """
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return ModelMismatchError(f"{address} refuses: {details}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"{address} did not answer within {timeout_s * 1e3:.1f} ms")
    if busy := _busy(code, details):
        return ServerBusyError(f"{address} is busy: {busy}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return _unavailable(code, details, address)
    kind = CloudAccessError if code in _NO_ACCESS else CloudError
    return kind(f"{address} refuses: {details} ({code.name.lower()})")


def is_refusal(failure: CloudError) -> bool:
    """Whether a server answered and will answer the same to the next call."""
    return not isinstance(failure, _PASSING)


def is_of_request(error: Any) -> bool:
    """Whether a refusal is about one request, so that another one may be served."""
    return error.code() not in (*_NO_ACCESS, *_NO_SERVICE)


def hung_up(error: Any) -> bool:
    """Whether the peer ended the connection while it was being made, after it said who it is."""
    details = error.details() or ""
    return _hung_up(details) and _NEVER_SHOOK_HANDS not in details


def load_of(error: Any) -> float:
    """Load that went along with a refusal; a server that says nothing is full."""
    for name, value in error.trailing_metadata() or ():
        if name == rpc.LOAD_METADATA:
            with suppress(ValueError):
                return min(max(float(value), 0.0), 1.0)
    return 1.0


def _busy(code: grpc.StatusCode, details: str) -> str | None:
    """Why there was no room for a call; None: there was."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" not in details:
        return details
    if code is grpc.StatusCode.UNAVAILABLE and any(sign in details for sign in _NO_STREAM):
        return "it takes no more calls"
    if code is grpc.StatusCode.CANCELLED and any(sign in details for sign in _GIVEN_UP):
        return "it gave up waiting for the whole request"
    return None


def _unavailable(code: grpc.StatusCode, details: str, address: str) -> CloudUnavailableError:
    reason = f"{code.name.lower()}: {details[:_SHOWN_CHARACTERS]}"
    for sign, remedy in _UNTRUSTED:
        if sign in details:
            return CloudUnavailableError(
                f"no cloud server at {address} that can be trusted ({reason}): {remedy}"
            )
    remedies = (remedy for sign, remedy in (*_MISFITS, *_UNREACHABLE) if sign in details)
    remedy = next(remedies, _BROKEN)
    if _hung_up(details):
        remedy = _UNWILLING if _NEVER_SHOOK_HANDS in details else _ENCRYPTS
    return CloudUnavailableError(f"no cloud server at {address} ({reason}): {remedy}")


def _hung_up(details: str) -> bool:
    return "failed to connect" in details and any(sign in details for sign in _HANGS_UP)
