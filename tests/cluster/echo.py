"""Sends every frame back to whoever sent it: `python -m tests.cluster.echo IP COUNT`.

Prints as many addresses as devices want to measure at once: one takes one session at a time.
"""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack

from partition.stages.frame_sender import FrameSender
from partition.stages.server import SessionServer
from partition.transport import wire

_READY_TIMEOUT_S = 30


def send_back(inlet):
    with FrameSender(inlet.session.behind()) as outlet:
        outlet.wait_ready(_READY_TIMEOUT_S)
        inlet.ready()
        for frame in inlet.frames():
            outlet.send(frame.number, wire.pack_request(frame))


if __name__ == "__main__":
    with ExitStack() as stack:
        servers = [
            stack.enter_context(SessionServer(f"{sys.argv[1]}:0", send_back, dict))
            for _ in range(int(sys.argv[2]))
        ]
        print(*(server.address for server in servers), flush=True)
        threading.Event().wait()
