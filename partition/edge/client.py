"""The edge's end of the link: requests with a deadline, and an estimate of the link itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import grpc

from partition.codec.encoded import Encoded
from partition.edge import offload_rule
from partition.edge.answers import AnswerCheck
from partition.edge.link_probe import LinkProbe
from partition.edge.server_speed import ServerSpeed
from partition.edge.standing import Standing
from partition.edge.turns import Turns
from partition.errors import (
    CloudError,
    DeadlineExceededError,
    HopelessError,
    ServerBusyError,
)
from partition.model.folder import ModelFolder
from partition.model.split_point import SplitPoint
from partition.security.tls import ClientSecurity
from partition.transport import grpc_options, refusals, rpc, wire
from partition.transport.link_estimator import LinkEstimate, LinkEstimator
from partition.transport.packet_train import MIN_BYTES, Spread
from partition.transport.stub import Stub

__all__ = ["CloudClient", "LinkEstimate"]

_PROBE_ROUNDS, _PROBE_TRAINS = 3, 4
"""Trains at most, each longer than the one before, until a longer one says the same."""
_SAME_RATE = 1.3
_REFRESH_TIMEOUT_S, _RECONNECT_TIMEOUT_S = 2.0, 1.0
_FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
_SURE = 0.5
"""Confidence from which an estimate decides whether to send."""
_LEAST_SHARE = 0.5
"""Of a round trip, that a request takes besides the server's work."""
_CHECK_PERIOD_S = 0.05


class CloudClient:
    """Talks to one server; a context manager; safe to use from several threads.

    After a failure calls fail at once until a probe in the background has been answered, so that a
    dead server costs one request's deadline at most, and is found again within half a second. One
    that refuses this client, or holds another model, is asked after 0.3 s and ever less often, up
    to every 5 s. The probe compares the models, so that another one is noticed whenever it comes.

    Args:
        address: HOST:PORT.
        folder: the model, which the server must hold too.
        clock: monotonic seconds.
        security: certificates and token; by default TLS beyond this machine.

    Raises:
        CloudError: the address has another form, or a file of `security` cannot be read.
    """

    def __init__(
        self,
        address: str,
        folder: ModelFolder,
        clock: Callable[[], float] = time.monotonic,
        security: ClientSecurity | None = None,
    ) -> None:
        self._security = security or ClientSecurity()
        self._address = address
        self._clock = clock
        self._estimator = LinkEstimator(clock)
        self._server_load = 0.0
        self._refreshing = self._doubts = False
        self._measured = threading.Event()
        self._sent_s = -math.inf
        self._link_probe = LinkProbe(self._echo, self._trains_ended, clock)
        self._turns = Turns(address, clock)
        self._recent: tuple[float, LinkEstimate | None] = (-_CHECK_PERIOD_S, None)
        self._server_speed = ServerSpeed(folder, clock)
        self._metadata = self._security.metadata()
        self._answers = AnswerCheck(address, folder.outputs)
        self._channel = self._security.channel(address, grpc_options.CLIENT)
        self._stub = Stub(self._channel, address, folder)
        self._standing = Standing(
            address,
            self._greet_again,
            self._stub.check_hello,
            lambda error: self._security.explain(error, address, _RECONNECT_TIMEOUT_S),
            clock,
        )

    def __enter__(self) -> CloudClient:
        """The client itself; `connect` is up to the caller."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    @property
    def link(self) -> LinkEstimate | None:
        """Estimate of the link; None before the rate is known and while no server answers."""
        return self._estimator.estimate(self._server_load) if self._standing.is_reachable else None

    @property
    def refusal(self) -> CloudError | None:
        """Why the server answers and yet serves nothing at present; None while it is not so."""
        return self._standing.refusal

    def connect(self, timeout_s: float = 2.0) -> None:
        """Check that the server is there and holds the same model and cut list.

        Raises:
            ModelMismatchError: it holds another one.
            CloudAccessError: this client may not ask it.
            CloudError: it does not answer, or not in this protocol.
        """
        try:
            self._stub.check_hello(self._call(self._stub.hello, self._stub.greeting, timeout_s))
        except CloudError as error:
            if refusals.is_refusal(error):
                self._standing.shut_out(error)
            raise
        self._standing.served()

    def infer(
        self,
        point: SplitPoint,
        encoded: tuple[Encoded | wire.Raw, ...],
        deadline_s: float,
        host: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> wire.Reply:
        """Let the server run the tail of `point`, one of the folder's split points.

        A request whose connection broke is sent once more if the deadline allows: the server keeps
        nothing of it, and no part of a reply has come.

        Args:
            point: where the network is cut.
            encoded: the tensors that cross.
            deadline_s: time from now after which the answer is of no use; a minute at most.
            host: wrapped around packing the request and unpacking the reply.

        Raises:
            CloudUnavailableError: no server answers, or a recent call failed.
            ServerBusyError: the server has no room for it, or had none a moment ago.
            DeadlineExceededError: the answer was late, or is expected to be; see `check`.
            ModelMismatchError: the server holds another model.
            CloudError: the server refused, or answered nonsense.
            WireError: the deadline is no number, or a message cannot carry the tensors.
        """
        deadline_s = rpc.patience_s(deadline_s)
        with host():
            number, message = self._stub.request(point, encoded)
        self.check(point, len(message), deadline_s)
        deadline_s -= self._turns.wait(deadline_s)
        start_s = self._sent_s = self._clock()
        try:
            with self._turns.taken():
                answer = self._ask(message, deadline_s)
        except DeadlineExceededError:
            self._missed(point, len(message), deadline_s)
            raise
        elapsed_s = self._clock() - start_s
        try:
            with host():
                reply = self._stub.reply(answer, number)
        except CloudError as error:
            raise self._answers.refused(str(error)) from error
        self._answers.check(reply.outputs)
        self._standing.served()
        self._transferred(len(message), elapsed_s - reply.compute_s)
        # A server may say what it likes.
        reply = replace(reply, compute_s=min(reply.compute_s, elapsed_s))
        self._server_load = reply.load
        self._server_speed.answered(point, reply.compute_s, reply.load)
        if self._train_is_due and not self._refreshing:  # the link is free until the next request
            self._begin_measuring()
            self._link_probe.begin(self.link)
        return reply

    def check(self, point: SplitPoint, message_bytes: int, deadline_s: float) -> None:
        """Refuse at once what `infer` would not send.

        Whoever is refused by an estimate should `refresh` it, once its request is answered.

        Raises:
            HopelessError: the server is expected to answer much too late.
            CloudError: none answers or has room, or the last answer was late and the link is being
                measured.
        """
        self._standing.check()
        if self._doubts:
            raise DeadlineExceededError(
                f"{self._address} gave no answer in time, and is being asked how fast it is reached"
            )
        needed_s = self._needed_s(point, message_bytes)
        if math.isfinite(needed_s) and offload_rule.is_hopeless(needed_s, deadline_s):
            raise HopelessError(
                f"{self._address} would take {needed_s * 1e3:.0f} ms for {message_bytes} bytes, "
                f"the deadline is {deadline_s * 1e3:.0f} ms"
            )

    def server_flops_per_s(self, usual: float) -> float:
        """Speed of the server were it idle, FLOP/s, as the computing times of its replies show it.

        Args:
            usual: what it is taken for before there were any, and again when they are long ago.
        """
        return self._server_speed.flops_per_s(usual)

    def expected_s(self, point: SplitPoint, message_bytes: int) -> float:
        """Time until the answer to a request that is sent now, s; infinite where it is not known.

        Args:
            point: where the network is cut.
            message_bytes: size of the request.
        """
        link = self._recent_link()
        if link is None or link.confidence < _SURE:
            return math.inf
        return self._link_s(link, message_bytes) + (self._server_speed.expected_s(point) or 0.0)

    def _link_s(self, link: LinkEstimate, message_bytes: int) -> float:
        """Time that a request and its answer take on the way."""
        return link.transfer_s(message_bytes) + self._estimator.excess_s(message_bytes)

    def _needed_s(self, point: SplitPoint, message_bytes: int) -> float:
        """Time until the answer that is expected, s; where the link is uncertain, the shortest.

        Of the server's time what its replies showed at this split point, and less the longer there
        were none: only asking it tells whether it has become faster.

        What is given up in half of its time keeps the link busy with the rest of its bytes: trains
        are held up behind them and show nothing, and the link would stay uncertain.
        """
        link = self._recent_link()
        if link is None:
            return 0.0
        if link.confidence < _SURE:
            return link.rtt_s + 8 * message_bytes / link.most_bps
        return self._link_s(link, message_bytes) + (self._server_speed.usual_s(point) or 0.0)

    def probe(self, timeout_s: float = 2.0) -> LinkEstimate:
        """Measure round trip and rate with a few empty requests and trains of messages.

        Raises:
            CloudError: the server does not answer in time.
        """

        def echo(message: bytes) -> None:
            answer = self._call(self._stub.echo, message, timeout_s)
            self._server_load = self._stub.load(answer)

        self._estimator.probe(echo, 0, _PROBE_ROUNDS)
        rate_bps = 0.0
        for _ in range(_PROBE_TRAINS):
            self._begin_measuring()
            self._link_probe.begin(self.link)
            self._measured.wait(timeout_s)
            link = self.link
            if link is None or link.rate_bps < _SAME_RATE * rate_bps:
                break
            rate_bps = link.rate_bps
        if link is None:
            raise CloudError(f"{self._address} gave no estimate of the link")
        return link

    def refresh(self) -> None:
        """Start to measure round trip and server load, and once a second the rate.

        In the background; costs an empty request, and a train of messages that takes 10 ms of the
        link. While a request or another measurement is under way, none is started.
        """
        if not self._can_measure:
            return
        self._begin_measuring()
        start_s = self._clock()
        self._echo(b"").add_done_callback(lambda call: self._came_back(call, start_s))

    def close(self) -> None:
        """Close the connection."""
        self._standing.close()
        self._channel.close()

    def _transferred(self, message_bytes: int, elapsed_s: float) -> None:
        """Learn from a request, and measure at once what it has only hinted at."""
        link = self._recent_link()
        if elapsed_s < (0.0 if link is None else _LEAST_SHARE * link.rtt_s):
            return  # the server claims to have computed in the time of the way
        self._estimator.transferred(message_bytes, elapsed_s)
        if link is not None:
            known_s = link.rtt_s + self._estimator.excess_s(message_bytes)
            self._link_probe.compare(link, 8.0 * message_bytes, elapsed_s - known_s)

    def _missed(self, point: SplitPoint, message_bytes: int, deadline_s: float) -> None:
        """Learn from a request that had no answer, and measure what has become of the link.

        Until that is known nothing else is sent: it would be late as well, and be in the way.
        """
        compute_s = self._server_speed.usual_s(point)
        if compute_s is not None and compute_s < deadline_s:  # else it may be the server
            self._estimator.missed(message_bytes, deadline_s - compute_s)
        link, bound_bps = self._recent_link(), 8 * message_bytes / deadline_s
        if link is not None and link.rate_bps < bound_bps:
            return  # that was to be expected
        if self._turns.n_taken or not self._link_probe.surprised(bound_bps, is_bound=True):
            return
        if self._can_measure:
            self._begin_measuring()
            self._link_probe.begin(link)
        self._doubts = self._refreshing

    @property
    def _can_measure(self) -> bool:
        return not (self._refreshing or self._turns.n_taken) and self._standing.is_reachable

    @property
    def _train_is_due(self) -> bool:
        return not self._turns.n_taken and self._link_probe.is_due

    def _echo(self, message: bytes) -> Any:
        """The future of a call that measures the link."""
        return self._stub.echo.future(message, timeout=_REFRESH_TIMEOUT_S, metadata=self._metadata)

    def _came_back(self, call: Any, start_s: float) -> None:
        """Take the result of an empty request; runs in a thread of gRPC's."""
        elapsed_s, is_heard = self._clock() - start_s, self._hear(call)
        if is_heard and not self._turns.n_taken:  # else it was not alone on the link
            self._estimator.transferred(0, elapsed_s)
        if is_heard and self._train_is_due:
            self._link_probe.begin(self.link)
        else:
            self._measuring_ended()

    def _trains_ended(self, seen: Sequence[Spread], call: Any) -> None:
        """Take what trains showed; runs in a thread of gRPC's."""
        if not call.cancelled() and call.code() is _FULL:
            self._link_probe.crowded()
        else:
            self._hear(call)
        for spread in seen:
            if not spread.is_mixed_with(self._sent_s):
                self._estimator.spread(spread)
        if self._doubts and self._train_is_due:  # what was under way had met it, too
            self._link_probe.begin(self.link)
        else:
            self._measuring_ended()

    def _begin_measuring(self) -> None:
        self._refreshing = True
        self._measured.clear()

    def _measuring_ended(self) -> None:
        self._refreshing = self._doubts = False
        self._measured.set()

    def _hear(self, call: Any) -> bool:
        """Take in the server's load; whether a call that measures was answered."""
        try:
            self._server_load = self._stub.load(call.result())
            return True
        except grpc.RpcError as error:
            self._failure(error, _REFRESH_TIMEOUT_S)
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._estimator.missed(MIN_BYTES, _REFRESH_TIMEOUT_S)
        except CloudError as error:
            self._standing.shut_out(error)
        except grpc.FutureCancelledError:
            pass
        return False

    def _recent_link(self) -> LinkEstimate | None:
        now_s = self._clock()
        if now_s >= self._recent[0] + _CHECK_PERIOD_S:
            self._recent = (now_s, self.link)
        return self._recent[1]

    def _ask(self, message: bytes, deadline_s: float) -> bytes:
        """Send a request, once more if the connection broke and there is time."""
        due_s, is_measuring = self._clock() + deadline_s, self._refreshing
        try:
            return self._once(self._stub.infer, message, deadline_s)
        except grpc.RpcError as error:
            left_s = due_s - self._clock()
            if error.code() is _FULL and is_measuring:  # with this client's own train
                self._measured.wait(max(left_s, 0.0))
            elif not self._may_retry(error, len(message), left_s):
                raise self._failure(error, deadline_s, is_request=True) from error
        try:
            return self._once(self._stub.infer, message, max(due_s - self._clock(), 0.0))
        except grpc.RpcError as error:
            raise self._failure(error, deadline_s, is_request=True) from error

    def _may_retry(self, error: Any, message_bytes: int, left_s: float) -> bool:
        if error.code() is not grpc.StatusCode.UNAVAILABLE or left_s <= 0:
            return False
        link = self._recent[1]
        return link is None or left_s > link.transfer_s(message_bytes) + link.rtt_s

    def _call(self, method: Callable[..., Any], message: bytes, timeout_s: float) -> bytes:
        try:
            return self._once(method, message, timeout_s)
        except grpc.RpcError as error:
            raise self._failure(error, timeout_s) from error

    def _once(self, method: Callable[..., Any], message: bytes, timeout_s: float) -> bytes:
        reply = method(message, timeout=timeout_s, metadata=self._metadata)
        self._standing.answered()
        return bytes(reply)

    def _failure(self, error: Any, timeout_s: float, *, is_request: bool = False) -> CloudError:
        """What a failed call means, and what it means for the next ones."""
        failure = self._security.explain(error, self._address, timeout_s)
        if isinstance(failure, ServerBusyError):
            self._server_load = refusals.load_of(error)
        self._standing.failed(error, failure, is_request=is_request)
        return failure

    def _greet_again(self) -> Any:
        """One hello that waits for a connection."""
        return self._stub.hello.future(
            self._stub.greeting,
            timeout=_RECONNECT_TIMEOUT_S,
            wait_for_ready=True,
            metadata=self._metadata,
        )
