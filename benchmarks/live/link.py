"""Edge and cloud in two network namespaces, a server at the end of an exact link; needs root."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from envs.errors import EnvError
from tests.partition.netns import CLOUD_ADDRESS, Namespaces

TUN = Path("/dev/net/tun")
_CONTROL = "reno"
"""Congestion control of both ends: begins as cubic does, which boards come with and namespaces may
not choose. BBR sends no faster than it believes the link to be, so that its own pace is seen."""


class ExactLink:
    """A link whose uplink rate can be set at any time, and its server.

    Args:
        namespaces: without a cable, entered.
        rate_bps: of the uplink.
        rtt_s: round trip of an empty packet.
    """

    def __init__(self, namespaces: Namespaces, rate_bps: float, rtt_s: float) -> None:
        self._namespaces = namespaces
        for name in (namespaces.edge, namespaces.cloud):
            setting = f"net.ipv4.tcp_congestion_control={_CONTROL}"
            enter = ["nsenter", f"--net=/run/netns/{name}"]
            subprocess.run([*enter, "sysctl", "-qw", setting], check=True, timeout=20)
        options = (namespaces.edge, namespaces.cloud, rate_bps, rtt_s)
        self._relay = namespaces.popen(namespaces.edge, "benchmarks.live.relay", *options)
        _first_line(self._relay)

    def follow(self, rates: Sequence[tuple[float, float]]) -> None:
        """Let the uplink take these rates, bit/s, each so many seconds from now, in order."""
        assert self._relay.stdin is not None
        self._relay.stdin.write(f"{json.dumps(rates)}\n")
        self._relay.stdin.flush()

    def serve(self, model: str) -> str:
        """Start a server of a network at the far end; its address."""
        options = ("--model", model, "--listen", f"{CLOUD_ADDRESS}:0", "--insecure")
        server = self._namespaces.popen(self._namespaces.cloud, "partition.server", *options)
        found = re.search(rf"{re.escape(CLOUD_ADDRESS)}:\d+", _first_line(server))
        if found is None:
            raise EnvError("the server of the live runs did not say where it listens")
        return found[0]

    def edge(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a module of Python at the near end."""
        return self._namespaces.popen(self._namespaces.edge, *arguments)


@contextmanager
def exact_link(rate_bps: float, rtt_s: float) -> Iterator[ExactLink]:
    """A link that is gone afterwards, with all processes that were started at its ends.

    Raises:
        EnvError: this machine has no namespaces or TUN devices, or this user may not use them.
    """
    check_possible()
    with Namespaces(cable=False) as namespaces:
        yield ExactLink(namespaces, rate_bps, rtt_s)


def check_possible() -> None:
    """Whether live runs are possible here.

    Raises:
        EnvError: what they lack.
    """
    if os.geteuid() != 0:
        raise EnvError("live runs make network namespaces, which needs root: run this with sudo")
    if not TUN.exists():
        raise EnvError(
            f"live runs need {TUN}, which is not there: load the module with modprobe tun"
        )
    if shutil.which("ip") is None:
        raise EnvError("live runs need the command ip: apt install iproute2")


def _first_line(process: subprocess.Popen[str]) -> str:
    """What a program says once it is ready."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        raise EnvError(f"{process.args!r} ended: {process.stderr.read().strip()}")
    return line
