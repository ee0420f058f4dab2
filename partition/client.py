"""The edge's end of the link: requests with a deadline, and an estimate of the link itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc

from partition import rpc, wire
from partition.codec import Encoded, Float32Array
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ModelMismatchError,
    WireError,
)
from partition.model_folder import ModelFolder, SplitPoint

_BACK_OFF_S = 0.5
_PROBE_BYTES = 24_000
_PROBE_ROUNDS = 3
_RATE_MAX_AGE_S = 1.0
_REFRESH_TIMEOUT_S = 2.0
# Shorter messages say more about the round trip than about the rate.
_MIN_RATE_BYTES = 8_000
# What a loopback reaches; keeps clock noise from giving an infinite rate.
_MAX_RATE_BPS = 1e10
_SMOOTHING = 0.5
_CHANNEL_OPTIONS = (
    *rpc.SIZE_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
    # Two clients of one process must not share a connection and its back-off.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What recent transfers say about the link."""

    rate_bps: float
    """Uplink rate in bits per second."""
    rtt_s: float
    """Round trip of an empty request, the server's overhead included."""
    age_s: float
    """Time since the last transfer that was large enough to tell the rate."""
    server_load: float
    """Busy share of the server when it last answered, 0..1."""


@dataclass(frozen=True, slots=True)
class CloudReply:
    """Answer of the server to one request."""

    logits: Float32Array
    """(1, n_classes)."""
    compute_s: float
    """Time in the server."""
    load: float
    """Share of the server's workers busy over the last second, 0..1."""
    queue: int
    """Requests in the server beside this one."""
    round_trip_s: float
    """From the packed request to the unpacked reply, the server's time included."""
    uplink_bytes: int


class CloudClient:
    """Talks to one server; a context manager.

    After a failure the next calls fail at once for half a second, so that a dead server does not
    cost a deadline each time.

    Args:
        address: HOST:PORT.
        folder: the model, which the server must hold too.
        clock: monotonic seconds.

    Raises:
        CloudError: the address has another form.
    """

    def __init__(
        self, address: str, folder: ModelFolder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        rpc.parse_address(address)
        self._address = address
        self._folder = folder
        self._clock = clock
        self._closed_until_s = -1.0
        self._seconds_per_bit: float | None = None
        self._rtt_s: float | None = None
        self._rate_measured_s = 0.0
        self._server_load = 0.0
        self._refreshing = False
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._hello = self._channel.unary_unary(rpc.method_path(rpc.HELLO))
        self._infer = self._channel.unary_unary(rpc.method_path(rpc.INFER))
        self._echo = self._channel.unary_unary(rpc.method_path(rpc.ECHO))

    def __enter__(self) -> CloudClient:
        """The client itself; `connect` is up to the caller."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    @property
    def link(self) -> LinkEstimate | None:
        """Estimate of the link; None before the first probe and after one that failed."""
        rtt_s, seconds_per_bit = self._rtt_s, self._seconds_per_bit
        if rtt_s is None or seconds_per_bit is None:
            return None
        return LinkEstimate(
            1 / seconds_per_bit,
            rtt_s,
            self._clock() - self._rate_measured_s,
            self._server_load,
        )

    def connect(self, timeout_s: float = 2.0) -> None:
        """Check that the server is there and holds the same model and cut list.

        Raises:
            ModelMismatchError: it holds another one.
            CloudError: it does not answer, or not in this protocol.
        """
        mine = wire.Hello(self._folder.fingerprint, self._folder.cut_list_fingerprint)
        reply = self._call(self._hello, wire.pack_hello(mine), timeout_s)
        try:
            wire.unpack_hello(reply)
        except WireError as error:
            raise CloudError(
                f"{self._address} answers, but not as a dvfo server: {error}"
            ) from error

    def infer(
        self, point: SplitPoint, encoded: tuple[Encoded, ...], deadline_s: float
    ) -> CloudReply:
        """Let the server run the tail of `point`, one of the folder's split points.

        Args:
            point: where the network is cut.
            encoded: the tensors that cross.
            deadline_s: time from now after which the answer is of no use.

        Raises:
            CloudUnavailableError: nobody answers, or a recent call failed.
            DeadlineExceededError: the answer was late.
            ModelMismatchError: the server holds another model.
            CloudError: the server refused, or answered nonsense.
        """
        wait_s = self._closed_until_s - self._clock()
        if wait_s > 0:
            raise CloudUnavailableError(
                f"{self._address} failed a moment ago: next try in {wait_s:.2f} s"
            )
        request = wire.Request(self._folder.fingerprint, point.index, encoded)
        start_s = self._clock()
        message = wire.pack_request(request)
        try:
            answer = self._call(self._infer, message, deadline_s)
        except DeadlineExceededError:
            # How much longer it would have taken is unknown: halve the rate, as TCP does, so that
            # a few late answers bring the estimate down to any link.
            at_least = deadline_s / (8 * len(message))
            self._seconds_per_bit = max(2.0 * (self._seconds_per_bit or 0.0), at_least)
            self._rate_measured_s = self._clock()
            raise
        try:
            reply = wire.unpack_reply(answer)
        except WireError as error:
            raise CloudError(f"{self._address} sent a broken reply: {error}") from error
        round_trip_s = self._clock() - start_s
        self._learn(len(message), round_trip_s - reply.compute_s)
        self._server_load = reply.load
        return CloudReply(
            reply.logits, reply.compute_s, reply.load, reply.queue, round_trip_s, len(message)
        )

    def probe(self, timeout_s: float = 2.0) -> LinkEstimate:
        """Measure round trip and rate with a few empty requests and one of 24 kB.

        Raises:
            CloudError: the server does not answer in time.
        """
        self._rtt_s = min(self._timed_echo(b"", timeout_s) for _ in range(_PROBE_ROUNDS))
        self._seconds_per_bit = None
        self._learn(_PROBE_BYTES, self._timed_echo(bytes(_PROBE_BYTES), timeout_s))
        estimate = self.link
        if estimate is None:
            raise CloudError(f"{self._address} gave no estimate of the link")
        return estimate

    def refresh(self) -> None:
        """Start to measure round trip and server load, and a stale rate, in the background.

        For times when nothing is sent; costs an empty request, or one of 24 kB when the rate is
        older than a second. While one measurement is under way, others are not started.
        """
        if self._refreshing:
            return
        self._refreshing = True
        stale = self._clock() - self._rate_measured_s >= _RATE_MAX_AGE_S
        message = bytes(_PROBE_BYTES if stale or self._seconds_per_bit is None else 0)
        start_s = self._clock()
        call = self._echo.future(message, timeout=_REFRESH_TIMEOUT_S)
        call.add_done_callback(lambda done: self._refreshed(done, len(message), start_s))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _timed_echo(self, message: bytes, timeout_s: float) -> float:
        start_s = self._clock()
        self._server_load = self._unpack_echo(self._call(self._echo, message, timeout_s))
        return self._clock() - start_s

    def _unpack_echo(self, answer: bytes) -> float:
        try:
            return wire.unpack_echo(answer)
        except WireError as error:
            raise CloudError(f"{self._address} sent a broken reply: {error}") from error

    def _refreshed(self, call: Any, message_bytes: int, start_s: float) -> None:
        """Take the result of `refresh`; runs in a thread of gRPC's."""
        elapsed_s = self._clock() - start_s
        try:
            self._server_load = self._unpack_echo(call.result())
            if self._rate_measured_s <= start_s:  # else a request has told more since
                self._learn(message_bytes, elapsed_s)
        except (grpc.RpcError, grpc.FutureCancelledError, CloudError):
            self._seconds_per_bit = None
        finally:
            self._refreshing = False

    def _learn(self, message_bytes: int, network_s: float) -> None:
        """Update the estimate from a transfer that took `network_s` beside the compute."""
        bits = 8 * message_bytes
        if message_bytes >= _MIN_RATE_BYTES:
            transfer_s = max(network_s - (self._rtt_s or 0.0), bits / _MAX_RATE_BPS)
            self._seconds_per_bit = _smooth(self._seconds_per_bit, transfer_s / bits)
            self._rtt_s = min(self._rtt_s or network_s, network_s)
            self._rate_measured_s = self._clock()
        else:
            transfer_s = bits * (self._seconds_per_bit or 0.0)
            self._rtt_s = _smooth(self._rtt_s, max(network_s - transfer_s, 0.0))

    def _call(self, method: Callable[..., Any], message: bytes, timeout_s: float) -> bytes:
        try:
            reply = method(message, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._failure(error.code(), error.details(), timeout_s) from error
        self._closed_until_s = -1.0
        return bytes(reply)

    def _failure(self, code: grpc.StatusCode, details: str, timeout_s: float) -> CloudError:
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            return ModelMismatchError(f"{self._address} refuses: {details}")
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return CloudError(f"{self._address} refuses: {details}")
        self._closed_until_s = self._clock() + _BACK_OFF_S
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(
                f"{self._address} did not answer within {timeout_s * 1e3:.1f} ms"
            )
        self._seconds_per_bit = None
        return CloudUnavailableError(
            f"no cloud server at {self._address} ({code.name.lower()}): start "
            "python -m partition.server there"
        )


def _smooth(previous: float | None, sample: float) -> float:
    return sample if previous is None else previous + _SMOOTHING * (sample - previous)
