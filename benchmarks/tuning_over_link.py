"""Policies fine-tuned over a shaped link: `python -m benchmarks.tuning_over_link`.

Trains policies for the modelled Raspberry Pi 4, whose only clock the emulated board has too, then
tunes them by `train.py --init` in a network namespace whose uplink changes its rate every 2.5 s,
with a `partition.server` at the other end. Writes what came out. Root; half an hour.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from agents.training.machine import describe_machine
from tests.partition.netns import CLOUD_ADDRESS, REPOSITORY, Namespaces

ALGORITHMS = ("advised", "amortised")
MODEL, DEVICE, SCENARIO = "efficientnet-lite0", "pi4", "lte-driving"
RATES_MBPS, EVERY_S = (8, 16, 4, 2), 2.5
"""So that each block of ten seconds in which policies are compared meets all of them."""
PORT = 50171
_TRAIN_S, _TUNE_S = 900, 1800


def train(algorithm: str, run: Path) -> None:
    """The policy to begin with."""
    options = ["--device", DEVICE, "--scenario", SCENARIO, "--algo", algorithm, "--out", run]
    command = [sys.executable, "train.py", *map(str, options)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=_TRAIN_S, stdout=sys.stderr)


def tune(run: Path, tuned: Path, steps: int) -> str:
    """What `train.py --init` prints."""
    done = threading.Event()
    with Namespaces() as link:

        def change_rates() -> None:
            for mbps in itertools.cycle(RATES_MBPS):
                link.shape(mbps * 1e6)
                if done.wait(EVERY_S):
                    return

        address = f"{CLOUD_ADDRESS}:{PORT}"
        serve = ("partition.server", "--model", MODEL, "--listen", address, "--insecure")
        server = link.popen(link.cloud, *serve)
        assert server.stdout is not None
        assert address in server.stdout.readline()
        rates = threading.Thread(target=change_rates)
        rates.start()
        try:
            options = ["--board", "emulated", "--scenario", SCENARIO, "--cloud", address]
            options += ["--insecure", "--total-timesteps", str(steps), "--out", str(tuned)]
            process = link.popen(link.edge, "train", "--init", run, *options)
            printed, errors = process.communicate(timeout=_TUNE_S)
        finally:
            done.set()
            rates.join()
    if process.returncode:
        raise SystemExit(f"train.py --init failed: {errors}")
    return printed


def page(found: dict[str, tuple[str, dict[str, dict[str, float]]]], steps: int) -> str:
    """The results for people."""
    names = {"energy_j": "J per request", "deadline_hit_rate": "in time", "latency_s": "mean s"}
    names["cost"] = "cost per step"
    lines = [["policy", *names.values()], ["---"] * (1 + len(names))]
    for algorithm, (_, blocks) in found.items():
        for when, block in blocks.items():
            lines.append([f"{algorithm}, {when}", *(f"{block[key]:.4f}" for key in names)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    verdicts = "\n".join(f"- {name}: {verdict}" for name, (verdict, _) in found.items())
    machine = "\n".join(f"- {key}: {value}" for key, value in describe_machine().items())
    rates = ", ".join(map(str, RATES_MBPS))
    return f"""# Fine-tuning on the emulated board

    python -m benchmarks.tuning_over_link --out results/tuning.md

Policies for the modelled {DEVICE}, tuned for {steps} control steps of a quarter of a second
(`train.py --init RUN --board emulated --cloud HOST:PORT`). Real: {MODEL}, its split, the
server, the link ({rates} Mbit/s in turn, {EVERY_S:g} s each, by a token bucket between two
network namespaces), and how much the processor slows down at a lower clock. Modelled: power.
This machine is several times as fast as a {DEVICE}, which the policies never met in training.
Before and after then answered the same five stretches of requests, ten seconds each, in turn.

{table}

{verdicts}

Machine:

{machine}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.tuning_over_link", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    parser.add_argument("--steps", type=int, default=1200, help="on the board (%(default)s)")
    arguments = parser.parse_args()
    found = {}
    for algorithm in ALGORITHMS:
        with tempfile.TemporaryDirectory() as scratch:
            run, tuned = Path(scratch) / "run", Path(scratch) / "tuned"
            train(algorithm, run)
            printed = tune(run, tuned, arguments.steps)
            blocks = json.loads((tuned / "comparison.json").read_text(encoding="utf-8"))
        print(f"{algorithm}: {printed}", flush=True)
        found[algorithm] = (printed.splitlines()[1], blocks)
    arguments.out.write_text(page(found, arguments.steps), encoding="utf-8")


if __name__ == "__main__":
    main()
