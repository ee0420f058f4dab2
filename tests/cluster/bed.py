"""Several Ray nodes on this machine: each in a network namespace, on a shaped link, with a share of
a processor; needs root.

A switch (a bridge in a namespace of its own) joins them; token buckets shape both directions of
every cable. Whatever happens, processes, namespaces and control groups are gone afterwards; only
processes that were started here are ended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LABEL = "dvfo-device"
HEAD_ADDRESS = "10.198.0.1"
RAY_ADDRESS = f"{HEAD_ADDRESS}:6379"
HEALTH_CHECKS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""Of the head: a node that lost its power is given up after some seconds, not after a minute."""
_HEAD = "head"
_HEAD_RATE_BPS = 1e9
_COMMAND_TIMEOUT_S = 20
_READY_TIMEOUT_S = 180
_END_TIMEOUT_S = 10
_OBJECT_STORE_BYTES = 80_000_000
_QUOTA_US = 2_000
_BURST_S = 0.002
# Room for some frames: the queue must delay, not drop.
_LIMIT_BYTES = 8_000_000
# Times the usual weight: what else runs on this machine must not take a device's share.
_WEIGHT = 8
_CGROUPS_V1, _CGROUPS_V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A device of the bed."""

    name: str
    cpu_share: float
    """Of one processor, for everything on the node, Ray's own processes included."""
    rate_bps: float
    """Of its cable, each way."""


class BedError(RuntimeError):
    """The bed cannot be made here."""


class Bed:
    """A context manager.

    Args:
        specs: devices; a head without a quota is added.
    """

    def __init__(self, specs: tuple[NodeSpec, ...]) -> None:
        self.specs = specs
        self._prefix = f"dvfo{os.getpid()}"
        self._scratch = Path(tempfile.mkdtemp(prefix="dvfo-ray-"))
        self._hosts = [_HEAD, *(spec.name for spec in specs)]
        self._rates_bps = {_HEAD: _HEAD_RATE_BPS} | {s.name: s.rate_bps for s in specs}
        self._processes: list[subprocess.Popen[bytes]] = []
        token = self._scratch / "token"
        token.write_text(secrets.token_hex(32))
        self._environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            **HEALTH_CHECKS,
            "RAY_agent_register_timeout_ms": "180000",
            "RAY_raylet_start_wait_time_s": str(_READY_TIMEOUT_S),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def __enter__(self) -> Bed:
        why_not = unusable()
        if why_not:
            raise BedError(why_not)
        try:
            self._make_groups()
            self._make_network()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._hosts:
            self._end_all(name)
        for process in self._processes:
            process.wait(_END_TIMEOUT_S)
        for name in [*self._hosts, "switch"]:
            delete = ["ip", "netns", "del", self._netns(name)]
            subprocess.run(delete, capture_output=True, check=False)
        for name in self._hosts:
            with suppress(OSError):
                self._group(name).rmdir()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def start_ray(self) -> None:
        """A head and a node per device; returns when all are there."""
        common = [
            "--disable-usage-stats",
            "--block",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            "--num-cpus=1",
        ]
        head = [
            "--head",
            f"--node-ip-address={HEAD_ADDRESS}",
            "--port=6379",
            "--include-dashboard=false",
            f"--temp-dir={self._scratch}",
        ]
        self._spawn(_HEAD, [*_ray(), "start", *head, *common])
        self._wait_for(1)
        for number, spec in enumerate(self.specs, 2):
            self.start_node(spec.name)
            self._wait_for(number)  # two at once take the same names for their sockets
        # Not before: a node that takes too long to start gives up.
        for spec in self.specs:
            self._limit(spec)

    def start_node(self, name: str) -> None:
        """A Ray node on a device."""
        node = [
            f"--address={RAY_ADDRESS}",
            f"--node-ip-address={self.address(name)}",
            f"--labels={LABEL}={name}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            "--num-cpus=1",
        ]
        self._spawn(name, [*_ray(), "start", *node, "--disable-usage-stats", "--block"])

    def end_node(self, name: str) -> None:
        """As if its power were cut."""
        subprocess.run(
            ["ip", "-n", self._netns("switch"), "link", "set", f"to-{name}", "down"], check=True
        )
        self._end_all(name)

    def run(self, name: str, *arguments: object, timeout_s: float = 300) -> str:
        """Run a module of Python on a device; its output.

        Raises:
            BedError: it failed.
        """
        return self.output(self.popen(name, *arguments), timeout_s)

    def output(self, process: subprocess.Popen[bytes], timeout_s: float = 300) -> str:
        """Of a process from `popen`, when it has ended.

        Raises:
            BedError: it failed.
        """
        out, error = process.communicate(timeout=timeout_s)
        if process.returncode:
            raise BedError(f"{process.args}: {error.decode()[-2000:]}")
        return out.decode()

    def popen(self, name: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a module of Python on a device."""
        return self._spawn(
            name,
            [sys.executable, "-m", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def shape(self, name: str, rate_bps: float) -> None:
        """Set the rate of a device's cable, each way."""
        sides = ((self._netns(name), "cable"), (self._netns("switch"), f"to-{name}"))
        burst_bytes = max(8_000, round(rate_bps / 8 * _BURST_S))
        tbf = f"tbf rate {rate_bps:.0f}bit burst {burst_bytes} limit {_LIMIT_BYTES}"
        for netns, device in sides:
            _run("ip", "netns", "exec", netns, *f"tc qdisc replace dev {device} root".split(),
                 *tbf.split())  # fmt: skip

    def address(self, name: str) -> str:
        """IP address of a device."""
        return f"10.198.0.{1 + self._hosts.index(name)}"

    def processes(self, name: str) -> list[int]:
        """Ids of all processes on a device."""
        procs = self._group(name) / "cgroup.procs"
        return [int(pid) for pid in procs.read_text().split()] if procs.exists() else []

    def busy_s(self, name: str) -> float:
        """Processor time that a device has used."""
        return sum(map(cpu_s, self.processes(name)))

    def _netns(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _group(self, name: str) -> Path:
        root = _CGROUPS_V1 if (_CGROUPS_V1 / "cgroup.procs").exists() else _CGROUPS_V2
        return root / f"{self._prefix}-{name}"

    def _make_groups(self) -> None:
        for name in self._hosts:
            group = self._group(name)
            group.mkdir()
            for file, usual in (("cpu.weight", 100), ("cpu.shares", 1024)):
                if (group / file).exists():
                    (group / file).write_text(str(_WEIGHT * usual))

    def _limit(self, spec: NodeSpec) -> None:
        group, period_us = self._group(spec.name), round(_QUOTA_US / spec.cpu_share)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{_QUOTA_US} {period_us}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(_QUOTA_US))

    def _make_network(self) -> None:
        switch = self._netns("switch")
        _run("ip", "netns", "add", switch)
        _run("ip", "-n", switch, *["link", "add", "bridge", "type", "bridge"])
        _run("ip", "-n", switch, *["link", "set", "bridge", "up"])
        for name in self._hosts:
            netns = self._netns(name)
            _run("ip", "netns", "add", netns)
            _run(
                "ip", "-n", netns, *f"link add cable type veth peer to-{name} netns".split(), switch
            )
            _run("ip", "-n", netns, *f"address add {self.address(name)}/24 dev cable".split())
            _run("ip", "-n", netns, *["link", "set", "cable", "up"])
            _run("ip", "-n", netns, *["link", "set", "lo", "up"])
            _run("ip", "-n", switch, *f"link set to-{name} master bridge up".split())
            self.shape(name, self._rates_bps[name])

    def _spawn(
        self, name: str, command: list[str], stdout: int | None = None, stderr: int | None = None
    ) -> subprocess.Popen[bytes]:
        enter = f'echo $$ > {self._group(name) / "cgroup.procs"} && exec "$@"'
        log = subprocess.DEVNULL
        process = subprocess.Popen(
            ["sh", "-c", enter, "sh", "ip", "netns", "exec", self._netns(name), *command],
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout or log,
            stderr=stderr or log,
        )
        self._processes.append(process)
        return process

    def _wait_for(self, n_nodes: int) -> None:
        due_s = time.monotonic() + _READY_TIMEOUT_S
        while True:
            try:
                found = self.run(_HEAD, "tests.cluster.count_nodes", RAY_ADDRESS, timeout_s=60)
                if int(found.split()[0]) >= n_nodes:
                    return
            except BedError:
                found = "no answer"
            if time.monotonic() > due_s:
                raise BedError(f"{found} of {n_nodes} Ray nodes after {_READY_TIMEOUT_S} s")
            time.sleep(1)

    def _end_all(self, name: str) -> None:
        due_s = time.monotonic() + _END_TIMEOUT_S
        while (pids := self.processes(name)) and time.monotonic() < due_s:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self._processes:
                process.poll()
            time.sleep(0.1)


def unusable() -> str | None:
    """Why the bed cannot be made here; None: it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "the commands ip and tc are missing: apt install iproute2"
    if not any((root / "cgroup.procs").exists() for root in (_CGROUPS_V1, _CGROUPS_V2)):
        return "there are no control groups for processor time"
    return None


def _ray() -> list[str]:
    return [str(Path(sys.executable).with_name("ray"))]


def cpu_s(pid: int) -> float:
    """Processor time that a process has used; none once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise BedError(f"{' '.join(command)}: {done.stderr.strip()}")
