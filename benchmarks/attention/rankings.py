"""Channel rankings compared: importance, magnitude and chance at equal bytes and equal training.

`python -m benchmarks.attention.rankings --model M --split NAME` trains one model per ranking and
seed, each with the same budget, images, network and loss; only the order of channels differs. It
judges the fused answer on the test images, with lambda from validation images, and writes paired
differences with intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from partition import cli
from partition.attention import evaluation, training
from partition.attention.select import message_bytes, sent_count
from partition.data import datasets
from partition.errors import PartitionError
from partition.train_attention import TrainingJob, open_job

XI = (0.125, 0.25, 0.5, 0.75, 0.875)
BITS = 4
_RESAMPLES = 2000
_AUGMENT_SEED = 0
Hits = npt.NDArray[np.bool_]
"""(seeds, xi, images): whether the fused answer is right."""


def compare(job: TrainingJob, split_name: str, seeds: list[int], n_train: int) -> dict[str, Any]:
    """Train and judge every ranking with every seed at one split point.

    Raises:
        PartitionError: no such split point.
    """
    named = {point.name: point for point in job.folder.split_points}
    if split_name not in named:
        raise PartitionError(f"no split point {split_name!r}: choose from {', '.join(named)}")
    point = named[split_name]
    split = job.network.split(point)
    bank = training.features(split, job.preprocess, job.data.train.first(n_train), _AUGMENT_SEED)
    validation = training.features(split, job.preprocess, job.data.validation)
    test = training.features(split, job.preprocess, job.data.test)
    hits: dict[str, list[list[evaluation.BoolArray]]] = {name: [] for name in training.RANKINGS}
    for seed in seeds:
        for ranking in training.RANKINGS:
            started_s = time.monotonic()
            model = training.build(split, point, job.folder.n_classes, seed)
            training.train(model, bank, epochs=job.epochs, seed=seed, ranking=ranking)
            hits[ranking].append([])
            for xi in XI:
                chosen = evaluation.answers(model, validation, xi, BITS, ranking, seed)
                weight = evaluation.choose_edge_weight(chosen, xi)
                judged = evaluation.answers(model, test, xi, BITS, ranking, seed)
                hits[ranking][-1].append(evaluation.right(judged, weight))
            shares = " ".join(f"{100 * found.mean():.2f}" for found in hits[ranking][-1])
            sys.stdout.write(
                f"seed {seed} {ranking:9}: {shares} ({time.monotonic() - started_s:.0f} s)\n"
            )
            sys.stdout.flush()
    stacked = {name: np.array(of_seeds) for name, of_seeds in hits.items()}
    channels, height, width = point.shapes[0][1:]
    return {
        "model": job.folder.name,
        "fingerprint": job.folder.fingerprint,
        "split": point.name,
        "bits": BITS,
        "seeds": seeds,
        "n_train": len(bank),
        "epochs": job.epochs,
        "n_test": len(test),
        "whole_accuracy": float(test.hits().mean()),
        "xi": XI,
        "wire_bytes": [
            message_bytes(sent_count(xi, channels), channels, height * width, BITS) for xi in XI
        ],
        "accuracy": {name: interval_per_xi(found) for name, found in stacked.items()},
        "attention_minus": {
            name: {
                "per_xi": difference_per_xi(stacked["attention"], found),
                "mean": mean_difference(stacked["attention"], found),
            }
            for name, found in stacked.items()
            if name != "attention"
        },
    }


def interval_per_xi(hits: Hits) -> list[list[float]]:
    """Mean, low and high accuracy at every xi: 95 %, resampling seeds and images."""
    return [_bootstrap(hits[:, i, :].astype(np.float64)) for i in range(hits.shape[1])]


def difference_per_xi(ours: Hits, theirs: Hits) -> list[list[float]]:
    """Mean, low and high of the paired difference in accuracy at every xi."""
    paired = ours.astype(np.float64) - theirs
    return [_bootstrap(paired[:, i, :]) for i in range(paired.shape[1])]


def mean_difference(ours: Hits, theirs: Hits) -> list[float]:
    """The same over all xi together."""
    return _bootstrap((ours.astype(np.float64) - theirs).mean(1))


def _bootstrap(values: npt.NDArray[np.float64]) -> list[float]:
    """Mean and 95 % interval of (seeds, images), both drawn again with replacement."""
    rng = np.random.default_rng(0)
    n_seeds, n_images = values.shape
    means = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        of_seeds = values[rng.integers(0, n_seeds, n_seeds)].mean(0)
        means[i] = of_seeds[rng.integers(0, n_images, n_images)].mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return [float(values.mean()), float(low), float(high)]


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention.rankings", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", required=True, help="network, as train_attention takes it")
    parser.add_argument("--split", required=True, help="name of a split point")
    parser.add_argument(
        "--data", default=datasets.FASHION_MNIST, help="%(default)s, or class folders"
    )
    parser.add_argument("--folder", type=Path, help="model folder (default: models/<name>)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one training each")
    parser.add_argument("--epochs", type=cli.positive, default=2, help="passes (%(default)s)")
    parser.add_argument("--n-train", type=cli.positive, default=20_000, help="images to learn from")
    parser.add_argument("--threads", type=cli.positive, default=1, help="to compute on (1)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    job = open_job(arguments.model, arguments.data, arguments.folder, arguments.epochs, 0)
    result = compare(job, arguments.split, arguments.seeds, arguments.n_train)
    result["command"] = " ".join(["python -m benchmarks.attention.rankings", *sys.argv[1:]])
    try:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise PartitionError(f"{arguments.out} cannot be written ({error.strerror})") from error
    for name, found in result["attention_minus"].items():
        mean, low, high = (100 * value for value in found["mean"])
        sys.stdout.write(
            f"attention minus {name}: {mean:+.2f} points ({low:+.2f} to {high:+.2f})\n"
        )


if __name__ == "__main__":
    sys.exit(cli.run(_main))
