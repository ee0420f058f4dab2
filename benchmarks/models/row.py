"""One row of the page: a network, prepared and cut, in a process of its own.

Not in `__main__`, whose functions a fresh process cannot find.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from partition.errors import PartitionError
from partition.prepare import zoo
from partition.prepare.build import prepare
from tests.partition.architectures import ARCHITECTURES
from tests.partition.splitting import RELATIVE_ERROR, measure

ZOO = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "tiny-cnn")


def measured_row(name: str, dynamic_batch: bool) -> tuple[str, bool]:
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
