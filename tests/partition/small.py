"""A network that is prepared in a moment."""

from __future__ import annotations

import torch
from torch import nn


def other():
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 8, 3, 4), nn.ReLU(), nn.Conv2d(8, 4, 3, 2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(196, 5)).eval(), torch.zeros(1, 3, 64, 64)


def wide():
    """Tails whose weights have to be read from memory for every batch."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 64, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 2048), nn.ReLU()]
    head = nn.Sequential(*layers, nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10))
    return head.eval(), torch.zeros(1, 3, 64, 64)
