"""Somebody's first agent, live: `python -m benchmarks.first_agent --out results/first-agent.md`.

Trains Stable-Baselines3's SAC as `examples/sb3_sac.py` does, and lets it, `random` and `max-cloud`
serve the same scenario in turn with `deploy.py` over a link that changes every 2.5 s, with a
`partition.server` at its other end. Writes their costs and intervals. Root; seven minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.training.machine import describe_machine
from benchmarks.page import markdown, write_page
from common import command
from tests.partition.netns import CLOUD_ADDRESS, REPOSITORY, Namespaces

AGENT, RIVALS = "sac of the example", ("random", "max-cloud")
MODEL, SCENARIO = "efficientnet-lite0", "lte-driving"
RATES_MBPS, EVERY_S = (8, 16, 4, 2), 2.5
PORT = 50172
STEPS = 5000
_TRAIN_S, _START_S, _N_RESAMPLED = 900, 60, 10_000


def runs(scratch: Path) -> dict[str, Path]:
    """A run folder of each policy."""
    found = {AGENT: scratch / "sac"}
    example = {"STEPS": str(STEPS), "MODEL": MODEL, "OUT": str(found[AGENT])}
    _run([sys.executable, "-m", "examples.sb3_sac"], example)
    for name in RIVALS:
        found[name] = scratch / name
        options = ["--algo", name, "--model", MODEL, "--scenario", SCENARIO]
        _run([sys.executable, "train.py", *options, "--out", str(found[name])])
    return found


def _run(command: Sequence[str], more: dict[str, str] | None = None) -> None:
    environment = {**os.environ, **(more or {})}
    subprocess.run(
        command, cwd=REPOSITORY, check=True, timeout=_TRAIN_S, stdout=sys.stderr, env=environment
    )


def serve_in_turn(
    found: dict[str, Path], rounds: int, seconds: float
) -> dict[str, list[dict[str, float]]]:
    """What `deploy.py --json` ends with, of each policy in each round."""
    ended: dict[str, list[dict[str, float]]] = {name: [] for name in found}
    address = f"{CLOUD_ADDRESS}:{PORT}"
    with Namespaces() as link:
        serve = ("partition.server", "--model", MODEL, "--listen", address, "--insecure")
        server = link.popen(link.cloud, *serve)
        assert server.stdout is not None
        assert address in server.stdout.readline()
        for turn in range(rounds):
            for name in np.roll(list(found), turn).tolist():
                document = _serve(link, found[name], address, seconds)
                ended[name].append(document)
                print(f"round {turn + 1}, {name}: {document['cost_per_step']:.3f}", flush=True)
    return ended


def _serve(link: Namespaces, run: Path, address: str, seconds: float) -> dict[str, float]:
    done = threading.Event()

    def change_rates() -> None:
        for mbps in itertools.cycle(RATES_MBPS):
            link.shape(mbps * 1e6)
            if done.wait(EVERY_S):
                return

    rates = threading.Thread(target=change_rates)
    rates.start()
    try:
        options = ["--scenario", SCENARIO, "--cloud", address, "--insecure", "--json"]
        process = link.popen(
            link.edge, "deploy", "--run", run, *options, "--duration", f"{seconds:g}"
        )
        printed, errors = process.communicate(timeout=seconds + _START_S)
    finally:
        done.set()
        rates.join()
    if process.returncode:
        raise SystemExit(f"deploy.py failed: {errors}")
    document: dict[str, float] = json.loads(printed.splitlines()[-1])
    return document


def page(ended: dict[str, list[dict[str, float]]], seconds: float) -> str:
    """The results for people."""
    columns = {"energy_per_request_j": "J per request", "deadline_hit_rate": "in time"}
    columns["latency_p95_s"] = "p95 s"
    costs = {name: np.array([d["cost_per_step"] for d in each]) for name, each in ended.items()}
    picks = np.random.default_rng(0).integers(
        len(costs[AGENT]), size=(_N_RESAMPLED, len(costs[AGENT]))
    )
    lines = [["policy", "cost a step", "cost of the agent over its", *columns.values()]]
    for name, each in ended.items():
        means = [f"{np.mean([d[key] for d in each]):.3f}" for key in columns]
        ratio = costs[AGENT].mean() / costs[name].mean()
        low, high = np.quantile(
            costs[AGENT][picks].mean(axis=1) / costs[name][picks].mean(axis=1), [0.025, 0.975]
        )
        over = "" if name == AGENT else f"{ratio:.3f} ({low:.3f} to {high:.3f})"
        lines.append([name, f"{costs[name].mean():.3f}", over, *means])
    rates = ", ".join(map(str, RATES_MBPS))
    machine = "\n".join(f"- {key}: {value}" for key, value in describe_machine().items())
    return f"""# A first agent, live

    python -m benchmarks.first_agent --out results/first-agent.md

Stable-Baselines3's SAC trained for {STEPS:,} steps, frozen and deployed as
[examples/sb3_sac.py](../examples/sb3_sac.py) does, beside `random` and `max-cloud`: {SCENARIO},
{len(costs[AGENT])} rounds of {seconds:g} s each in turn. Real: {MODEL}, its split, the server, the
link ({rates} Mbit/s, {EVERY_S:g} s each, by a token bucket between two network namespaces).
Modelled: the board, a TX2, and its power. Intervals: 95 %, bootstrap over the rounds.

{markdown(lines)}

Machine:

{machine}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.first_agent", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    parser.add_argument("--rounds", type=int, default=5, help="of each policy (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of a turn (%(default)s)")
    arguments = parser.parse_args(argv)

    def make() -> str:
        with tempfile.TemporaryDirectory() as scratch:
            found = runs(Path(scratch))
            return page(
                serve_in_turn(found, arguments.rounds, arguments.seconds), arguments.seconds
            )

    return write_page(make, arguments.out)


if __name__ == "__main__":
    sys.exit(command.run(main))
