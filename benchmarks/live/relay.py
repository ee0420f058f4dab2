"""Link between two network namespaces with an exact rate and delay, as a process; needs root.

    python -m benchmarks.live.relay EDGE CLOUD RATE_BPS RTT_S

Packets go through two TUN devices and this process, which lets those of the uplink through one
after the other at a rate and hands each on after half the round trip. A token bucket in the kernel
(tbf) lets what its bucket holds pass at full rate, which hides the rate from short messages, and
has no delay. A line on standard input is what becomes of the rate from now on, pairs of seconds and
bit/s in JSON. It ends when standard input does.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from common import command
from tests.partition.netns import CLOUD_ADDRESS, EDGE_ADDRESS

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU_BYTES = 1500
_QUEUE_PACKETS = 10_000
"""Room in the kernel for whatever the relay has not yet read; nothing is dropped there."""
_QUEUE_BYTES = 4_000_000
"""Room in the relay; more is dropped, as in a real queue."""
_DOWNLINK_BPS = 1e9
_AWAKE_S = 0.00003
"""A sleep ends this late; so near to a packet's time it is handed on."""


@dataclass(slots=True)
class Direction:
    """Packets on their way, in order.

    Attributes:
        rate_bps: that holds now.
        changes: of the rate that are to come, each with its time, in order.
    """

    source: int
    sink: int
    rate_bps: float
    delay_s: float
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    queued_bytes: int = 0
    free_s: float = 0.0
    changes: deque[tuple[float, float]] = field(default_factory=deque)

    def follow(self, now_s: float, rates: Iterable[tuple[float, float]]) -> None:
        """Take these rates in turn, by seconds from now; packets on their way keep their time."""
        self.changes = deque((now_s + after_s, rate_bps) for after_s, rate_bps in rates)

    def take(self, now_s: float) -> None:
        """Read what has come, and say when it will be there."""
        while self.changes and self.changes[0][0] <= now_s:
            self.rate_bps = self.changes.popleft()[1]
        while True:
            try:
                packet = os.read(self.source, _MTU_BYTES)
            except BlockingIOError:
                return
            if self.queued_bytes + len(packet) > _QUEUE_BYTES:
                continue
            self.free_s = self._through_s(max(self.free_s, now_s), 8 * len(packet))
            self.queue.append((self.free_s + self.delay_s, packet))
            self.queued_bytes += len(packet)

    def _through_s(self, began_s: float, bits: float) -> float:
        """When a packet is through that begins then, whatever becomes of the rate meanwhile."""
        rate_bps = self.rate_bps
        for change_s, next_bps in self.changes:
            passed = max(change_s - began_s, 0.0) * rate_bps
            if passed >= bits:
                break
            began_s, bits, rate_bps = max(began_s, change_s), bits - passed, next_bps
        return began_s + bits / rate_bps

    def deliver(self, now_s: float) -> None:
        """Hand on what is due."""
        while self.queue and self.queue[0][0] <= now_s + _AWAKE_S:
            _, packet = self.queue.popleft()
            self.queued_bytes -= len(packet)
            os.write(self.sink, packet)


def _tun(namespace: str, name: str, address: str, peer: str) -> int:
    """A TUN device in a namespace; what is written to it arrives there."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(handle: int) -> None:
        if libc.setns(handle, 0):
            raise OSError(ctypes.get_errno(), f"cannot enter network namespace {namespace}")

    enter(there)
    try:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, request)
    finally:
        enter(home)
        os.close(home)
        os.close(there)
    for line in (
        f"address add {address} peer {peer} dev {name}",
        f"link set {name} mtu {_MTU_BYTES} txqueuelen {_QUEUE_PACKETS} up",
        "link set lo up",
    ):
        subprocess.run(["ip", "-n", namespace, *line.split()], check=True, timeout=20)
    return device


def relay(edge: int, cloud: int, rate_bps: float, rtt_s: float) -> None:
    """Pass packets on until standard input ends."""
    up = Direction(edge, cloud, rate_bps, rtt_s / 2)
    down = Direction(cloud, edge, _DOWNLINK_BPS, rtt_s / 2)
    commands = sys.stdin.fileno()
    while True:
        now_s = time.monotonic()
        due_s = min((d.queue[0][0] for d in (up, down) if d.queue), default=now_s + 1.0)
        wait_s = max(due_s - now_s - _AWAKE_S, 0.0)
        ready, _, _ = select.select([edge, cloud, commands], [], [], wait_s)
        now_s = time.monotonic()
        for direction in (up, down):
            if direction.source in ready:
                direction.take(now_s)
            direction.deliver(now_s)
        if commands in ready:
            text = sys.stdin.readline()
            if not text:
                return
            up.follow(now_s, json.loads(text))


def main() -> None:
    """Run the process."""
    edge, cloud, rate_bps, rtt_s = sys.argv[1:]
    # A link does not wait for a processor.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    devices = (
        _tun(edge, "uplink", EDGE_ADDRESS, CLOUD_ADDRESS),
        _tun(cloud, "downlink", CLOUD_ADDRESS, EDGE_ADDRESS),
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    relay(*devices, float(rate_bps), float(rtt_s))


if __name__ == "__main__":
    sys.exit(command.run(main))
