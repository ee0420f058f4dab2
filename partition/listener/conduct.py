"""Conduct of a server's connections: which of them flood it, and which addresses shall wait.

A flood is what costs the server and gives it nothing to answer: bytes that belong to no message
that came whole, calls that are refused, connections that leave without a call. Whoever asks much
and is answered does not flood; he gets his share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from partition.listener.peers import Peer

_CALL_BYTES = 300.0
"""Of a call besides its message: a header takes 60 to 300."""
_MESSAGES, _REFUSED_BYTES = 4, 1e6
"""That may be under way without their calls; and what gRPC takes in of one that is too large before
its sender learns that it is refused."""
_LEAK_S = 30.0
"""A board whose link is too slow breaks off a message a second, an eighth of the largest one."""
_REFUSED_HZ, _REFUSED_BURST = 25.0, 200.0
"""A board that is refused asks 20 times a second at most."""
_VANISHED_HZ, _VANISHED_BURST = 5.0, 50.0
"""A balancer that looks whether a port is open comes a few times a second."""
_WAIT_S, _LONGEST_WAIT_S = 2.0, 60.0
_SHORT_WAIT_S = 0.5
"""Where others of the address behave: a new one of them is let in at its second attempt."""
_FORGIVEN_S = 60.0
_THIS_MACHINE = ("127.0.0.1", "::")
"""Its health checks come from there, and it is not shut out; `::` is the site of `::1`."""
_LOW = 0.25
_SEEN_S = 1.0
"""A connection that has been here for so long and is not seen has ended."""


class Seen(NamedTuple):
    """A connection as the kernel knows it."""

    peer: Peer
    inode: int
    """Grows with time: the smaller, the older."""
    received_bytes: int
    n_calls: int = 0
    """That wait or run."""


@dataclass(slots=True)
class Bucket:
    """Leaks at a rate, and tells when it is over its rim."""

    rate_hz: float
    """What leaks in a second."""
    burst: float
    """What it holds."""
    level: float = 0.0

    def add(self, amount: float, elapsed_s: float, more: float = 0.0) -> bool:
        """Put something in; whether it is more than it holds, and may hold for now."""
        self.level = max(0.0, self.level + amount - self.rate_hz * elapsed_s)
        return self.level > self.burst + more

    @property
    def is_low(self) -> bool:
        """Whether little is in it."""
        return self.level < _LOW * self.burst


@dataclass(slots=True)
class _Conduct:
    """Of one connection."""

    since_s: float
    excess: Bucket
    refusals: Bucket = field(default_factory=lambda: Bucket(_REFUSED_HZ, _REFUSED_BURST))
    inode: int = 0
    received_bytes: int = 0
    useful_bytes: float = 0.0
    """Of messages since the last look, and what goes with them."""
    refused: int = 0
    """Calls since the last look."""
    answered: int = 0
    """Calls ever."""

    @property
    def behaves(self) -> bool:
        """Whether it is answered and is far from being a flood."""
        return self.answered > 0 and self.excess.is_low and self.refusals.is_low


@dataclass(slots=True)
class _Address:
    """What is held against an address."""

    vanished: Bucket = field(default_factory=lambda: Bucket(_VANISHED_HZ, _VANISHED_BURST))
    strikes: int = 0
    until_s: float = 0.0


def excess_of(message_bytes: float) -> Bucket:
    """What a connection may send besides whole messages, of which the largest has so many bytes."""
    burst = max(_MESSAGES * message_bytes, _REFUSED_BYTES)
    return Bucket(burst / _LEAK_S, burst)


class Verdict(NamedTuple):
    """What follows from a look at all connections."""

    floods: list[Peer]
    """To be ended."""
    waiting: list[str]
    """Addresses that get no new connection now."""


class ConductBook:
    """Remembers what peers did; not safe to use from several threads.

    Args:
        excess: bytes that a connection may send besides whole messages: four messages, as many more
            as it has calls, and what a slow link does not bring in time each second.
        now_s: when it begins.
    """

    def __init__(self, excess: Bucket, now_s: float = 0.0) -> None:
        self._excess = excess
        self._looked_s = now_s
        self._of: dict[Peer, _Conduct] = {}
        self._addresses: dict[str, _Address] = {}

    def heard(self, peer: Peer, message_bytes: int, now_s: float) -> None:
        """A message came whole."""
        self._conduct(peer, now_s).useful_bytes += _CALL_BYTES + message_bytes

    def answered(self, peer: Peer, now_s: float) -> None:
        """A call got what it asked for."""
        self._conduct(peer, now_s).answered += 1

    def refused(self, peer: Peer, now_s: float) -> None:
        """A call was refused or ended."""
        self._conduct(peer, now_s).refused += 1

    def look(self, seen: Collection[Seen], now_s: float) -> Verdict:
        """Judge by what all connections did since the last look."""
        elapsed_s, self._looked_s = now_s - self._looked_s, now_s
        floods = [each.peer for each in seen if self._is_flood(each, elapsed_s, now_s)]
        for peer in floods:
            del self._of[peer]
        useless = self._forget({each.peer for each in seen}, now_s)
        guilty = {peer.address for peer in floods}
        for name in {*self._addresses, *useless}:
            if self._address(name).vanished.add(useless[name], elapsed_s):
                guilty.add(name)
        for name in guilty:
            self._strike(name, now_s)
        self._addresses = {
            name: each
            for name, each in self._addresses.items()
            if now_s < each.until_s + _FORGIVEN_S or each.vanished.level
        }
        waiting = [name for name, each in self._addresses.items() if now_s < each.until_s]
        return Verdict(floods, waiting)

    def _conduct(self, peer: Peer, now_s: float) -> _Conduct:
        conduct = self._of.get(peer)
        if conduct is None:
            conduct = self._of[peer] = _Conduct(now_s, replace(self._excess))
        return conduct

    def _is_flood(self, each: Seen, elapsed_s: float, now_s: float) -> bool:
        conduct = self._conduct(each.peer, now_s)
        if conduct.inode not in (0, each.inode):  # the port has been taken again
            del self._of[each.peer]
            conduct = self._conduct(each.peer, now_s)
        conduct.inode = each.inode
        excess = each.received_bytes - conduct.received_bytes - conduct.useful_bytes
        may_come = each.n_calls * conduct.excess.burst / _MESSAGES
        is_wordy = conduct.excess.add(excess, elapsed_s, may_come)
        is_refused = conduct.refusals.add(conduct.refused, elapsed_s)
        conduct.received_bytes, conduct.useful_bytes = each.received_bytes, 0.0
        conduct.refused = 0
        return is_wordy or is_refused

    def _forget(self, present: set[Peer], now_s: float) -> Counter[str]:
        """Drop connections that have ended; addresses of those that were of no use to anybody."""
        gone = [p for p, c in self._of.items() if p not in present and c.since_s < now_s - _SEEN_S]
        useless = Counter(peer.address for peer in gone if not self._of[peer].answered)
        for peer in gone:
            del self._of[peer]
        return useless

    def _address(self, name: str) -> _Address:
        return self._addresses.setdefault(name, _Address())

    def _strike(self, name: str, now_s: float) -> None:
        address = self._address(name)
        if now_s < address.until_s or name in _THIS_MACHINE:
            return
        address.strikes = address.strikes + 1 if now_s < address.until_s + _FORGIVEN_S else 1
        behave = any(each.behaves for peer, each in self._of.items() if peer.address == name)
        longest_s = min(_WAIT_S * 2.0 ** (address.strikes - 1), _LONGEST_WAIT_S)
        address.until_s = now_s + (_SHORT_WAIT_S if behave else longest_s)
