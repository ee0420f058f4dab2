"""Relay of benchmarks.live whose uplink misbehaves, as a process; needs root.

    python -m tests.partition.rough_relay EDGE CLOUD RATE_BPS RTT_S KIND BEGIN_S END_S

KIND is what happens between these times: `stall` lets nothing through, `reorder` changes places of
every other pair of packets, `duplicate` sends every third packet twice.
"""

from __future__ import annotations

import sys
import time

from benchmarks.live import relay


class RoughDirection(relay.Direction):
    """An uplink in its bad time."""

    kind = "none"
    begin_s = end_s = 0.0

    def take(self, now_s):
        """Read what has come, and do it harm."""
        is_bad = self.begin_s <= now_s < self.end_s and self.delay_s >= 0.0
        if is_bad and self.kind == "stall":
            self.free_s = max(self.free_s, self.end_s)
        n_before = len(self.queue)
        super().take(now_s)
        if not is_bad:
            return
        if self.kind == "reorder":
            for i in range(n_before + 1, len(self.queue), 2):
                (first_s, first), (second_s, second) = self.queue[i - 1], self.queue[i]
                self.queue[i - 1], self.queue[i] = (first_s, second), (second_s, first)
        elif self.kind == "duplicate":
            packets = list(self.queue)[n_before:]
            for due_s, packet in packets[::3]:
                self.queue.append((max(due_s, self.queue[-1][0]), packet))
                self.queued_bytes += len(packet)


if __name__ == "__main__":
    *sys.argv[1:], kind, begin_s, end_s = sys.argv[1:]
    now_s = time.monotonic()
    RoughDirection.kind = kind
    RoughDirection.begin_s, RoughDirection.end_s = now_s + float(begin_s), now_s + float(end_s)
    relay.Direction = RoughDirection
    relay.main()
