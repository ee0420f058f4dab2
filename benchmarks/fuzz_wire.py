"""Coverage-guided fuzzing of every parser of received bytes: `python -m benchmarks.fuzz_wire`.

libFuzzer by way of atheris (PyPI, Apache-2.0, `dev` extra) starts from one valid message of each
kind and form, sees which branches of the parser an input takes, and keeps what takes new ones.
Anything but a WireError, an input that takes longer than 5 s, or more memory than 512 MiB stops it.
The instrumented process itself grows with the inputs, so memory is judged afterwards: as many
inputs again, random changes of those that were kept, in a process without atheris.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SECONDS_PER_INPUT = 5
_MEMORY_MIB = 512
_MAX_MESSAGE_BYTES = 4096
_HEADER_BYTES = 120
"""Where a changed byte matters most."""
# Wide enough for a slow machine that runs other things: it only catches a hang of the whole.
_MIN_INPUTS_PER_SECOND = 200


@dataclass(frozen=True)
class FuzzOutcome:
    """What a run of the fuzzer came to."""

    runs: int
    seconds: int
    branches: int
    """Counters of libFuzzer (cov) that were hit."""
    inputs_kept: int
    fuzzer_memory_mib: tuple[int, ...]
    """Resident, once all seeds were read, then at each doubling of the inputs, then at the end."""
    plain_memory_mib: tuple[float, ...]
    """Resident, without the fuzzer, after each tenth of as many inputs again."""

    def __str__(self) -> str:
        return (
            f"{self.runs} inputs in {self.seconds} s: no crash, no hang; "
            f"{self.branches} branches reached, {self.inputs_kept} inputs kept for new ones. "
            f"Resident memory of the fuzzer: {_arrows(self.fuzzer_memory_mib)} MiB (at each "
            "doubling of the inputs); without it, after each tenth of as many inputs again: "
            f"{_arrows(self.plain_memory_mib)} MiB"
        )


def fuzz(runs: int, seed: int, corpus: Path | None = None) -> FuzzOutcome:
    """Run the fuzzer in a process of its own.

    Args:
        runs: inputs.
        seed: of the mutations.
        corpus: where inputs that reach something new are kept, and an input that fails is left.

    Raises:
        AssertionError: it found something; the message holds the fuzzer's last words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = corpus or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", __spec__.name, "--child", str(folder)),
            *(f"-runs={runs}", f"-seed={seed}", f"-max_len={_MAX_MESSAGE_BYTES}"),
            *(f"-timeout={_SECONDS_PER_INPUT}", f"-rss_limit_mb={_memory_limit_mib()}"),
            f"-artifact_prefix={folder}/failed-",
        ]
        limit_s = 60 + runs / _MIN_INPUTS_PER_SECOND
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, check=False
        )
        plain_memory_mib = _plain(folder, runs, seed, limit_s) if not result.returncode else ()
    log = result.stderr
    done = re.search(r"Done (\d+) runs in (\d+) second", log)
    assert result.returncode == 0, log[-4000:]
    assert done, log[-4000:]
    memory_mib = re.findall(r"(?:INITED|pulse|DONE).*?rss: (\d+)Mb", log)
    last = re.search(r"DONE.*?cov: (\d+).*?corp: (\d+)", log)
    assert last, log[-4000:]
    memory = tuple(int(number) for number in memory_mib)
    return FuzzOutcome(
        int(done[1]), int(done[2]), int(last[1]), int(last[2]), memory, plain_memory_mib
    )


def _memory_limit_mib() -> int:
    """Linux counts the peak of the process that starts another into the other's own (exec_mmap)."""
    return _MEMORY_MIB + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _arrows(numbers: tuple[float, ...]) -> str:
    return " > ".join(f"{number:.0f}" for number in numbers)


def _plain(folder: Path, runs: int, seed: int, limit_s: float) -> tuple[float, ...]:
    command = [sys.executable, "-m", __spec__.name, "--plain", str(folder), str(runs), str(seed)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return tuple(float(number) for number in result.stdout.split())


def _child(folder: str, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["partition"]):
        from partition.codec import encoded  # noqa: F401
        from partition.transport import wire, wire_tensors  # noqa: F401
    from tests.partition import messages

    for i, message in enumerate(messages.packed()):
        (Path(folder) / f"seed-{i}").write_bytes(message)

    def receive(message: bytes) -> None:
        messages.receive(message)

    # libFuzzer's clock, with which it notices a hang; a command ends at that signal.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    atheris.Setup([sys.argv[0], *options, folder], receive)
    atheris.Fuzz()


def _run_plain(folder: str, runs: int, seed: int) -> None:
    """Print the resident memory in MiB after each tenth of `runs` inputs."""
    from tests.partition import messages

    rng = random.Random(seed)
    kept = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    for _ in range(10):
        for _ in range(runs // 10):
            message = bytearray(rng.choice(kept))
            for _ in range(rng.randrange(4) if message else 0):
                message[rng.randrange(min(len(message), _HEADER_BYTES))] = rng.randrange(256)
            messages.receive(bytes(message))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        sys.stdout.write(f"{pages * resource.getpagesize() / 2**20:.1f}\n")


def _main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.fuzz_wire", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (%(default)s)")
    parser.add_argument("--corpus", type=Path, help="keep inputs here; default: nowhere")
    arguments = parser.parse_args()
    sys.stdout.write(f"{fuzz(arguments.runs, arguments.seed, arguments.corpus)}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["--plain"]:
        _run_plain(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        _main()
