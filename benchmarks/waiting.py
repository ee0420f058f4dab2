"""What a run-time costs between inferences: `python -m benchmarks.waiting`.

ONNX Runtime's threads look for work for a while after each inference, so that the next one begins
sooner. Time and processor time of an inference, back to back and with pauses, for each way to wait.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from agents.training.run import open_or_prepare
from benchmarks.page import machine, markdown, write_page
from common import command
from partition.cli import positive
from partition.model.folder import ModelFolder
from partition.model.network_files import GRAPH_FILE
from partition.model.runtime import random_inputs

MODEL = "efficientnet-lite0"
PAUSES_S = (0.0, 0.02, 0.1)
ROUNDS, RUNS = 5, 30
WAYS: dict[str, dict[str, str]] = {
    "go on looking for work (ONNX Runtime's default)": {},
    "stop when an inference is over (here)": {"session.force_spinning_stop": "1"},
    "never look, sleep": {"session.intra_op.allow_spinning": "0"},
}


def sessions(folder: ModelFolder, n_threads: int) -> dict[tuple[int, str], ort.InferenceSession]:
    """The whole network with one thread, and with some in every way to wait."""
    found = {(1, "-"): _session(folder, 1, {})}
    return found | {(n_threads, way): _session(folder, n_threads, WAYS[way]) for way in WAYS}


def _session(folder: ModelFolder, n_threads: int, entries: dict[str, str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    graph = str(folder.path / GRAPH_FILE)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def measured_ms(session: ort.InferenceSession, feed: object, pause_s: float) -> tuple[float, float]:
    """Median time of an inference, and mean processor time from one to the next, ms."""
    session.run(None, feed)
    taken_s, began_s = [], time.process_time()
    for _ in range(RUNS):
        start_s = time.monotonic()
        session.run(None, feed)
        taken_s.append(time.monotonic() - start_s)
        time.sleep(pause_s)
    return 1e3 * statistics.median(taken_s), 1e3 * (time.process_time() - began_s) / RUNS


PAGE = """# Waiting between inferences

Made by `{call}`: {model}, the whole network on the processor with ONNX Runtime
{version}; medians of {rounds} interleaved rounds of {runs} inferences each. Processor time is
counted from the beginning of one inference to that of the next.

{table}

Threads that go on looking for work have a core each to themselves, which on a board is power for
nothing; that is why they stop here. What they save is time to wake up, where requests come rarely.

{machine}
"""


def make(n_threads: int, call: str) -> str:
    """Measure everything; returns the page."""
    folder = open_or_prepare(MODEL)
    all_of_them = sessions(folder, n_threads)
    feeds = {
        key: dict(zip([i.name for i in session.get_inputs()], random_inputs(folder), strict=True))
        for key, session in all_of_them.items()
    }
    lines = []
    for pause_s in PAUSES_S:
        found: dict[tuple[int, str], list[tuple[float, float]]] = {key: [] for key in all_of_them}
        for _ in range(ROUNDS):
            for key, session in all_of_them.items():
                found[key].append(measured_ms(session, feeds[key], pause_s))
        for (threads, way), values in found.items():
            medians = (statistics.median(column) for column in zip(*values, strict=True))
            shown = [f"{value:.1f}" for value in medians]
            lines.append([f"{1e3 * pause_s:g} ms", str(threads), way, *shown])
            print(lines[-1], flush=True)
    head = ["pause", "threads", "between inferences they", "ms", "processor ms"]
    return PAGE.format(
        call=call,
        model=MODEL,
        version=ort.__version__,
        rounds=ROUNDS,
        runs=RUNS,
        table=markdown([head, *lines]),
        machine=machine(),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--threads", type=positive, default=2, help="of an inference (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/waiting.md"), help="page")
    arguments = parser.parse_args(argv)
    call = " ".join(["python -m benchmarks.waiting", *(sys.argv[1:] if argv is None else argv)])
    return write_page(lambda: make(arguments.threads, call), arguments.out)


if __name__ == "__main__":
    sys.exit(command.run(main))
