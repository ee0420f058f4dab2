"""Every architecture, at every cut or 12 of them, with a static and a free batch.

python -m benchmarks.models [NAME ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from partition.errors import PartitionError
from partition.prepare import zoo
from partition.prepare.build import prepare
from tests.partition.architectures import ARCHITECTURES
from tests.partition.splitting import RELATIVE_ERROR, SPREAD_CUTS, measure

ZOO = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "tiny-cnn")
RESULT = Path("results/models.md")
HEADER = f"""# Networks that were cut

Head plus tail against the unsplit network in ONNX Runtime, at every cut or {SPREAD_CUTS} spread
over the depth; batches 1 and 3 where the batch is free. `error` is the largest difference over the
largest difference between two samples; {RELATIVE_ERROR:g} is the bar. `x` is the most tensors
that cross at a cut. All but the EfficientNet-Lites have random weights and a few layers; sizes in
`tests/partition/architectures.py`.

    python -m benchmarks.models

| network | batch | cuts | x | error | s |
|---|---|---|---|---|---|
"""


def _row(name: str, dynamic_batch: bool) -> tuple[str, bool]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    source = zoo.resolve(name) if name in ZOO else zoo.Source(name, ARCHITECTURES[name])
    kind = "free" if dynamic_batch else "one"
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = prepare(source, Path(scratch) / "model", dynamic_batch=dynamic_batch)
            result = measure(folder)
        except (AssertionError, PartitionError) as error:
            return f"| {name} | {kind} | - | - | {error} | - |", False
    passed = result.worst_error <= RELATIVE_ERROR and folder.dynamic_batch == dynamic_batch
    elapsed_s = time.monotonic() - start_s
    error = "exact" if result.worst_error == 0 else f"{result.worst_error:.1e}"
    row = f"| {name} | {kind} | {result.cuts} | {result.most_tensors} | {error} | {elapsed_s:.0f} |"
    return row if passed else f"{row} missed", passed


def main(names: list[str]) -> int:
    chosen = names or [*ZOO, *ARCHITECTURES]
    cases = [(name, dynamic_batch) for name in chosen for dynamic_batch in (True, False)]
    rows = []
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), get_context("spawn")) as pool:
        for row, passed in pool.map(_row, *zip(*cases, strict=True)):
            print(row, flush=True)
            rows.append((row, passed))
    met = sum(passed for _, passed in rows)
    summary = f"\n{met} of {len(rows)} met, {len(chosen)} networks.\n"
    print(summary)
    if not names:
        RESULT.write_text(HEADER + "\n".join(row for row, _ in rows) + "\n" + summary)
    return 0 if met == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
