"""Networks of the papers, prepared for their costs alone, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

from partition.prepare import zoo
from partition.prepare.build import prepare

FOLDER = Path("models/papers")
"""Prepared once; half a gigabyte each."""
WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of VGG16's convolutions, 0 for a pooling (Simonyan and Zisserman, arXiv 1409.1556)."""


def _vgg16() -> tuple[nn.Module, Any]:
    layers: list[nn.Module] = []
    n_in = 3
    for width in WIDTHS:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU()]
        n_in = width
    head = [nn.Flatten(), nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, *head, nn.Linear(4096, 1000)), torch.zeros(1, 3, 224, 224)


def _vit() -> tuple[nn.Module, Any]:
    config = hf.ViTConfig()  # of ViT-B/16
    config.num_labels = 1000
    return hf.ViTForImageClassification(config), torch.zeros(1, 3, 224, 224)


MADE: dict[str, Callable[[], tuple[nn.Module, Any]]] = {"vgg16": _vgg16, "vit": _vit}


def folder(name: str) -> Path:
    """Folder of a prepared network.

    Raises:
        PartitionError: it cannot be prepared.
    """
    path = FOLDER / name
    if not (path / "cuts.json").is_file():
        torch.manual_seed(0)
        prepare(zoo.Source(name, MADE[name]), path)
    return path
