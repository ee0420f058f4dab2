"""Attention, light branch and their union with a tail; importing this needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from partition.attention.select import has_own_range

_HIDDEN_MIN = 8
_SPATIAL_KERNEL = 3
_WIDTH_STEP = 8
_TOP = 3
"""Class probabilities that the second head sees, highest first."""
_FIRST_WEIGHT, _FIRST_BIAS = 0.1, 0.75
MAX_BRANCH_SHARE = 0.15
"""Compute of attention and light branch over that of the tail."""


class SpatialChannelAttention(nn.Module):
    """Scores channels and places of a feature map, CBAM style (Woo et al., arXiv 1807.06521)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(_HIDDEN_MIN, channels // 4)
        last = nn.Linear(hidden, channels)
        # Start from nearly the same order for every input: branch and tail can settle on their
        # channels before the order learns to follow the input.
        with torch.no_grad():
            last.weight.mul_(_FIRST_WEIGHT)
            last.bias.copy_(torch.linspace(-_FIRST_BIAS, _FIRST_BIAS, channels))
            last.bias.copy_(last.bias[torch.randperm(channels)])
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), last)
        self.spatial = nn.Conv2d(2, 1, _SPATIAL_KERNEL, padding=_SPATIAL_KERNEL // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Importance (N, C) of the channels; its sigmoid is what they are weighted with.

        Ranked as it is: a sigmoid close to 0 or 1 rounds differently in every run-time, and a board
        would keep other channels than were trained on.
        """
        importance: Tensor = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return importance

    def places(self, x: Tensor) -> Tensor:
        """Spatial scores (N, 1, H, W) in 0..1."""
        pooled = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return torch.sigmoid(self.spatial(pooled))


class LightBranch(nn.Module):
    """Two depthwise-separable convolutions, pooling, logits, and whether they suffice."""

    def __init__(self, channels: int, width: int, classes: int, stride: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(width, classes)
        self.appeal = nn.Sequential(
            nn.Linear(width + min(_TOP, classes), _HIDDEN_MIN * 2),
            nn.ReLU(),
            nn.Linear(_HIDDEN_MIN * 2, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, classes), and the logit (N,) of their being right.

        The second head learns from features that it does not change (AppealNet, arXiv 2105.04104,
        trains both together; apart, the accuracy of the branch is the same with and without it).
        """
        pooled = self.features(x).mean((2, 3))
        logits: Tensor = self.classifier(pooled)
        # Sorted, so that how sure the branch is does not have to be learned class by class.
        sureness = logits.log_softmax(1).topk(min(_TOP, logits.shape[1])).values
        seen = torch.cat((pooled, sureness), 1).detach()
        return logits, self.appeal(seen).squeeze(1)


def branch_flops(shape: tuple[int, int, int], width: int, classes: int, stride: int) -> int:
    """Compute of attention and light branch on (C, H, W): two per multiply-accumulate."""
    channels, height, rows = shape
    places = (-(-height // stride)) * (-(-rows // stride))
    convolutions = places * (9 * channels + channels * width + 9 * width + width * width)
    heads = width * classes + (width + min(_TOP, classes)) * _HIDDEN_MIN * 2
    hidden = max(_HIDDEN_MIN, channels // 4)
    attention = 4 * channels * hidden + height * rows * 2 * _SPATIAL_KERNEL**2
    pooling = 5 * channels * height * rows  # both poolings twice over, and the product
    return 2 * (convolutions + heads + attention) + pooling


def choose_width(shape: tuple[int, int, int], classes: int, tail_flops: int, stride: int) -> int:
    """The widest branch within `MAX_BRANCH_SHARE` of the tail's compute, or the least there is."""
    width = _WIDTH_STEP
    budget = MAX_BRANCH_SHARE * tail_flops
    while branch_flops(shape, width + _WIDTH_STEP, classes, stride) <= budget:
        width += _WIDTH_STEP
    return width


@dataclass(frozen=True, slots=True)
class Answer:
    """Both sides' logits on a batch."""

    edge: Tensor
    cloud: Tensor
    appeal: Tensor
    """(N,): logit of the edge's answer being right."""
    kept: Tensor
    """(N, C): which channels stayed."""


class AttentionSplit(nn.Module):
    """A tail and what DVFO puts next to it at one cut.

    Args:
        tail: from the cut tensor to logits; trained as well.
        shape: (C, H, W) of the cut tensor.
        classes: number of logits.
        width: of the light branch.
        stride: of its first convolution.
    """

    def __init__(
        self, tail: nn.Module, shape: tuple[int, int, int], classes: int, width: int, stride: int
    ) -> None:
        super().__init__()
        self.attention = SpatialChannelAttention(shape[0])
        self.branch = LightBranch(shape[0], width, classes, stride)
        self.tail = tail
        self.shape = shape
        self.classes = classes
        self.width = width
        self.stride = stride

    def forward(
        self, x: Tensor, n_sent: Tensor, bits: int | None, order_by: Tensor | None = None
    ) -> Answer:
        """Split every image of a batch.

        Args:
            x: (N, C, H, W), the cut tensor.
            n_sent: (N,), channels to send per image.
            bits: of a sent value; None sends float32.
            order_by: (N, C), importance to rank channels by in place of attention's; only
                attention's own ranking is learned from.
        """
        scores = self.attention(x)
        kept = kept_mask(scores if order_by is None else order_by, n_sent)
        gate = kept
        if order_by is None:
            gate = kept + _soft_rank(torch.sigmoid(scores), kept)
        edge, appeal = self.edge(x, scores, gate)
        sent = 1 - gate
        cloud = self.tail(quantise(x, 1 - kept, bits) * sent[:, :, None, None])
        return Answer(edge, cloud, appeal, kept)

    def edge(self, x: Tensor, scores: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """The branch on the kept channels, refined by both attentions."""
        held = x * kept[:, :, None, None]
        weights = torch.sigmoid(scores)[:, :, None, None]
        refined = held * weights * self.attention.places(held)
        logits, appeal = self.branch(refined)
        return logits, appeal


def kept_mask(scores: Tensor, n_sent: Tensor) -> Tensor:
    """Float mask (N, C) of the channels that stay, as `select.kept_channels` chooses them."""
    _, order = torch.sort(scores, dim=1, descending=True, stable=True)
    mask: Tensor = order.argsort(1) < scores.shape[1] - n_sent[:, None]
    return mask.to(scores.dtype)


def _soft_rank(scores: Tensor, kept: Tensor, sharpness: float = 8.0) -> Tensor:
    """Zero, with the gradient of a sigmoid over the distance to the selection's border."""
    lowest_kept = scores.masked_fill(kept == 0, 1.0).amin(1, keepdim=True)
    highest_sent = scores.masked_fill(kept == 1, 0.0).amax(1, keepdim=True)
    border = ((lowest_kept + highest_sent) / 2).detach()
    soft = torch.sigmoid(sharpness * (scores - border))
    return soft - soft.detach()


def quantise(x: Tensor, sent: Tensor, bits: int | None) -> Tensor:
    """The sent channels as the cloud reads them, with the gradient of the identity.

    Equal to `select.quantised` on the channels of (N, C, ...) where `sent` (N, C) is 1; others are
    not defined.
    """
    if bits is None:
        return x
    with torch.no_grad():
        values = x.reshape(*x.shape[:2], -1)
        if has_own_range(values.shape[2]):
            low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
        else:
            absent = sent[:, :, None] == 0
            low = values.masked_fill(absent, torch.inf).amin((1, 2), keepdim=True)
            high = values.masked_fill(absent, -torch.inf).amax((1, 2), keepdim=True)
            low, high = low.nan_to_num(posinf=0.0), high.nan_to_num(neginf=0.0)
        scale = (high - low) / (2**bits - 1)
        per_level = torch.where(scale > 0, 1 / scale, 0.0)
        levels = torch.floor((values - low) * per_level + 0.5).clamp(0, 2**bits - 1)
        restored = (levels * scale + low).reshape(x.shape)
    straight_through: Tensor = x + (restored - x).detach()
    return straight_through
