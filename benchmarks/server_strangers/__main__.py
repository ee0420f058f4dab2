"""Honest boards while strangers flood the server: `python -m benchmarks.server_strangers`.

Server, boards and flood are processes of their own on this machine; the flood is nicer than both,
so that it is the server's rules that are seen, not the race for the processor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.page import markdown
from partition.certificates import make_certificates
from partition.codec.codec import Codec
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare.build import prepare
from partition.transport import wire
from tests.partition.floods import FLOODS, TLS_FLOODS
from tests.partition.strangers import server_process

_FLOOD_FIRST_S = 1.0
_SOURCE = "127.0.0.66"
_TOKEN, _OTHER_TOKEN = "0123456789abcdef" * 2, "fedcba9876543210" * 2


@dataclass(frozen=True)
class Setting:
    """How the server is protected."""

    name: str
    tls: bool = False
    tokens: bool = False


SETTINGS = (
    Setting("open"),
    Setting("tokens", tokens=True),
    Setting("TLS and tokens", tls=True, tokens=True),
)


def kinds(setting: Setting) -> list[str]:
    """Floods that a setting can have."""
    names = [*FLOODS, *(TLS_FLOODS if setting.tls else ())]
    if not setting.tokens:
        names.remove("wrong tokens")
    return names


def memory_bytes(pid: int) -> tuple[int, int]:
    """Resident now, and at most so far."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return tuple(int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))


def processor_s(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Bench:
    """A model, certificates, tokens and messages, and the processes that use them."""

    def __init__(self, scratch: Path, seconds: float, files: int | None) -> None:
        self.folder = prepare("tiny-cnn", scratch / "tiny-cnn")
        self.scratch, self.seconds, self.files = scratch, seconds, files
        make_certificates(scratch / "tls", ["127.0.0.1", "localhost"])
        (scratch / "tokens").write_text(f"{_TOKEN}\n{_OTHER_TOKEN}\n")
        (scratch / "token").write_text(_TOKEN)
        (scratch / "message").write_bytes(self._message(self.folder))

    @staticmethod
    def _message(folder: ModelFolder) -> bytes:
        point = folder.split_points[1]
        tensors = SplitRuntime(folder).head(point, random_inputs(folder))
        encoded = tuple(map(Codec().encode, tensors))
        request = wire.Request(folder.fingerprint, point.index, encoded)
        return bytes(wire.pack_request(request))

    @contextmanager
    def server(self, setting: Setting) -> Iterator[tuple[str, int]]:
        options: list[Any] = []
        if setting.tls:
            tls = self.scratch / "tls"
            options += ["--tls-cert", tls / "server.pem", "--tls-key", tls / "server-key.pem"]
        if setting.tokens:
            options += ["--token-file", self.scratch / "tokens"]
        with server_process(self.folder, *options, files=self.files) as (address, process):
            yield address, process.pid

    def start(self, module: str, *arguments: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def honest(
        self, address: str, setting: Setting, callers: int, rate_hz: float
    ) -> subprocess.Popen[str]:
        """Boards, once they have been answered for the first time."""
        options: list[Any] = ["--callers", callers, "--rate-hz", rate_hz]
        if setting.tls:
            options += ["--ca", self.scratch / "tls" / "ca.pem"]
        if setting.tokens:
            options += ["--token-file", self.scratch / "token"]
        module = "benchmarks.server_strangers.honest"
        process = self.start(module, self.folder.path, address, self.seconds, *options)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def flood(self, kind: str, address: str, setting: Setting, source: str) -> Any:
        options: list[Any] = ["--source", source, "--message", self.scratch / "message"]
        if setting.tls:
            options += ["--ca", self.scratch / "tls" / "ca.pem"]
        if setting.tokens and kind in ("requests", "echoes", "no such method"):
            options += ["--token", _OTHER_TOKEN]
        seconds = self.seconds + _FLOOD_FIRST_S
        return self.start("tests.partition.floods", kind, address, seconds, *options)

    def run(
        self, setting: Setting, kind: str | None, source: str, callers: int, rate_hz: float
    ) -> dict[str, Any]:
        """One flood, or none."""
        with self.server(setting) as (address, pid):
            before, _ = memory_bytes(pid)
            boards = self.honest(address, setting, callers, rate_hz)
            if kind:
                strangers = self.flood(kind, address, setting, source)
            began_s, used_s = time.monotonic(), processor_s(pid)
            report = json.loads(boards.communicate(timeout=self.seconds + 60)[0])
            load = (processor_s(pid) - used_s) / (time.monotonic() - began_s)
            _, peak = memory_bytes(pid)
            told = strangers.communicate(timeout=60)[0].split() if kind else ["0", "0", "0", "1"]
        taken_s = report["taken_s"] or [float("nan")]
        return {
            "setting": setting.name,
            "flood": kind or "none",
            "source": source if kind else "",
            "in_time": report["in_time"] / report["asked"],
            "asked": report["asked"],
            "p95_ms": 1e3 * taken_s[int(0.95 * (len(taken_s) - 1))],
            "errors": report["errors"],
            "health_s": max(report["health_s"]),
            "memory_mb": (peak - before) / 1e6,
            "processors": load,
            "connections": int(told[0]),
            "calls_hz": float(told[1]) / float(told[3]),
        }


def row(found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    return [
        found["flood"],
        f"{found['in_time']:.1%}",
        f"{found['p95_ms']:.0f} ms",
        f"{found['health_s']:.2f} s",
        f"{found['memory_mb']:.0f} MB",
        f"{found['processors']:.2f}",
        f"{found['connections']}",
        f"{found['calls_hz']:.0f} /s",
    ]


HEAD = ["flood", "in time", "p95", "slowest health check", "memory", "cores", "connections"]
HEAD += ["calls answered or refused"]


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_strangers")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each flood (8)")
    parser.add_argument("--flood", action="append", help="only these; repeatable")
    parser.add_argument("--setting", action="append", help="only these; repeatable")
    parser.add_argument("--source", default=_SOURCE, help="address of the strangers")
    parser.add_argument("--callers", type=int, default=4, help="boards (4)")
    parser.add_argument("--rate-hz", type=float, default=10.0, help="of each board (10)")
    parser.add_argument("--files", type=int, default=None, help="hard limit of open files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), arguments.seconds, arguments.files)
        for setting in SETTINGS:
            if arguments.setting and setting.name not in arguments.setting:
                continue
            lines = [HEAD]
            for kind in [None, *kinds(setting)]:
                if arguments.flood and kind not in (None, *arguments.flood):
                    continue
                found = bench.run(
                    setting, kind, arguments.source, arguments.callers, arguments.rate_hz
                )
                sys.stderr.write(json.dumps(found) + "\n")
                lines.append(row(found))
            sys.stdout.write(f"\n{setting.name}\n\n{markdown(lines)}\n")


if __name__ == "__main__":
    _main()
