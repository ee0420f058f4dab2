"""Two network namespaces, joined by a cable whose uplink a token bucket shapes; needs root.

Nothing leaves them: they know each other and themselves, and no route leads out.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
EDGE_ADDRESS, CLOUD_ADDRESS = "10.199.0.1", "10.199.0.2"
_COMMAND_TIMEOUT_S = 20
_numbers = itertools.count()
# Room for a whole message: the queue must delay, not drop.
_LIMIT_BYTES = 4_000_000


def shape_command(rate_bps: float) -> list[str]:
    """Shapes the uplink; to be run inside the edge's namespace."""
    # A full packet at least, and not much more: what the bucket takes in while the server computes
    # goes through at once, and a message of 16 kB met 2.4 instead of 2 Mbit/s with 4 kB.
    burst_bytes = max(1_600, round(rate_bps / 8 * 0.002))
    tbf = f"tbf rate {rate_bps:.0f}bit burst {burst_bytes} limit {_LIMIT_BYTES}"
    return ["tc", "qdisc", "replace", "dev", "uplink", "root", *tbf.split()]


class Namespaces:
    """A context manager; whatever happens, processes and namespaces are gone afterwards.

    Args:
        cable: whether to join them.
    """

    def __init__(self, *, cable: bool = True) -> None:
        self._cable = cable
        number = f"dvfo-{os.getpid()}-{next(_numbers)}"
        self.edge, self.cloud = f"{number}-edge", f"{number}-cloud"
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Namespaces:
        if shutil.which("ip") is None or shutil.which("tc") is None:
            pytest.fail("these tests need the commands ip and tc: apt install iproute2")
        if os.geteuid() != 0:
            pytest.skip("network namespaces need root")
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for name in (self.edge, self.cloud):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        for process in self._processes:
            process.wait(_COMMAND_TIMEOUT_S)
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                with suppress(OSError):  # what was still to be written
                    if stream is not None:
                        stream.close()

    def popen(self, namespace: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a module of Python in a namespace."""
        # Unlike `ip netns exec`, this leaves /sys as it is, control groups included.
        enter = ["nsenter", f"--net=/run/netns/{namespace}"]
        command = [*enter, sys.executable, "-m", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def shape(self, rate_bps: float) -> None:
        """Set the rate of the uplink."""
        _run("ip", "netns", "exec", self.edge, *shape_command(rate_bps))

    def _make(self) -> None:
        sides = ((self.edge, "uplink", EDGE_ADDRESS), (self.cloud, "downlink", CLOUD_ADDRESS))
        for name, _, _ in sides:
            _run("ip", "netns", "add", name)
        if not self._cable:
            return
        _run(
            *f"ip -n {self.edge} link add uplink type veth peer name downlink".split(),
            *f"netns {self.cloud}".split(),
        )
        for name, device, address in sides:
            _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", device)
            _run("ip", "-n", name, "link", "set", device, "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.stderr.strip()}")
