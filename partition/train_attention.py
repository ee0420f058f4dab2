"""Train DVFO's attention at the natural bottlenecks of a network and measure what it gives.

`python -m partition.train_attention --model M --data fashion-mnist|DIR [--out DIR]` writes into
the model folder: `accuracy.json` (schema in `partition.model.accuracy_table`) and, per cut, the
ONNX files that `partition.attention.runtime` runs without torch.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from partition import cli
from partition.attention import appeals, evaluation, training
from partition.attention.export import export
from partition.attention.modules import MAX_BRANCH_SHARE, AttentionSplit, branch_flops
from partition.attention.select import BoolArray
from partition.attention.torch_split import SplittableNetwork, TorchSplit
from partition.attention.training import Features
from partition.codec.codec import Float32Array
from partition.data import datasets
from partition.data.datasets import Dataset, DatasetError
from partition.errors import ModelExportError
from partition.model.accuracy_table import AccuracyRow, AccuracyTable
from partition.model.attention_files import folder_of, withdraw
from partition.model.folder import CUTS_FILE, ModelFolder
from partition.model.split_point import Preprocess, SplitPoint
from partition.prepare import zoo
from partition.prepare.build import prepare
from partition.prepare.zoo import Source

APPEAL_MAX_LOSS = 0.005
"""Accuracy below the cloud's that the threshold for appeals may cost on validation images."""
_AUGMENT_SEED = 0
_MODELS = Path("models")


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train on, and for how long."""

    network: SplittableNetwork
    folder: ModelFolder
    preprocess: Preprocess
    data: Dataset
    epochs: int
    seed: int


def open_job(spec: str, data: str, out: Path | None, epochs: int, seed: int) -> TrainingJob:
    """Find or prepare the model folder and load the data.

    Raises:
        PartitionError: network, folder and data are missing or do not fit each other.
    """
    source, target = _resolve(spec, out)
    if isinstance(source.load, Path):
        raise ModelExportError(
            f"model file {spec!r} holds no PyTorch network to train: give a package.module:callable"
        )
    has_folder = (target / CUTS_FILE).is_file()
    folder = ModelFolder.open_network(target) if has_folder else prepare(source, target)
    prepared = folder.preprocess
    if prepared is None or len(folder.inputs) != 1 or len(folder.outputs) != 1:
        raise ModelExportError(f"model {spec!r} is no classifier of images: nothing to train")
    loaded = datasets.load(data, prepared.size)
    if len(loaded.classes) != folder.n_classes:
        raise DatasetError(
            f"data {data!r} has {len(loaded.classes)} classes, {folder.name} knows "
            f"{folder.n_classes}: train it with python -m partition.train_classifier --data {data} "
            "and give the file that it writes as --model"
        )
    match source.load():
        case (torch.nn.Module() as network, torch.Tensor()):
            pass
        case made:
            raise ModelExportError(f"model {spec!r} gave {type(made).__name__}: (network, image)")
    return TrainingJob(SplittableNetwork(network, folder), folder, prepared, loaded, epochs, seed)


def _resolve(spec: str, out: Path | None) -> tuple[Source, Path]:
    """The network called `spec` with something to train, and its model folder.

    Raises:
        PartitionError: there is no such network, or no PyTorch network with it.
    """
    for path in (Path(spec), _MODELS / spec):
        if spec not in zoo.BUILT_IN and (path / CUTS_FILE).is_file():
            name = ModelFolder.open_network(path).name
            if name in zoo.BUILT_IN:
                return zoo.BUILT_IN[name], out or path
            raise ModelExportError(
                f"model folder {path} holds no PyTorch network to train: give the "
                f"package.module:callable that it was prepared from, with --out {path}"
            )
    source = zoo.resolve(spec)
    return source, out or _MODELS / source.name


def takes_attention(point: SplitPoint, classes: int) -> bool:
    """Whether a light branch within its share of the tail's compute exists there."""
    fits = point.dtypes == ("float32",) and len(point.shapes[0]) == 4
    if point.is_input or point.is_output or not fits:
        return False
    channels, height, width = point.shapes[0][1:]
    stride = training.stride_of(height, width)
    least = branch_flops((channels, height, width), 8, classes, stride)
    return channels > 1 and height * width > 1 and least <= MAX_BRANCH_SHARE * point.tail.flops


def train_split(
    job: TrainingJob, point: SplitPoint, split: TorchSplit, validation: Features, test: Features
) -> tuple[list[AccuracyRow], dict[str, Any]]:
    """Train one cut, write its graphs, return its rows and what its early exit does."""
    bank = training.features(split, job.preprocess, job.data.train, _AUGMENT_SEED)
    model = training.build(split, point, job.folder.n_classes, job.seed)
    training.train(model, bank, epochs=job.epochs, seed=job.seed)
    export(model, folder_of(job.folder.path, point.name))
    rows = evaluation.rows_of(model, point, validation, test)
    return rows, early_exit(model, validation, test)


def early_exit(model: AttentionSplit, validation: Features, test: Features) -> dict[str, Any]:
    """Curve and threshold: the branch on all channels first, appeals send them all at 8 bits."""

    def sides(data: Features) -> tuple[BoolArray, BoolArray, Float32Array, Float32Array]:
        kept = evaluation.answers(model, data, 0.0, 8)
        sent = evaluation.answers(model, data, 1.0, 8)
        edge_right, cloud_right = evaluation.right(kept, 1.0), evaluation.right(sent, 0.0)
        return edge_right, cloud_right, kept.appeal, appeals.confidence_of(kept.edge)

    edge_right, cloud_right, trust, _ = sides(validation)
    threshold = appeals.threshold_for(edge_right, cloud_right, trust, APPEAL_MAX_LOSS)
    edge_right, cloud_right, trust, confidence = sides(test)
    curve = appeals.curve(edge_right, cloud_right, trust, confidence)
    return {
        **appeals.summary(edge_right, cloud_right, trust, threshold),
        "shares": list(appeals.SHARES),
        "predicted": list(curve.predicted),
        "confidence": list(curve.confidence),
        "random": list(curve.random),
        "ideal": list(curve.ideal),
    }


def run(job: TrainingJob, command: str, only: list[str] | None = None) -> AccuracyTable:
    """Train every cut that takes attention, measure all, write `accuracy.json`.

    Args:
        job: of `open_job`.
        command: to be kept with the results.
        only: names of the split points to train; the others are measured as they are.

    Raises:
        PartitionError: no such split point, one that cannot be found in the torch network, or a
            file that cannot be written.
    """
    unknown = sorted({*(only or ())} - {point.name for point in job.folder.split_points[1:-1]})
    if unknown:
        known = ", ".join(point.name for point in job.folder.split_points[1:-1])
        raise ModelExportError(
            f"model {job.folder.name!r} has no split point {unknown[0]!r}: choose from {known}"
        )
    rows: list[AccuracyRow] = []
    exits: dict[str, dict[str, Any]] = {}
    withdraw(job.folder.path)
    whole: tuple[Features, Features] | None = None
    points = job.folder.split_points
    for point in points[1:-1]:
        if len(point.shapes) != 1:
            continue  # several tensors cross: there is no one set of channels to choose from
        started_s = time.monotonic()
        split = job.network.split(point)
        validation = training.features(split, job.preprocess, job.data.validation)
        test = training.features(split, job.preprocess, job.data.test)
        whole = whole or (validation, test)
        if takes_attention(point, job.folder.n_classes) and (only is None or point.name in only):
            found, exits[point.name] = train_split(job, point, split, validation, test)
        else:
            found = evaluation.classic_rows(split.tail, point, validation, test)
        rows += found
        _say(found, time.monotonic() - started_s)
    if whole is None:
        raise ModelExportError(f"model {job.folder.name!r} has no split point: nothing to train")
    none = torch.nn.Identity()
    table = AccuracyTable(
        model=job.folder.name,
        fingerprint=job.folder.fingerprint,
        data=job.data.name,
        command=command,
        n_test=len(job.data.test),
        n_validation=len(job.data.validation),
        whole_accuracy=float(whole[1].hits().mean()),
        whole_validation_accuracy=float(whole[0].hits().mean()),
        rows=(
            *evaluation.classic_rows(none, points[0], *whole),
            *rows,
            *evaluation.classic_rows(none, points[-1], *whole),
        ),
        appeals=exits,
    )
    table.save(job.folder.path)
    return table


def _say(rows: list[AccuracyRow], took_s: float) -> None:
    lines = [f"{rows[0].split}: {took_s:.0f} s"]
    lines += [
        f"  xi {row.xi:5.3f} {row.bits} bits: {100 * row.accuracy:6.2f} % "
        f"({100 * row.low:.2f} to {100 * row.high:.2f}), {row.wire_bytes:6} of "
        f"{row.float32_bytes} bytes, lambda {row.edge_weight:.2f}, "
        f"{row.edge_flops / 1e6:.2f} MFLOP on the edge"
        for row in rows
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _say_routes(folder: ModelFolder) -> None:
    lines = [f"routes of {folder.name}, {folder.fingerprint}:"]
    lines += [
        f"{i:3} {option.name:32} {option.wire_bytes:7} bytes, {option.edge.flops / 1e6:8.2f} MFLOP "
        f"on the edge, {_percent(option.accuracy)}"
        for i, option in enumerate(folder.routes)
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _percent(accuracy: float | None) -> str:
    return "unknown" if accuracy is None else f"{100 * accuracy:6.2f} %"


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m partition.train_attention", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--model",
        required=True,
        help=f"{', '.join(zoo.BUILT_IN)} or the folder of one, or package.module:callable",
    )
    parser.add_argument(
        "--data", default=datasets.FASHION_MNIST, help="fashion-mnist, or a folder of class folders"
    )
    parser.add_argument("--out", type=Path, help="model folder (default: models/<name>)")
    parser.add_argument("--splits", nargs="+", help="train these split points only")
    parser.add_argument("--epochs", type=cli.positive, default=4, help="passes (%(default)s)")
    parser.add_argument("--seed", type=cli.seed, default=0, help="of what is random (%(default)s)")
    parser.add_argument("--threads", type=cli.positive, default=1, help="to compute on (1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    job = open_job(arguments.model, arguments.data, arguments.out, arguments.epochs, arguments.seed)
    command = " ".join(["python -m partition.train_attention", *sys.argv[1:]])
    table = run(job, command, arguments.splits)
    sys.stdout.write(
        f"{table.model} unsplit: {100 * table.whole_accuracy:.2f} % of {table.n_test} images\n"
    )
    _say_routes(ModelFolder.open(job.folder.path))


if __name__ == "__main__":
    sys.exit(cli.run(_main, "the model folder has no attention; train it again"))
