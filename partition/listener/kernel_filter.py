"""Filter of the kernel in front of a listening socket: no connection from some addresses.

A connection that the kernel does not make costs nothing; one that gRPC makes and this process ends
costs as much as any. The filter is classic BPF, which needs no privilege (socket(7),
SO_ATTACH_FILTER; Documentation/networking/filter.rst of Linux).
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_BYTE, _SHIFT_RIGHT, _JUMP, _JUMP_EQUAL, _RETURN = 0x20, 0x30, 0x74, 5, 0x15, 6
_NETWORK_HEADER = -0x100000
_IPV4_SOURCE, _IPV6_SOURCE = 12, 8
_DROP, _TAKE = 0, 0xFFFFFFFF
MAX_ADDRESSES = 512
"""A program has up to 4,096 instructions, of which an IPv6 address takes five."""

_Instruction = tuple[int, int, int, int]


def refuse_from(listening: socket.socket, addresses: Sequence[str]) -> None:
    """Let a socket take no new connection from these addresses, and from all others again.

    Args:
        listening: its connections that are there already stay.
        addresses: IPv4 addresses, and IPv6 ones of which the first 64 bits count.

    Raises:
        OSError: the system has no such filters.
    """
    program = _program(addresses[-MAX_ADDRESSES:])
    code = b"".join(struct.pack("=HBBI", op, yes, no, k & _TAKE) for op, yes, no, k in program)
    held = ctypes.create_string_buffer(code)
    header = struct.pack("@HP", len(program), ctypes.addressof(held))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)


def _program(addresses: Sequence[str]) -> list[_Instruction]:
    version_4: list[_Instruction] = [(_LOAD_WORD, 0, 0, _NETWORK_HEADER + _IPV4_SOURCE)]
    version_6: list[_Instruction] = []
    for each in map(ipaddress.ip_address, addresses):
        if each.version == 4:
            version_4 += [(_JUMP_EQUAL, 0, 1, int(each)), (_RETURN, 0, 0, _DROP)]
        else:
            high, low = struct.unpack(">II", each.packed[:8])
            version_6 += [
                (_LOAD_WORD, 0, 0, _NETWORK_HEADER + _IPV6_SOURCE),
                (_JUMP_EQUAL, 0, 3, high),
                (_LOAD_WORD, 0, 0, _NETWORK_HEADER + _IPV6_SOURCE + 4),
                (_JUMP_EQUAL, 0, 1, low),
                (_RETURN, 0, 0, _DROP),
            ]
    take: _Instruction = (_RETURN, 0, 0, _TAKE)
    return [
        (_LOAD_BYTE, 0, 0, _NETWORK_HEADER),
        (_SHIFT_RIGHT, 0, 0, 4),  # the version of IP
        (_JUMP_EQUAL, 0, 1, 6),
        (_JUMP, 0, 0, len(version_4) + 1),
        *version_4,
        take,
        *version_6,
        take,
    ]
