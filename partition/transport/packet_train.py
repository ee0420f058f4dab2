"""Trains of messages that show the rate of a link by how far apart they arrive.

A round trip cannot bend that, nor what a connection does after a pause: TCP then sends ten packets
and waits a round trip for more (RFC 6928), which makes a gap that stands out.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SHARE_S = 0.01
"""Time that a train may take of each second of the link."""
MIN_BYTES, MAX_BYTES = 3_000, 300_000
"""The most is 10 ms at 240 Mbit/s, in messages that every server takes."""
_MIN_MESSAGES, _MAX_MESSAGES = 3, 5
"""A server in a crowd lets a connection have eight calls that wait for their message: there must be
room for requests."""
_PACKET_BYTES = 1_448
"""Of a message in a packet of 1500 bytes, with TCP's timestamps."""
_PACKET_OVERHEAD_BYTES, _MESSAGE_OVERHEAD_BYTES = 52, 70
"""Headers of IP and TCP; of a call in HTTP/2 with its compressed headers, and gRPC's."""
FIRST_WINDOW_BYTES = 10 * _PACKET_BYTES
"""That a connection sends after a pause before it waits for an acknowledgement."""
_SURE_BYTES = 8_000
"""That goes into the first window even if no packet is full, so that no gap is TCP's."""
UNASKED_BYTES = 8_000
"""A longer train follows a pair."""
_GAP = 1.6
"""Between two messages, in times of what is usual in the train: nothing was sent in between."""
_GAP_S = 0.001
"""Less than this is rather a thread that came late."""
_WAKING_S = 0.0002
"""That the first answer comes later than the others, for it wakes the threads on its way; measured
as a bias of 2 to 5 % of all rates."""
_SHORTEST_S = 1e-4


@dataclass(frozen=True, slots=True)
class Spread:
    """What a train showed.

    Attributes:
        bits: of all messages but the first.
        elapsed_s: in which they arrived one after the other.
        waited_s: until the first one was answered, without its own bits: a round trip, and whatever
            held the answers up, after which they come closer than they were sent.
        began_s: when the train was sent.
    """

    bits: float
    elapsed_s: float
    waited_s: float
    began_s: float

    @property
    def rate_bps(self) -> float:
        """That it shows, bit/s."""
        return self.bits / self.elapsed_s

    def is_mixed_with(self, sent_s: float) -> bool:
        """Whether a request was sent among its messages; one behind them does not matter."""
        return self.began_s <= sent_s <= self.began_s + self.elapsed_s


@dataclass(frozen=True, slots=True)
class Train:
    """Messages of one size that are sent at once."""

    n_messages: int
    message_bytes: int

    @classmethod
    def planned(cls, rate_bps: float) -> Train:
        """As long as is allowed on a link of about this rate, bit/s."""
        n_bytes = min(max(rate_bps * SHARE_S / 8, MIN_BYTES), MAX_BYTES)
        n_messages = min(max(round(n_bytes / _PACKET_BYTES), _MIN_MESSAGES), _MAX_MESSAGES)
        return cls(n_messages, round(n_bytes / n_messages))

    def without(self, other: Train) -> Train:
        """A train that takes, together with another one, as much of the link as this one."""
        rest = max(self.n_bytes - other.n_bytes, MIN_BYTES)
        return Train(self.n_messages, round(rest / self.n_messages))

    @property
    def n_bytes(self) -> int:
        """Of all messages."""
        return self.n_messages * self.message_bytes

    def spread(self, began_s: float, arrived_s: Sequence[float]) -> Spread:
        """What its arrivals say.

        Args:
            began_s: when it was sent.
            arrived_s: when each message was answered, ascending.
        """
        gaps_s = [max(b - a, 0.0) for a, b in itertools.pairwise(arrived_s)]
        usual_s = statistics.median_low(gaps_s)
        close = gaps_s
        if self.n_bytes > _SURE_BYTES:
            # Messages end where packets do, one sooner or later.
            packet_s = usual_s * min(_PACKET_BYTES / self.message_bytes, 1.0)
            most_s = max(_GAP * usual_s, usual_s + _GAP_S) + packet_s
            close = [gap_s for gap_s in gaps_s if gap_s <= most_s]
        elapsed_s = max(sum(close) + _WAKING_S * (gaps_s[0] in close), _SHORTEST_S)
        waited_s = arrived_s[0] - began_s - elapsed_s / len(close)
        return Spread(len(close) * self._message_bits, elapsed_s, waited_s, began_s)

    @property
    def _message_bits(self) -> float:
        """Of a message with its headers, in bits of a large one, whose rate is meant."""
        whole = self.message_bytes + _MESSAGE_OVERHEAD_BYTES
        headers = _PACKET_OVERHEAD_BYTES * -(-whole // _PACKET_BYTES)
        return 8.0 * (whole + headers) * _PACKET_BYTES / (_PACKET_BYTES + _PACKET_OVERHEAD_BYTES)


PAIR = Train(2, 1_400)
"""Sent first: a link that has become slow must not be held up by a train for the fast one."""
GROWTH = 8.0
"""A train may be as long as for so many times the rate that a pair shows, which is often late."""
