"""What is said between stages besides frames.

A session is one stream from each sender of a hop to each of its receivers: one each, unless a stage
has replicas. The first message of a stream says what the receiver has to do, how many send to it
and who comes next, so that a stage knows nothing before and nothing after: moving stages is a new
session. Then frames follow, each a `wire.Request` whose split point is the cut that it was taken
at, and whose number is the frame's. The receiver answers with a byte and a number: that it is ready
(with everybody behind it), that a frame has arrived, and that there is room for another.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import Any

from partition import json_file
from partition.codec import quantisers
from partition.errors import CloudError
from partition.stages.errors import StageError
from partition.transport import rpc

SERVICE = "dvfo.Stages"
FRAMES = "Frames"
STATISTICS = "Statistics"
PROBE = "Probe"
MAX_STAGES = 1024
"""Replicas counted."""
_MAX_OPENING_BYTES = 1 << 17
_SIGNAL = struct.Struct("<Bq")


class SignalKind(IntEnum):
    """Of a receiver's signal."""

    READY = 0
    """It and all behind it have loaded their part."""
    ARRIVED = 1
    """A frame is there in full."""
    ROOM = 2
    """A frame was taken from the queue."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A stage: where it listens, and between which cuts it computes."""

    addresses: tuple[str, ...]
    """One for each replica; frames are dealt to them."""
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSession:
    """The opening of a stream, as the receiver gets it."""

    number: int
    """A later one takes over a stage from an earlier one."""
    fingerprint: str
    """Of the network."""
    codec: str
    """How a tensor crosses a link: one of `quantisers.codec_names`."""
    queue_depth: int
    """Frames that may wait in front of a stage, besides the one that is on its way."""
    hops: tuple[StageSpec, ...]
    """The receiver's stage and those behind it; none: the receiver takes the results."""
    sink: str
    """Where the results go."""
    n_senders: int = 1
    """Streams that each receiver gets: replicas of the stage in front of it."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the receivers listen."""
        return self.hops[0].addresses if self.hops else (self.sink,)

    @property
    def window(self) -> int:
        """Frames of one sender that may be on their way to a receiver or wait in front of it.

        Several senders share the memory that the placement counted for one, down to a frame each.
        """
        return max((self.queue_depth + 1) // self.n_senders, 1)

    @property
    def capacity(self) -> int:
        """Frames that the receivers and all behind them hold, one of them computed in each."""
        waiting = len(self.addresses) * self.n_senders * self.window
        return waiting + (len(self.addresses) + self.behind().capacity if self.hops else 0)

    def behind(self) -> StageSession:
        """The same session as the next ones get it; only while `hops` has some."""
        return replace(self, hops=self.hops[1:], n_senders=len(self.addresses))

    def pack(self) -> bytes:
        """The opening as bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, message: bytes) -> StageSession:
        """The opening from bytes, checked.

        Raises:
            StageError: it is none.
        """
        if len(message) > _MAX_OPENING_BYTES:
            raise StageError(f"an opening of {len(message)} bytes is over {_MAX_OPENING_BYTES}")
        try:
            data: dict[str, Any] = json_file.parse(message)
            hops = tuple(StageSpec(tuple(hop.pop("addresses")), **hop) for hop in data.pop("hops"))
            session = cls(hops=hops, **data)
            session.check()
        except (ValueError, TypeError, KeyError, AttributeError, CloudError) as error:
            raise StageError(f"a stream does not open with a session ({error})") from error
        return session

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: a number or a name.
            CloudError: an address.
        """
        whole = [self.number, self.queue_depth, *(n for h in self.hops for n in (h.start, h.end))]
        if not all(type(n) is int and n >= 0 for n in whole):
            raise ValueError(f"number {self.number}, queue {self.queue_depth}, hops {self.hops}")
        counts = [self.n_senders, *(len(hop.addresses) for hop in self.hops)]
        if type(self.n_senders) is not int or min(counts) < 1 or sum(counts) > MAX_STAGES:
            raise ValueError(f"senders and replicas {counts}")
        if self.codec not in quantisers.codec_names() or not isinstance(self.fingerprint, str):
            raise ValueError(f"codec {self.codec!r}, network {self.fingerprint!r}")
        if any(hop.start >= hop.end for hop in self.hops):
            raise ValueError(f"hops {self.hops}")
        for address in (self.sink, *(each for hop in self.hops for each in hop.addresses)):
            rpc.parse_address(address)


def pack_signal(kind: SignalKind, number: int = 0) -> bytes:
    """A receiver's signal about a frame."""
    return _SIGNAL.pack(kind, number)


def unpack_signal(message: bytes) -> tuple[SignalKind, int]:
    """A signal and the frame's number.

    Raises:
        StageError: it is none.
    """
    try:
        kind, number = _SIGNAL.unpack(message)
        return SignalKind(kind), number
    except (struct.error, ValueError) as error:
        raise StageError(f"a stage answers nonsense ({error})") from error


def method_path(name: str) -> str:
    """Full name of a method of the service."""
    return f"/{SERVICE}/{name}"
