"""State of a client towards its server: reachable or not, served, refused, or backing off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc

from partition.edge.breaker import CircuitBreaker
from partition.edge.reconnection import Reconnection
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ServerBusyError,
)
from partition.transport import refusals

_BUSY, _REFUSED = "busy", "refused"
_REFUSED_PAUSE_S = 5.0
"""Longest pause while every request is refused for its own sake; each was uploaded for nothing."""


class Standing:
    """Follows the ends of a client's calls; safe to use from several threads.

    Args:
        address: HOST:PORT of the server.
        greet: starts a hello that waits for a connection; raises ValueError once that is closed.
        check_hello: raises CloudError for the answer of a hello that is none.
        explain: the exception for a `grpc.RpcError`.
        clock: monotonic seconds.

    Attributes:
        breaker: open while nothing is to be sent.
        is_reachable: whether the last call was answered with more than a refusal.
        refusal: why the server answers and yet serves nothing at present; None while it is not so.
    """

    def __init__(
        self,
        address: str,
        greet: Callable[[], Any],
        check_hello: Callable[[bytes], object],
        explain: Callable[[Any], CloudError],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = CircuitBreaker(clock)
        self.is_reachable = True
        self.refusal: CloudError | None = None
        self._address = address
        self._check_hello, self._explain = check_hello, explain
        self._n_refused = 0
        self._reconnection = Reconnection(greet, self._judge, self._found, self._lost)

    def check(self) -> None:
        """Make sure that a request may be sent now.

        Raises:
            CloudError: of the kind of the last failure.
        """
        waiting = self.breaker.check()
        if waiting is None:
            return
        refusal = self.refusal
        if refusal is not None and self.breaker.reason == _REFUSED:
            raise type(refusal)(f"{refusal}; the server {waiting}")
        kind = ServerBusyError if self.breaker.reason == _BUSY else CloudUnavailableError
        raise kind(f"{self._address} {waiting}")

    def answered(self) -> None:
        """A call of any kind was answered."""
        self.breaker.close()
        self.is_reachable = True

    def served(self) -> None:
        """A request or a hello was answered."""
        self.refusal, self._n_refused = None, 0
        self._reconnection.served()

    def failed(self, error: Any, failure: CloudError, *, is_request: bool) -> None:
        """A call failed.

        Args:
            error: of gRPC.
            failure: what it means.
            is_request: whether the call asked for an inference.
        """
        match failure:
            case ServerBusyError():
                self.breaker.pause(_BUSY)
            case DeadlineExceededError():
                self._open("late")
            case CloudUnavailableError():
                self.is_reachable, self.refusal = False, None
                self._open("unreachable")
            case _ if is_request and refusals.is_of_request(error):
                self._refused(failure, is_its_own_fault=error.code() in refusals.OWN_FAULTS)
            case _:
                self.shut_out(failure)

    def shut_out(self, failure: CloudError) -> None:
        """The server answers, and serves this client nothing until that is mended."""
        self.is_reachable, self.refusal = False, failure
        self.breaker.open(_REFUSED)
        self._reconnection.start(is_refused=True)

    def close(self) -> None:
        """Ask no more."""
        self._reconnection.close()

    def _open(self, reason: str) -> None:
        """Leave the server alone, and ask it in the background until it answers."""
        self.breaker.open(reason)
        self._reconnection.start()

    def _refused(self, failure: CloudError, *, is_its_own_fault: bool) -> None:
        """A request was refused, and others perhaps are not.

        From the second in a row on there is a pause, unless it was malformed: another one may be
        well formed.
        """
        self.refusal = failure
        if is_its_own_fault:
            return
        self._n_refused += 1
        if self._n_refused > 1:
            self.breaker.pause(_REFUSED, _REFUSED_PAUSE_S)

    def _judge(self, call: Any) -> CloudError | None:
        """What is wrong with a hello that ended."""
        try:
            self._check_hello(call.result())
        except grpc.RpcError as error:
            return self._explain(error)
        except CloudError as error:
            return error
        except grpc.FutureCancelledError:
            return CloudUnavailableError(f"the connection to {self._address} was closed")
        return None

    def _found(self) -> None:
        self.refusal = None
        self.answered()

    def _lost(self, failure: CloudError) -> None:
        self.is_reachable = False
        is_refusal = refusals.is_refusal(failure)
        self.refusal = failure if is_refusal else None
        self.breaker.open(_REFUSED if is_refusal else "unreachable")
