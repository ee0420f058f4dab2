"""Peers of a server, and who of them gives way where there is no room for all.

The share of a peer is what the others leave to it: where all places are taken, the address and in
it the connection that holds most of them has to give one up. So nobody takes from others by asking
more often, neither on one connection nor on many.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

ItemT = TypeVar("ItemT")

_MAPPED = "::ffff:"
_SITE_BITS = 64
"""Of an IPv6 address name a site; whoever is there has all the addresses that begin with them."""
_REMEMBERED = 8_192


class Peer(NamedTuple):
    """The other end of a connection."""

    address: str
    """IPv4 address, or the first half of an IPv6 address."""
    connection: str
    """As gRPC writes it, port included."""


@lru_cache(maxsize=4096)
def parse(connection: str) -> Peer:
    """A peer in gRPC's words, for instance `ipv4:192.0.2.1:40000` or `ipv6:%5B::1%5D:40000`."""
    host = unquote(connection.partition(":")[2].rpartition(":")[0]).strip("[]")
    return Peer(site_of(host), connection)


def site_of(host: str) -> str:
    """What counts as one address: an IPv4 address, mapped ones too, or 64 bits of an IPv6 one."""
    host = host.removeprefix(_MAPPED).partition("%")[0]
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network(f"{host}/{_SITE_BITS}", strict=False).network_address)
    except ValueError:
        return host


def connection_name(host: str, port: int) -> str:
    """A peer in gRPC's words, from what a socket says of it."""
    host = host.removeprefix(_MAPPED)
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def who_gives_way(holders: Collection[Peer], new: Peer) -> Peer | None:
    """The peer that has to give up a place to a new one; None: the new one itself.

    Args:
        holders: of the places, once for each of them; not empty.
        new: wants one.
    """
    by_address = Counter(each.address for each in holders)
    most = max(by_address.values())
    if by_address[new.address] == most:  # one of the heaviest: its own others give way
        addresses = {new.address}
    else:
        addresses = {name for name, n in by_address.items() if n == most}
    by_peer = Counter(each for each in holders if each.address in addresses)
    heaviest, n = max(by_peer.items(), key=lambda item: item[1])
    return None if by_peer[new] == n else heaviest


class Turns:
    """Whose turn it is: of the address, and in it of the connection, that had its last one first.

    Who is new comes behind those that waited already: otherwise an application that connects for
    each request would keep one that stays connected from ever having a turn. Not safe to use from
    several threads.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._n = 0

    def next(self, items: Iterable[ItemT], peer_of: Callable[[ItemT], Peer]) -> ItemT:
        """The first of some items whose peer's turn it is; it has had it then."""

        def last(item: ItemT) -> tuple[int, int]:
            peer = peer_of(item)
            return (
                self._last.setdefault(peer.address, self._n),
                self._last.setdefault(peer.connection, self._n),
            )

        if len(self._last) > _REMEMBERED:
            self._last.clear()
        chosen = min(items, key=last)
        self._n += 1
        peer = peer_of(chosen)
        self._last[peer.address] = self._last[peer.connection] = self._n
        return chosen
