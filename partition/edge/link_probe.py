"""Measurement of a link's rate in the background: a pair of messages, then a train."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from partition.transport.link_estimator import LinkEstimate
from partition.transport.packet_train import GROWTH, MIN_BYTES, PAIR, Spread, Train

TRAIN_PERIOD_S = 1.0
"""Between two measurements, and between two surprises that each bring one more."""
CROWDED_S = 10.0
_FIRST_RATE_BPS = 2e6
"""That an unknown link is taken to have."""


class LinkProbe:
    """One measurement at a time; called from one thread and from gRPC's.

    Args:
        send: starts a call with a message, and returns its future.
        ended: called once at the end of a measurement, with what it showed, if anything, and the
            call that failed, or the last one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        send: Callable[[bytes], Any],
        ended: Callable[[Spread | None, Any], object],
        clock: Callable[[], float],
    ) -> None:
        self._send, self._ended, self._clock = send, ended, clock
        self._lock = threading.Lock()
        self._began_s = self._surprised_s = -math.inf

    @property
    def is_due(self) -> bool:
        """Whether the rate is to be measured again."""
        return self._clock() >= self._began_s + TRAIN_PERIOD_S

    def surprised(self) -> bool:
        """A request has met another link; whether that brings a measurement forward."""
        now_s = self._clock()
        if now_s < self._surprised_s + TRAIN_PERIOD_S:
            return False
        self._surprised_s, self._began_s = now_s, -math.inf
        return True

    def crowded(self) -> None:
        """The server had no room for all messages: leave its places to requests for a while."""
        self._began_s = self._clock() + CROWDED_S - TRAIN_PERIOD_S

    def begin(self, link: LinkEstimate | None) -> None:
        """Measure a link that is believed to be so."""
        self._began_s = self._clock()
        planned = Train.planned(_FIRST_RATE_BPS if link is None else link.rate_bps)
        if planned.n_bytes <= MIN_BYTES:
            self._run(planned, self._ended)
        else:
            self._run(PAIR, partial(self._after_pair, planned))

    def _after_pair(self, planned: Train, spread: Spread | None, call: Any) -> None:
        if spread is None:
            self._ended(None, call)
            return
        allowed = Train.planned(GROWTH * spread.bits / spread.elapsed_s)
        self._run(min(planned, allowed, key=lambda train: train.n_bytes), self._ended)

    def _run(self, train: Train, then: Callable[[Spread | None, Any], object]) -> None:
        began_s = self._clock()
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
