"""Session protocol: the messages between stages besides frames.

A session is one stream from each sender of a hop to each of its receivers: one each, unless a stage
has replicas. The first message of a stream says what the receiver has to do, how many send to it
and who comes next, so that a stage knows nothing before and nothing after: moving stages is a new
session. Then frames follow, each a `wire.Request` whose split point is the cut that it was taken
at, and whose number is the frame's. The receiver answers with a byte and a number: that it is ready
(with everybody behind it), that a frame has arrived, and that there is room for another.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from common.schema import Count, Table, convert, shown
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


class StageSpec(Table, frozen=True):
    """A stage: where it listens, and between which cuts it computes."""

    addresses: Annotated[tuple[str, ...], Meta(min_length=1)]
    """One for each replica; frames are dealt to them."""
    start: Count
    end: Count


class StageSession(Table, frozen=True, kw_only=True):
    """The opening of a stream, as the receiver gets it."""

    number: Count
    """A later one takes over a stage from an earlier one."""
    fingerprint: str
    """Of the network."""
    codec: str
    """How a tensor crosses a link: one of `quantisers.codec_names`."""
    queue_depth: Count
    """Frames that may wait in front of a stage, besides the one that is on its way."""
    hops: tuple[StageSpec, ...]
    """The receiver's stage and those behind it; none: the receiver takes the results."""
    sink: str
    """Where the results go."""
    n_senders: Annotated[int, Meta(ge=1, le=MAX_STAGES)] = 1
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
        return structs.replace(self, hops=self.hops[1:], n_senders=len(self.addresses))

    def pack(self) -> bytes:
        """The opening as bytes."""
        return msgspec.json.encode(self)

    @classmethod
    def unpack(cls, message: bytes) -> StageSession:
        """The opening from bytes, checked.

        Raises:
            StageError: it is none.
        """
        if len(message) > _MAX_OPENING_BYTES:
            raise StageError(f"an opening of {len(message)} bytes is over {_MAX_OPENING_BYTES}")
        try:
            session = convert(json_file.parse(message), cls)
            session.check()
        except (ValueError, CloudError) as error:
            raise StageError(f"a stream does not open with a session ({error})") from error
        return session

    def check(self) -> None:
        """Refuse what the kinds of its fields allow but no session holds.

        Raises:
            ValueError: a number or a name.
            CloudError: an address.
        """
        counts = [self.n_senders, *(len(hop.addresses) for hop in self.hops)]
        if sum(counts) > MAX_STAGES:
            raise ValueError(f"{sum(counts)} senders and replicas are more than {MAX_STAGES}")
        if self.codec not in quantisers.codec_names():
            raise ValueError(f"codec is {shown(self.codec)}")
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
