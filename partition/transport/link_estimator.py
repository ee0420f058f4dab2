"""Link estimator: rate and round trip from transfers, with age and confidence.

Each finished transfer says how long so many bits took, each missed deadline that they took longer
than that, and each train of messages in which time its bits arrived, whatever the round trip. The
round trip is the median of the last few transfers whose bits hardly counted; a belief over the rate
on a logarithmic grid takes in all of them, small ones for as much as they show, and spreads as time
passes because links change. What a transfer takes beyond round trip and bits (copying on both
sides, a connection that waits for acknowledgements after a pause) is learned by its size while a
train is fresh: else it would be taken for a slower link.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from partition.transport.packet_train import FIRST_WINDOW_BYTES, Spread

Float64Array = npt.NDArray[np.float64]

# 10 kbit/s to 10 Gbit/s in steps of 8 %.
_RATES_BPS: Float64Array = np.geomspace(1e4, 1e10, 181)
_LOG_RATES: Float64Array = np.log(_RATES_BPS)
# Scatter of a transfer's time: this share of it, and this much more (`tests/partition/test_link.py`
# simulates links with this scatter and these pauses).
_SCATTER = 0.05
_JITTER_S = 0.0001
# Chance that a transfer's time says nothing, because either side paused.
_OUTLIER = 0.03
# Density of such a time over its logarithm. With the chance of a step it decides that one surprise
# is taken for a pause, and two that agree for another rate.
_ANY = 0.02
# Chance that the rate has changed since the last transfer, and what a second of silence adds; at
# most a half, so that what was known still counts.
_STEP = 0.03
_STEP_PER_S = 0.05
_MAX_STEP = 0.5
# A changed rate is rather another one of the same order than any.
_STEP_DECADES = 0.6
# Share of the belief that moves to either neighbouring rate between two transfers.
_DRIFT = 0.05
# The belief of a silent link fades with this time constant.
_FADING_S = 10.0
_MOST = 0.9
_CLOSE = 3
"""An estimate is right when the rate lies within so many places of the grid: within a quarter."""
# Scatter of a train's time, besides `_SCATTER`: threads that wait for a processor at its ends.
_SPREAD_JITTER_S = 0.0004
# A train this old still says what a transfer should have taken.
_FRESH_S = 3.0
# Weight of the latest train, and the logarithm beyond which it is of another link.
_TRAIN_SMOOTHING, _ANOTHER_LINK, _RELIABLE = 0.3, 0.7, 0.5
# Weight of the latest excess, and where it ends besides slow start: a slower link must not pass for
# it.
_EXCESS_SMOOTHING = 0.2
_EXCESS_S = 0.005
# After which TCP begins again: no retransmission timer is shorter (RFC 6298 as Linux has it).
_PAUSE_S = 0.2
# A train whose first answer was late by more than this stood in a queue on the link.
_MOST_LATE_S = 0.01
# Taken in then at the latest, so that memory stays bounded while no caller asks.
_MAX_PENDING = 64
_TELLING_SHARE = 0.2
"""A transfer shows the rate when its bits took at least this share of its time, else the round
trip."""
# Up to this size all of a message's time counts as round trip. The median of five bears two pauses.
_EMPTY_BITS = 8 * 256
_N_ROUND_TRIPS = 5
# Of the shortest transfer, while nothing small enough to show the round trip was sent.
_FIRST_ROUND_TRIP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What recent transfers say about the link."""

    rate_bps: float
    """Uplink rate in bits per second."""
    rtt_s: float
    """Round trip of an empty request, the server's overhead included."""
    age_s: float
    """Time since the last transfer that was large enough to show the rate."""
    server_load: float
    """Busy share of the server when it last answered, 0..1."""
    confidence: float = 1.0
    """Probability that the rate lies within a quarter of `rate_bps`, 0..1."""
    most_bps: float = math.inf
    """Rate that it exceeds with a probability of one in ten."""

    def transfer_s(self, message_bytes: int) -> float:
        """Time that a request of this size needs in addition to the server's, s."""
        return self.rtt_s + 8 * message_bytes / self.rate_bps


class _Transfer(NamedTuple):
    bits: float
    elapsed_s: float
    at_s: float
    is_finished: bool = True
    waited_s: float | None = None
    """Of a train."""
    is_after_pause: bool = False
    """Whether the connection began anew for it."""

    @property
    def is_train(self) -> bool:
        """Whether only the spread of its bits counts."""
        return self.waited_s is not None

    @property
    def kind(self) -> tuple[int, bool]:
        """Transfers of about this size, behind a pause or not, take alike."""
        return round(2.0 * math.log2(max(self.bits, 1.0))), self.is_after_pause


class LinkEstimator:
    """Belief about one link; safe to use from several threads.

    Transfers are only noted when they are reported; the arithmetic (some 50 us each) is done when
    a caller asks.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: list[_Transfer] = []
        self._belief: Float64Array = np.full(len(_RATES_BPS), 1.0 / len(_RATES_BPS))
        self._round_trips_s: deque[float] = deque(maxlen=_N_ROUND_TRIPS)
        self._rtt_s = math.inf
        self._excess: dict[tuple[int, bool], tuple[float, int]] = {}
        """By kind of transfer: seconds, and how many they come from. Of requests at random moments
        some find a connection at rest: one mean of both would make the link look faster to all the
        others, 1.3 times for 75 kB at 45 Mbit/s."""
        self._train_s, self._train_bps = -math.inf, math.nan
        """When the last one was, and what the last few said together."""
        self._updated_s = clock()
        self._told_s: float | None = None

    def transferred(self, message_bytes: int, elapsed_s: float) -> None:
        """Take in a request whose way there and back took `elapsed_s`.

        Args:
            message_bytes: size of the request; replies are small.
            elapsed_s: time without the server's own, s.
        """
        self._note(_Transfer(8.0 * message_bytes, max(elapsed_s, 1e-6), self._clock()))

    def spread(self, train: Spread) -> None:
        """Take in a train of messages."""
        self._note(_Transfer(train.bits, train.elapsed_s, self._clock(), waited_s=train.waited_s))

    def probe(self, send: Callable[[bytes], object], message_bytes: int, tries: int = 1) -> float:
        """Send some messages, one after the other, and take in the fastest.

        Other traffic or a busy processor makes a message slower, never faster.

        Args:
            send: returns once a message has been answered.
            message_bytes: of each, zeros.
            tries: how many.

        Returns:
            Time that the fastest took, s.

        Raises:
            Exception: what `send` raises.
        """
        times_s = []
        for _ in range(tries):
            began_s = self._clock()
            send(bytes(message_bytes))
            times_s.append(self._clock() - began_s)
        self.transferred(message_bytes, min(times_s))
        return min(times_s)

    def missed(self, message_bytes: int, deadline_s: float) -> None:
        """Take in a request that had no answer within `deadline_s`: a bound of the rate."""
        self._note(
            _Transfer(8.0 * message_bytes, max(deadline_s, 1e-6), self._clock(), is_finished=False)
        )

    def excess_s(self, message_bytes: int) -> float:
        """What a message of this size takes now beyond round trip and bits, as far as is known, s.

        Behind a pause it is another time; while one of the two is unknown, the other stands in.
        """
        with self._lock:
            self._catch_up()
            is_after_pause = self._clock() - self._updated_s >= _PAUSE_S
            return self._excess_s(
                _Transfer(8.0 * message_bytes, 0.0, 0.0, is_after_pause=is_after_pause)
            )

    def estimate(self, server_load: float = 0.0) -> LinkEstimate | None:
        """The link as of now; None before the first transfer that showed the rate.

        Args:
            server_load: passed on.
        """
        with self._lock:
            self._catch_up()
            if self._told_s is None:
                return None
            rate_bps, sure = self._likeliest()
            now_s = self._clock()
            sure *= math.exp(-max(now_s - self._updated_s, 0.0) / _FADING_S)
            age_s = max(now_s - self._told_s, 0.0)
            place = int(np.searchsorted(np.cumsum(self._belief), _MOST))
            most_bps = float(_RATES_BPS[min(place + 1, len(_RATES_BPS) - 1)])  # its upper end
            return LinkEstimate(
                rate_bps, float(self._rtt_s), float(age_s), server_load, sure, most_bps
            )

    def _note(self, transfer: _Transfer) -> None:
        with self._lock:
            self._pending.append(transfer)
            if len(self._pending) >= _MAX_PENDING:
                self._catch_up()

    def _catch_up(self) -> None:
        for transfer in self._pending:
            self._update(transfer)
        self._pending.clear()

    def _likeliest(self) -> tuple[float, float]:
        """The rate that is most probably right, and how probably."""
        total = np.concatenate(([0.0], np.cumsum(self._belief)))
        first = int(np.argmax(total[2 * _CLOSE + 1 :] - total[: -2 * _CLOSE - 1]))
        near = slice(first, first + 2 * _CLOSE + 1)
        sure = float(self._belief[near].sum())
        return float(np.exp(_LOG_RATES[near] @ self._belief[near] / sure)), sure

    def _update(self, transfer: _Transfer) -> None:
        silence_s = max(transfer.at_s - self._updated_s, 0.0)
        transfer = transfer._replace(is_after_pause=silence_s - transfer.elapsed_s >= _PAUSE_S)
        if self._was_bound_to_be_missed(transfer):
            return
        self._updated_s = transfer.at_s
        jitter_s = self._jitter_s(transfer)
        if transfer.is_train:
            self._follow_train(transfer, jitter_s)
            predicted_s = transfer.bits / _RATES_BPS
        else:
            if transfer.is_finished:
                self._learn_round_trip(transfer)
            predicted_s = self._rtt_s + self._excess_s(transfer) + transfer.bits / _RATES_BPS
        belief = _aged(self._belief, silence_s) * _likelihood(transfer, predicted_s, jitter_s)
        self._belief = belief / belief.sum()
        bits_s = transfer.bits / self._likeliest()[0]
        tells = transfer.is_train or bits_s >= _TELLING_SHARE * (bits_s + self._rtt_s)
        if transfer.bits > _EMPTY_BITS and (tells or self._told_s is None):
            self._told_s = transfer.at_s
        self._learn_excess(transfer)

    def _was_bound_to_be_missed(self, transfer: _Transfer) -> bool:
        """Whether a deadline was too short for what is known: that it was missed shows nothing.

        Taken in, each would make the link less certain, the next deadline as short, and so on.
        """
        if transfer.is_finished or math.isinf(self._rtt_s):
            return not transfer.is_finished
        bits_s = transfer.bits / self._likeliest()[0]
        return transfer.elapsed_s < self._rtt_s + self._excess_s(transfer) + bits_s

    def _jitter_s(self, transfer: _Transfer) -> float:
        if transfer.waited_s is None:
            return _JITTER_S
        late_s = transfer.waited_s - self._rtt_s if math.isfinite(self._rtt_s) else 0.0
        return _SPREAD_JITTER_S + min(max(late_s, 0.0), _MOST_LATE_S)

    def _follow_train(self, train: _Transfer, jitter_s: float) -> None:
        """Requests must not have a say in this: what they take longer would explain itself."""
        shown_bps = train.bits / train.elapsed_s
        step = math.log(shown_bps / self._train_bps) if self._train_s > -math.inf else math.inf
        reliable = train.elapsed_s / (train.elapsed_s + 4.0 * jitter_s)
        is_other = abs(step) > _ANOTHER_LINK and reliable > _RELIABLE
        if train.at_s - self._train_s > _FRESH_S or is_other:
            self._train_bps = shown_bps
            if is_other:  # what was learned on the one before does not hold
                self._excess.clear()
        else:
            self._train_bps *= math.exp(_TRAIN_SMOOTHING * reliable * step)
        self._train_s = train.at_s

    def _excess_s(self, transfer: _Transfer) -> float:
        size, is_after_pause = transfer.kind
        of_others = self._excess.get((size, not is_after_pause), (0.0, 0))
        return self._excess.get(transfer.kind, of_others)[0]

    def _learn_excess(self, transfer: _Transfer) -> None:
        is_request = transfer.is_finished and not transfer.is_train and transfer.bits > _EMPTY_BITS
        if not is_request or transfer.at_s - self._train_s > _FRESH_S:
            return
        before_s, n = self._excess.get(transfer.kind, (0.0, 0))
        bits_s = transfer.bits / self._train_bps
        most_s = min(_EXCESS_S, bits_s)
        if transfer.is_after_pause:
            most_s += slow_start_s(transfer.bits / 8.0, self._train_bps, self._rtt_s)
        seen_s = transfer.elapsed_s - self._rtt_s - bits_s
        if seen_s <= most_s:  # else the link has changed
            weight = max(1.0 / (n + 1), _EXCESS_SMOOTHING)
            now_s = before_s + weight * (max(seen_s, 0.0) - before_s)
            self._excess[transfer.kind] = (now_s, n + 1)

    def _learn_round_trip(self, transfer: _Transfer) -> None:
        bits_s = transfer.bits / self._likeliest()[0] if self._told_s is not None else 0.0
        bits_s += self._excess_s(transfer)
        is_small = self._told_s is not None and bits_s < _TELLING_SHARE * (bits_s + self._rtt_s)
        # Something much slower than that is rather a slower rate than a longer way.
        is_likely = transfer.elapsed_s < 2.0 * (bits_s + self._rtt_s)
        if transfer.bits <= _EMPTY_BITS or (is_small and is_likely):
            self._round_trips_s.append(max(transfer.elapsed_s - bits_s, 0.5 * transfer.elapsed_s))
            self._rtt_s = statistics.median_low(self._round_trips_s)
        elif not self._round_trips_s:
            self._rtt_s = min(self._rtt_s, _FIRST_ROUND_TRIP_SHARE * transfer.elapsed_s)
        if transfer.elapsed_s < self._rtt_s:  # no round trip is longer than a transfer
            self._round_trips_s.append(transfer.elapsed_s)
            self._rtt_s = min(statistics.median_low(self._round_trips_s), transfer.elapsed_s)


def _steps() -> Float64Array:
    """Column j: where rate j may go when the link changes."""
    decades = np.log10(_RATES_BPS)
    kernel = np.exp(-np.abs(decades[:, None] - decades[None, :]) / _STEP_DECADES) + 0.05
    return np.asarray(kernel / kernel.sum(axis=0, keepdims=True))


_STEPS = _steps()


def _aged(belief: Float64Array, silence_s: float) -> Float64Array:
    """The belief before the next transfer: drifted, or stepped."""
    step = min(_STEP + _STEP_PER_S * silence_s, _MAX_STEP)
    drift = min(_DRIFT * (1.0 + silence_s), 0.3)
    moved = (1.0 - 2.0 * drift) * belief
    moved[1:] += drift * belief[:-1]
    moved[:-1] += drift * belief[1:]
    return np.asarray((1.0 - step) * moved + step * (_STEPS @ belief))


def slow_start_s(n_bytes: float, rate_bps: float, rtt_s: float) -> float:
    """Time that a connection spends waiting for acknowledgements when it sends after a pause, s.

    Its window begins with ten packets and doubles with each round trip (RFC 6928, RFC 5681).
    """
    waits_s, window_bytes = 0.0, float(FIRST_WINDOW_BYTES)
    while n_bytes > window_bytes:
        waits_s += max(rtt_s - 8.0 * window_bytes / rate_bps, 0.0)
        n_bytes -= window_bytes
        window_bytes *= 2.0
    return waits_s


def _likelihood(transfer: _Transfer, predicted_s: Float64Array, jitter_s: float) -> Float64Array:
    """How well each rate explains the transfer; logarithms of times scatter."""
    scatter = _SCATTER + jitter_s / predicted_s
    if (
        transfer.is_train
    ):  # answers that were held up together come at once: by so much, not so often
        off = (transfer.elapsed_s / predicted_s - 1.0) / scatter
    else:
        off = np.log(transfer.elapsed_s / predicted_s) / scatter
    if transfer.is_finished:
        # Two-sided exponential: pauses are commoner than a bell curve has them.
        return np.asarray((1.0 - _OUTLIER) * np.exp(-np.abs(off)) / (2.0 * scatter) + _ANY)
    later = 1.0 / (1.0 + np.exp(np.clip(1.5 * off, -50.0, 50.0)))
    return np.asarray((1.0 - _OUTLIER) * later + _OUTLIER)
