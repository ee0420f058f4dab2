"""A network of 50 kB for tests and quick tries; importing it needs torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TinyCnn(nn.Module):
    """Four convolutions with one residual connection: (1, 3, 64, 64) to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 16, stride=2)
        self.down1 = _conv(16, 24, stride=2)
        self.down2 = _conv(24, 32, stride=2)
        self.residual = _conv(32, 32, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (1, 10) of images (1, 3, 64, 64)."""
        x = self.down2(self.down1(self.stem(x)))
        x = x + self.residual(x)
        logits: Tensor = self.classifier(self.pool(x).flatten(1))
        return logits


def _conv(channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU6(),
    )


def build() -> nn.Module:
    """The network with the same random weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyCnn()
