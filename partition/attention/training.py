"""Training of attention, light branch and tail at one cut; importing this needs torch."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from partition.attention.modules import Answer, AttentionSplit, choose_width
from partition.attention.select import BITS
from partition.attention.torch_split import TorchSplit
from partition.data import datasets
from partition.data.datasets import Labelled
from partition.model.split_point import Preprocess, SplitPoint

Ranking = Literal["attention", "magnitude", "random", "fixed"]
RANKINGS: tuple[Ranking, ...] = ("attention", "magnitude", "random", "fixed")
"""Order of channels, least to be sent first: by attention, by mean magnitude on this input, drawn
again for every input, drawn once per training run (both sides can adapt to it)."""

_BATCH = 256
_PEAK_RATE = {"attention": 2e-2, "branch": 5e-3, "tail": 1e-3}
_WEIGHT_DECAY = 0.01
_WARM_UP_SHARE = 0.1
_SHARE_ALL_SENT, _SHARE_ALL_KEPT = 0.15, 0.10
"""Of the training images; the others draw their number of sent channels evenly."""
_LABEL_SHARE = 0.5
"""Of each loss; the rest follows the unsplit network's logits."""
_MIN_HALVED_SIDE = 8
_FEATURE_BATCH = 500


@dataclass(frozen=True, slots=True)
class Features:
    """A part of a data set at a cut, computed once: the head isn't trained."""

    tensor: Tensor
    """(N, C, H, W), float16 to save memory."""
    logits: Tensor
    """(N, classes), of the unsplit network."""
    labels: Tensor
    """(N,)."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def hits(self) -> npt.NDArray[np.bool_]:
        """Which images the unsplit network classifies correctly."""
        found: npt.NDArray[np.bool_] = (self.logits.argmax(1) == self.labels).numpy()
        return found


def features(
    split: TorchSplit, prepared: Preprocess, data: Labelled, augment_seed: int | None = None
) -> Features:
    """Run the head over a part of the data, mirrored and moved a little if a seed is given."""
    rng = np.random.default_rng(augment_seed)
    tensors, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(data), _FEATURE_BATCH):
            images = data.images[start : start + _FEATURE_BATCH]
            if augment_seed is not None:
                images = datasets.augment(images, rng)
            x = datasets.preprocess(images, prepared.mean, prepared.std)
            crossing = split.head(torch.from_numpy(x))
            logits.append(split.tail(crossing))
            tensors.append(crossing.half())
    labels = torch.from_numpy(data.labels)
    # clone: tensors of inference mode cannot be trained on
    return Features(torch.cat(tensors).clone(), torch.cat(logits).clone(), labels)


def stride_of(height: int, width: int) -> int:
    """Of the branch's first convolution: halve maps of 8 x 8 and more."""
    return 2 if min(height, width) >= _MIN_HALVED_SIDE else 1


def build(split: TorchSplit, point: SplitPoint, classes: int, seed: int) -> AttentionSplit:
    """Untrained attention and branch next to a copy of the tail."""
    channels, height, width = point.shapes[0][1:]
    shape = (channels, height, width)
    stride = stride_of(height, width)
    branch_width = choose_width(shape, classes, point.tail.flops, stride)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AttentionSplit(copy.deepcopy(split.tail), shape, classes, branch_width, stride)


def train(
    model: AttentionSplit,
    data: Features,
    *,
    epochs: int,
    seed: int,
    ranking: Ranking = "attention",
) -> list[float]:
    """Learn for all offload ratios and bits at once; returns the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(_groups(model), weight_decay=_WEIGHT_DECAY)
    steps_per_epoch = max(1, len(data) // _BATCH)
    losses = []
    model.train()
    for step in range(epochs * steps_per_epoch):
        if step % steps_per_epoch == 0:
            order = torch.randperm(len(data), generator=generator)
        at = order[(step % steps_per_epoch) * _BATCH :][:_BATCH]
        factor = _rate(step / (epochs * steps_per_epoch))
        for group in optimizer.param_groups:
            group["lr"] = factor * _PEAK_RATE[group["name"]]
        x = data.tensor[at].float()
        n_sent = _draw_n_sent(len(at), model.shape[0], generator)
        bits = BITS[int(torch.randint(len(BITS), (1,), generator=generator))]
        answer = model(x, n_sent, bits, importance(x, ranking, generator, seed))
        loss = objective(answer, n_sent / model.shape[0], data.labels[at], data.logits[at])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


def importance(x: Tensor, ranking: Ranking, generator: torch.Generator, seed: int) -> Tensor | None:
    """What to rank the channels of a batch by; None lets the attention do it."""
    if ranking == "attention":
        return None
    if ranking == "magnitude":
        return x.abs().mean((2, 3))
    if ranking == "random":
        return torch.rand(x.shape[:2], generator=generator)
    once = torch.rand(x.shape[1], generator=torch.Generator().manual_seed(1000 + seed))
    return once.expand(x.shape[:2])


def objective(answer: Answer, xi: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
    """Loss of the fused answer, of each side alone by its share, and of the appeal head.

    While training, lambda is 1 - xi: right at both ends, and replaced by the best on validation
    images afterwards.
    """
    edge_share = 1 - xi
    fused = edge_share[:, None] * answer.edge + xi[:, None] * answer.cloud
    classified = (
        _loss(fused, labels, teacher)
        + 0.5 * edge_share * _loss(answer.edge, labels, teacher)
        + 0.5 * xi * _loss(answer.cloud, labels, teacher)
    )
    right = (answer.edge.argmax(1) == labels).float()
    appeal = functional.binary_cross_entropy_with_logits(answer.appeal, right)
    return classified.mean() + appeal


def _loss(logits: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
    hard = functional.cross_entropy(logits, labels, reduction="none")
    soft = functional.cross_entropy(logits, teacher.softmax(1), reduction="none")
    return _LABEL_SHARE * hard + (1 - _LABEL_SHARE) * soft


def _draw_n_sent(n: int, channels: int, generator: torch.Generator) -> Tensor:
    n_sent = torch.randint(0, channels + 1, (n,), generator=generator)
    which = torch.rand(n, generator=generator)
    n_sent[which < _SHARE_ALL_SENT] = channels
    n_sent[which > 1 - _SHARE_ALL_KEPT] = 0
    return n_sent


def _groups(model: AttentionSplit) -> list[dict[str, object]]:
    parts = {"attention": model.attention, "branch": model.branch, "tail": model.tail}
    return [
        {"name": name, "params": list(part.parameters()), "lr": _PEAK_RATE[name]}
        for name, part in parts.items()
    ]


def _rate(progress: float) -> float:
    if progress < _WARM_UP_SHARE:
        return (progress + 1e-3) / _WARM_UP_SHARE
    return 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP_SHARE) / (1 - _WARM_UP_SHARE))
