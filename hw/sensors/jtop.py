"""Power of a Jetson by the service of jetson-stats, where this user may not read the rails.

jetson-stats is under the AGPL and optional: it runs in a process of its own, which prints what its
client reads. It renews about once a second and averages, so that short windows need the kernel's
own sensors.

Tried with the services of jetson-stats 4.2.12 and 7.2.2 themselves, run over a fake tree (their
`JTOP_TESTING`) with a client in another process. Both have the same form, without the `type` of a
rail that their pages promise. The older one lists what USB-C has negotiated among the rails.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from hw.errors import SensorReadError
from hw.plausible import plausible_w

PERIOD_S = 1.0
START_TIMEOUT_S = 10.0
SILENCE_S = 5.0
"""Time without news after which the last power counts no more."""
_READ_BYTES = 65536
_CLIENT = """
import json, jtop
try:
    with jtop.jtop(interval=0.5) as jetson:
        while jetson.ok():
            power = jetson.power
            if not power:
                raise RuntimeError("it finds no power monitor on this board")
            rails = {name: rail["power"] for name, rail in power["rail"].items()}
            rails = {name: mw for name, mw in rails.items() if not name.startswith("ucsi")}
            total = power["tot"]
            if "name" in total:  # the input's rail, which is taken out of the others
                rails[total["name"]] = total["power"]
            print(json.dumps(rails), flush=True)
except Exception as error:
    print(json.dumps(str(error) or type(error).__name__), flush=True)
"""


class JtopClient:
    """The process that reads.

    Args:
        command: a Python that has jetson-stats.
        start_timeout_s: time until it must have said something, s.
        silence_s: time until it must have said more, s.
        clock: present time, s.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable,),
        *,
        start_timeout_s: float = START_TIMEOUT_S,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._process = subprocess.Popen(
            [*command, "-c", _CLIENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        # select() would refuse a process with more than a thousand open files.
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._silence_s = silence_s
        self._clock = clock
        self._heard_s = clock()
        self._patience_s = start_timeout_s
        self._unfinished = b""
        self._latest_mw: dict[str, int] = {}

    def read_mw(self) -> dict[str, int]:
        """Latest power of each rail, mW; waits for the first.

        Raises:
            SensorReadError: the client ended, says nothing, or says something else.
        """
        while True:
            left_s = self._heard_s + self._patience_s - self._clock()
            wait_s = 0.0 if self._latest_mw else max(0.0, left_s)
            if self._poll.poll(1e3 * wait_s):
                self._take(os.read(self._output.fileno(), _READ_BYTES))
            elif left_s <= 0:
                raise SensorReadError(
                    f"jtop has said nothing for {self._patience_s:g} s; see whether the command "
                    "jtop works"
                )
            if self._latest_mw:
                return self._latest_mw

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()
        self._output.close()

    def _take(self, output: bytes) -> None:
        """Keep the last whole line."""
        if not output:
            raise SensorReadError("jtop has ended; see whether the service jtop is running")
        *lines, self._unfinished = (self._unfinished + output).split(b"\n")
        if lines:
            self._latest_mw = _parse(lines[-1])
            self._heard_s, self._patience_s = self._clock(), self._silence_s


def _parse(line: bytes) -> dict[str, int]:
    try:
        document = json.loads(line)
        if isinstance(document, str):
            raise SensorReadError(f"jtop says: {' '.join(document.split())}")
        return {str(name): int(raw_mw) for name, raw_mw in document.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise SensorReadError(
            f"jtop's client printed {line[:60]!r} instead of rails; update jetson-stats"
        ) from None


class JtopPower:
    """One rail."""

    step_w = 1e-3
    period_s = PERIOD_S

    def __init__(self, client: JtopClient, name: str) -> None:
        self.name = name
        self._client = client

    def read_w(self) -> float:
        """Latest power, W.

        Raises:
            SensorReadError: the service does not answer, or no more for this rail.
            ImplausibleReadingError: no board draws that.
        """
        rails_mw = self._client.read_mw()
        if self.name not in rails_mw:
            raise SensorReadError(f"jtop shows no rail {self.name} any more; restart its service")
        return plausible_w(f"jtop's rail {self.name}", rails_mw[self.name] * 1e-3)


def jtop_sensors(client: JtopClient) -> list[JtopPower]:
    """All rails of the service.

    Raises:
        SensorReadError: the service does not answer.
    """
    return [JtopPower(client, name) for name in client.read_mw()]
