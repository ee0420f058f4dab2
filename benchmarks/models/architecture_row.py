"""One row: a network of torch with random weights, exported, prepared and cut."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from benchmarks.models.result import Result
from partition.errors import PartitionError
from partition.prepare import zoo
from partition.prepare.build import prepare
from tests.partition.architectures import ARCHITECTURES
from tests.partition.splitting import RELATIVE_ERROR, measure

SECTION = "torch"
ZOO = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "tiny-cnn")
BATCHES = ("free", "one")


def names() -> list[str]:
    """Every network with a free batch, and with one sample."""
    return [f"{name}/{batch}" for name in (*ZOO, *ARCHITECTURES) for batch in BATCHES]


def row(name: str) -> Result:
    """Cut one of `names()`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, _, batch = name.partition("/")
    source = zoo.resolve(network) if network in ZOO else zoo.Source(network, ARCHITECTURES[network])
    wants_free = batch == "free"
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = prepare(source, Path(scratch) / "model", dynamic_batch=wants_free)
            result = measure(folder)
        except (AssertionError, PartitionError) as error:
            return Result(SECTION, name, "wrong", [" ".join(str(error).split())])
    elapsed_s = time.monotonic() - start_s
    error = "exact" if result.worst_error == 0 else f"{result.worst_error:.1e}"
    passed = result.worst_error <= RELATIVE_ERROR and folder.dynamic_batch == wants_free
    cells = [str(result.cuts), str(result.most_tensors), error, f"{elapsed_s:.0f}"]
    return Result(SECTION, name, "ok" if passed else "wrong", cells)
