"""A small Ray cluster on the loopback of this machine: a node per device, nothing shaped."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LABEL = "dvfo-device"
_READY_TIMEOUT_S = 180
_END_TIMEOUT_S = 20


class LocalRay:
    """A context manager.

    Args:
        devices: names; the first is the head, too.
        scratch: folder for Ray's files; its path must be short, sockets lie in it.
    """

    def __init__(self, devices: tuple[str, ...], scratch: Path) -> None:
        self._devices = devices
        self._scratch = scratch
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        token = scratch / "token"
        token.write_text(secrets.token_hex(32))
        self.environment = os.environ | {
            "RAY_agent_register_timeout_ms": "180000",
            "RAY_raylet_start_wait_time_s": str(_READY_TIMEOUT_S),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def __enter__(self) -> LocalRay:
        try:
            for number, device in enumerate(self._devices):
                self._start(device, is_head=number == 0)
                self._wait_for(number + 1)  # two at once take the same names for their sockets
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait(_END_TIMEOUT_S)

    @contextmanager
    def joined(self, device: str, *, without: Path | None = None) -> Iterator[None]:
        """A further device for a while.

        Args:
            device: its name.
            without: a folder that is empty there; takes root.
        """
        self._start(device, is_head=False, without=without)
        self._wait_for(len(self._processes))
        try:
            yield
        finally:
            node = self._processes.pop()
            for pid in _tree(node.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.wait(_END_TIMEOUT_S)

    def run(self, *arguments: object, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
        """Run a module of Python with the cluster's token."""
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def popen(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a module of Python with the cluster's token."""
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[int]:
        """Ids of all processes of the cluster."""
        return [pid for process in self._processes for pid in _tree(process.pid)]

    def actors(self, name: str) -> list[int]:
        """Ids of the processes of actors of a class."""
        return [pid for pid in self.processes() if name in _command(pid)]

    def _start(self, device: str, *, is_head: bool, without: Path | None = None) -> None:
        head = [
            "--head",
            f"--port={self.address.partition(':')[2]}",
            f"--temp-dir={self._scratch}",
            "--include-dashboard=false",
        ]
        where = head if is_head else [f"--address={self.address}"]
        hidden = f'mount -t tmpfs none "{without}" && exec "$@"'
        command = [
            *(() if without is None else ("unshare", "--mount", "sh", "-c", hidden, "sh")),
            str(Path(sys.executable).with_name("ray")),
            "start",
            *where,
            "--node-ip-address=127.0.0.1",
            f"--labels={LABEL}={device}",
            "--disable-usage-stats",
            "--object-store-memory=80000000",
            "--num-cpus=2",
            "--block",
        ]
        self._processes.append(
            subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _wait_for(self, n_nodes: int) -> None:
        due_s = time.monotonic() + _READY_TIMEOUT_S
        while True:
            answer = self.run("tests.cluster.count_nodes", self.address)
            if answer.returncode == 0 and int(answer.stdout.split()[0]) >= n_nodes:
                return
            if time.monotonic() > due_s:
                raise RuntimeError(f"{answer.stdout} of {n_nodes} Ray nodes: {answer.stderr}")


def _tree(pid: int) -> list[int]:
    """Ids of a process and of all that it and they have started."""
    found: list[int] = []
    fresh = [pid]
    while fresh:
        found += fresh
        fresh = [child for each in fresh for child in _children(each)]
    return found


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
