"""Measurement of a link's rate in the background: a pair of messages, then trains of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from partition.transport.link_estimator import LinkEstimate
from partition.transport.packet_train import GROWTH, PAIR, UNASKED_BYTES, Spread, Train

TRAIN_PERIOD_S = 1.0
"""Between two trains, on average: one more, because a request or a train has met another link, is
paid for by a longer time until the next."""
_TRAINS_AT_ONCE = 3
_GROWTH_UNSEEN = 3.0
"""Of a train after a shorter one, whose answers may have been held up and then come all at once."""
_MOST_AHEAD_S = 2.0
"""That trains may be ahead of their time; what surprises then is not measured."""
_LATENESS_S = 0.25
"""Of the control step that asks for a train, which the next one need not wait for."""
SURPRISE = 1.8
"""A rate so many times that which was believed, or so much less, is of another link."""
_USUAL_OFF, _USUAL_OFF_S = 0.05, 0.001
"""What the time of a request is off by without any change: a share of it, and so much more."""
CROWDED_S = 10.0
_FIRST_RATE_BPS = 2e6
"""That an unknown link is taken to have."""


class LinkProbe:
    """One measurement at a time; called from one thread and from gRPC's.

    A train that shows another link than was believed is followed by a second one at once, for one
    alone may have been held up: its end was, and the rate seems lower, or its beginning, and what
    waited came at once. If the second shows the link as believed, the first counts for nothing.

    Args:
        send: starts a call with a message, and returns its future.
        ended: called once at the end of a measurement, with what its trains showed, if anything,
            and the call that failed, or the last one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        send: Callable[[bytes], Any],
        ended: Callable[[Sequence[Spread], Any], object],
        clock: Callable[[], float],
    ) -> None:
        self._send, self._ended, self._clock = send, ended, clock
        self._lock = threading.Lock()
        self._due_s = -math.inf
        self._shown_bps, self._is_bound = math.nan, False

    @property
    def is_due(self) -> bool:
        """Whether the rate is to be measured again."""
        return not math.isnan(self._shown_bps) or self._clock() >= self._due_s

    def compare(self, link: LinkEstimate, bits: float, took_s: float) -> None:
        """Bring a measurement forward if the bits of a request have met another link.

        Args:
            link: as it was believed to be.
            bits: of the request.
            took_s: that they took, round trip and the like apart.
        """
        usual_s = bits / link.rate_bps
        spare_s = _USUAL_OFF_S + _USUAL_OFF * (link.rtt_s + usual_s)
        if not usual_s / SURPRISE - spare_s < took_s < usual_s * SURPRISE + spare_s:
            self.surprised(bits / max(took_s, spare_s))

    def surprised(self, shown_bps: float, *, is_bound: bool = False) -> bool:
        """A request has met another link; whether that brings a measurement forward.

        Args:
            shown_bps: rate that it showed.
            is_bound: the link is slower than that.
        """
        if self._due_s > self._clock() + _MOST_AHEAD_S:
            return False
        self._shown_bps, self._is_bound = shown_bps, is_bound
        return True

    def crowded(self) -> None:
        """The server had no room for all messages: leave its places to requests for a while."""
        self._due_s = self._clock() + CROWDED_S

    def begin(self, link: LinkEstimate | None) -> None:
        """Measure a link that is believed to be so, unless a request has just shown another."""
        believed_bps = _FIRST_RATE_BPS if link is None else link.rate_bps
        shown_bps, self._shown_bps = self._shown_bps, math.nan
        if not math.isnan(shown_bps):
            expected_bps = min(shown_bps, GROWTH * believed_bps)
            slowest_bps = 0.0 if self._is_bound else expected_bps / SURPRISE
            judge = partial(self._judge, believed_bps, expected_bps, slowest_bps, [])
            self._run(Train.planned(expected_bps), judge)
            return
        planned = Train.planned(believed_bps)
        judge = partial(self._judge, believed_bps, believed_bps, believed_bps / SURPRISE, [])
        if planned.n_bytes <= UNASKED_BYTES:
            self._run(planned, judge)
        else:
            self._run(PAIR, partial(self._after_pair, planned.without(PAIR), judge))

    def _after_pair(
        self,
        planned: Train,
        judge: Callable[[Spread | None, Any], object],
        spread: Spread | None,
        call: Any,
    ) -> None:
        if spread is None:
            self._ended([], call)
            return
        allowed = Train.planned(GROWTH * spread.rate_bps)
        self._run(min(planned, allowed, key=lambda train: train.n_bytes), judge)

    def _judge(
        self,
        believed_bps: float,
        expected_bps: float,
        slowest_bps: float,
        before: list[Spread],
        spread: Spread | None,
        call: Any,
    ) -> None:
        """Send another train if this one shows another link."""
        seen = before if spread is None else [*before, spread]
        shown_bps = expected_bps if spread is None else spread.rate_bps
        is_expected = slowest_bps < shown_bps < SURPRISE * expected_bps
        is_as_before = bool(before) and _is_same(shown_bps, believed_bps)
        if spread is None or is_expected or is_as_before or len(seen) == _TRAINS_AT_ONCE:
            self._ended([s for s in seen if _is_same(s.rate_bps, seen[-1].rate_bps)], call)
            return
        allowed = Train.planned(min(shown_bps, _GROWTH_UNSEEN * expected_bps))
        judge = partial(self._judge, believed_bps, shown_bps, shown_bps / SURPRISE, seen)
        self._run(allowed, judge)

    def _run(self, train: Train, then: Callable[[Spread | None, Any], object]) -> None:
        began_s = self._clock()
        if train is not PAIR:
            self._due_s = max(self._due_s, began_s - _LATENESS_S) + TRAIN_PERIOD_S
        arrived_s: list[float] = []
        failed = False

        def answered(call: Any) -> None:
            nonlocal failed
            with self._lock:
                if failed:
                    return
                failed = call.cancelled() or call.exception() is not None
                arrived_s.append(self._clock())
                if len(arrived_s) < train.n_messages and not failed:
                    return
            then(None if failed else train.spread(began_s, arrived_s), call)

        for call in [self._send(bytes(train.message_bytes)) for _ in range(train.n_messages)]:
            call.add_done_callback(answered)


def _is_same(one_bps: float, other_bps: float) -> bool:
    return 1.0 / SURPRISE < one_bps / other_bps < SURPRISE
