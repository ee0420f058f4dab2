"""How well costs of pieces add up to the whole: `python -m benchmarks.pieces`.

A route costs what its head does, and a head's cost is modelled as the sum of its pieces'. Here
every piece between two neighbouring cuts is measured by itself, at several thread counts,
interleaved with the unsplit network and with heads in one piece, in the same process. The quickest
round counts, of one thread in processor time: whatever else runs only adds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.page import machine, markdown, write_page
from partition import cli
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.model.split_point import SplitPoint
from partition.providers.execution import Execution
from partition.providers.registry import CPU

WARM_UP_ROUNDS = 5
ROUNDS = 150
"""Half a minute per number of threads."""


@dataclass(frozen=True, slots=True)
class Sums:
    """How far sums are off at one thread count; shares of the measured time.

    Attributes:
        threads: per inference.
        whole_s: quickest run of the unsplit network.
        pieces: sum of all pieces over the whole.
        heads: the same of each head, up to any cut, over that head in one piece.
        form: one form for all pieces (kernels, operations, bytes), each predicted from the others,
            mean absolute error of a piece.
        form_whole: sum of what the form says over the whole.
        form_heads: the same of each head.
        head_form: the form fitted to heads in one piece instead, each predicted from the others,
            mean absolute error of a head.
    """

    threads: int
    whole_s: float
    pieces: float
    heads: tuple[float, ...]
    form: float
    form_whole: float
    form_heads: tuple[float, ...]
    head_form: float


def measure(folder: ModelFolder, threads: int, rounds: int) -> Sums:
    """Time pieces, heads and the whole, interleaved.

    Args:
        folder: the network.
        threads: per inference.
        rounds: of which the quickest counts.
    """
    runtime = SplitRuntime(folder, threads, Execution.choose((CPU,)))
    cuts, inputs = folder.cuts, random_inputs(folder)
    heads = cuts[1:-1]
    crossing = [inputs]
    for start, end in pairwise(cuts):
        crossing.append(runtime.between(start, end, crossing[-1]))
    clock = time.thread_time if threads == 1 else time.perf_counter
    rows = []
    for _ in range(rounds + WARM_UP_ROUNDS):
        row = [_timed_s(clock, runtime.whole, inputs)]
        row += [
            _timed_s(clock, runtime.between, start, end, tensors)
            for start, end, tensors in zip(cuts, cuts[1:], crossing, strict=False)
        ]
        row += [_timed_s(clock, runtime.between, cuts[0], head, inputs) for head in heads]
        rows.append(row)
    columns = zip(*rows[WARM_UP_ROUNDS:], strict=True)
    whole_s, *rest = (min(column) for column in columns)
    piece_s = np.array(rest[: len(cuts) - 1])
    return _sums(threads, whole_s, piece_s, rest[len(cuts) - 1 :], cuts, heads)


def _sums(
    threads: int,
    whole_s: float,
    piece_s: NDArray[np.float64],
    head_s: Sequence[float],
    cuts: Sequence[SplitPoint],
    heads: Sequence[SplitPoint],
) -> Sums:
    work = [end.head - start.head for start, end in pairwise(cuts)]
    columns = np.array([[it.kernels, it.flops, it.traffic_bytes] for it in work], dtype=float)
    modelled_s = _each_from_the_others(columns, piece_s)
    whole_heads = np.array(
        [[h.head.kernels, h.head.flops, h.head.traffic_bytes] for h in heads], dtype=float
    )
    measured_s = np.array(head_s)
    from_heads_s = _each_from_the_others(whole_heads, measured_s)
    ends = [next(i for i, cut in enumerate(cuts) if cut.tensors == h.tensors) for h in heads]
    return Sums(
        threads=threads,
        whole_s=whole_s,
        pieces=float(piece_s.sum()) / whole_s,
        heads=tuple(float(piece_s[:end].sum()) / s for end, s in zip(ends, head_s, strict=True)),
        form=float(np.mean(np.abs(modelled_s / piece_s - 1.0))),
        form_whole=float(modelled_s.sum()) / whole_s,
        form_heads=tuple(
            float(modelled_s[:end].sum()) / s for end, s in zip(ends, head_s, strict=True)
        ),
        head_form=float(np.mean(np.abs(from_heads_s / measured_s - 1.0))),
    )


def _timed_s(clock: Callable[[], float], function: Callable[..., object], *given: object) -> float:
    start_s = clock()
    function(*given)
    return clock() - start_s


def _each_from_the_others(
    columns: NDArray[np.float64], measured_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.array(
        [
            float(_form(np.delete(columns, i, 0), np.delete(measured_s, i)) @ columns[i])
            for i in range(len(columns))
        ]
    )


def _form(columns: NDArray[np.float64], piece_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds per kernel, operation and byte, 0 or more, in least squares of relative errors."""
    scale = np.maximum(columns.max(axis=0), 1.0)
    found, _ = nnls(columns / scale / piece_s[:, None], np.ones(len(piece_s)))
    return np.asarray(found / scale)


def page(folder: ModelFolder, threads: Sequence[int]) -> str:
    """Measure and write the page."""
    lines = [
        (
            "threads",
            "whole, ms",
            "sum of pieces / whole",
            "heads: sum / measured",
            "one form: error of a piece",
            "form / whole",
            "heads: form / measured",
            "form fitted to heads: error of a head",
        )
    ]
    for number in threads:
        found = measure(folder, number, ROUNDS)
        lines.append(
            (
                str(number),
                f"{1e3 * found.whole_s:.2f}",
                f"{found.pieces:.3f}",
                _span(found.heads),
                f"{found.form:.0%}",
                f"{found.form_whole:.3f}",
                _span(found.form_heads),
                f"{found.head_form:.1%}",
            )
        )
    return f"""# Pieces

Written by `python -m benchmarks.pieces --threads {" ".join(map(str, threads))} --out
results/pieces.md`: {folder.name} in {len(folder.cuts) - 1} pieces between neighbouring cuts, ONNX
Runtime on the processor, the quickest of {ROUNDS} interleaved rounds (one thread in processor time,
more by the clock on the wall, which needs a quiet machine).

{markdown(lines)}

A piece by itself cannot be fused with its neighbours and is called for itself, so that sums are
above the whole. The form is seconds per kernel, operation and byte, alike for all pieces; each
piece is predicted from the others. Heads are those up to every cut, measured in one piece; from
lowest to highest. The last column is what the simulator rests on: the form fitted to heads, each
predicted from the others.

Machine:

{machine()}
"""


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else "-"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pieces", description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0", help="model folder or name")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="per inference")
    parser.add_argument("--out", type=Path, required=True, help="the page")
    given = parser.parse_args()
    folder = ModelFolder.open(given.model)
    sys.exit(write_page(lambda: page(folder, given.threads), given.out))


if __name__ == "__main__":
    sys.exit(cli.run(_main))
