"""A faulty cloud that dies, hangs and lies, and a link to it that stalls, drops and scrambles.

python -m benchmarks.soak.cloud MODEL PORT: serves until killed; what it shall lie about is read
from standard input, a line each: "honest", "shape", "infinity".
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from partition import cli
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer
from tests.conftest import REPOSITORY
from tests.partition.delay_proxy import DelayProxy

STARTS_WITHIN_S = 60.0
LIES = ("shape", "infinity")


class LyingRuntime(SplitRuntime):
    """Runs tails, and hands out something else while told to."""

    lie = "honest"

    def tail(self, *arguments: Any, **options: Any) -> tuple[np.ndarray, ...]:
        first, *others = super().tail(*arguments, **options)
        if self.lie == "shape":
            first = np.ascontiguousarray(first[:, :3])
        elif self.lie == "infinity":
            first = np.full_like(first, np.inf)
        return (first, *others)


class Cloud:
    """The server's process, always on the same port; a context manager.

    Args:
        model: folder of the network.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Cloud:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; returns when it serves."""
        command = [sys.executable, "-u", "-m", "benchmarks.soak.cloud", self._model, self.port]
        self._process = subprocess.Popen(
            list(map(str, command)),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        if not self._process.stdout.readline():
            raise RuntimeError("the cloud did not start")

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        """Let it hang."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def say(self, lie: str) -> None:
        """Change what it answers."""
        with suppress(OSError):  # killed meanwhile
            self._process.stdin.write(f"{lie}\n")


class RoughLink(DelayProxy):
    """A relay with more that can go wrong.

    Attributes:
        scrambles: makes noise of what is sent, both ways, while true; TCP notices single errors.
    """

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        super().__init__(target, seed=seed)
        self.scrambles = False
        self._noise = random.Random(seed)

    def _write(self, sink: socket.socket, chunks: Any) -> None:
        super()._write(_Scrambler(sink, self), chunks)

    def scrambled(self, chunk: bytes) -> bytes:
        """A chunk as it arrives."""
        return self._noise.randbytes(len(chunk)) if self.scrambles else chunk


class _Scrambler:
    """A socket's sending side behind a rough link."""

    def __init__(self, sink: socket.socket, link: RoughLink) -> None:
        self._sink, self._link = sink, link

    def sendall(self, chunk: bytes) -> None:
        self._sink.sendall(self._link.scrambled(chunk))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


class ProxyTrap:
    """What `http_proxy` names: no program has any business there; a context manager.

    Attributes:
        visits: connections so far.
    """

    def __init__(self) -> None:
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "grpc_proxy")
        self.environment = dict.fromkeys(names, f"http://127.0.0.1:{port}")

    def __enter__(self) -> ProxyTrap:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                visitor, _ = self._listener.accept()
                self.visits += 1
                visitor.close()


def _serve() -> None:
    model, port = sys.argv[1:]
    folder = ModelFolder.open(model)
    runtime = LyingRuntime(folder)
    give_up_s = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            server = CloudServer(folder, runtime, f"127.0.0.1:{port}")
            break
        except Exception:  # the one that was killed has not let go of the port
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.1)
    with server:
        print("serves", flush=True)
        for line in sys.stdin:
            runtime.lie = line.strip()


if __name__ == "__main__":
    sys.exit(cli.run(_serve))
