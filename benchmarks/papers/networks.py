"""Networks of the papers, prepared for their costs alone, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

from partition.prepare import zoo
from partition.prepare.build import prepare

FOLDER = Path("models/papers")
"""Prepared once; half a gigabyte each."""
VGG_DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)
"""Convolutions of each block, and their channels (Simonyan and Zisserman, arXiv 1409.1556)."""


def _vgg(name: str) -> tuple[nn.Module, Any]:
    layers: list[nn.Module] = []
    n_in = 3
    for depth, width in zip(VGG_DEPTHS[name], VGG_WIDTHS, strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU()]
            n_in = width
        layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, *head, nn.Linear(4096, 1000)), torch.zeros(1, 3, 224, 224)


def _vit() -> tuple[nn.Module, Any]:
    config = hf.ViTConfig()  # of ViT-B/16
    config.num_labels = 1000
    return hf.ViTForImageClassification(config), torch.zeros(1, 3, 224, 224)


def _picture(network: Callable[[], nn.Module]) -> tuple[nn.Module, Any]:
    return network(), torch.zeros(1, 3, 224, 224)


def _efficientnet_b0() -> nn.Module:
    config = hf.EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280
    )
    return hf.EfficientNetForImageClassification(config)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "efficientnet-b0": _efficientnet_b0,
    "mobilenet-v2": lambda: hf.MobileNetV2ForImageClassification(hf.MobileNetV2Config()),
    "resnet-50": lambda: hf.ResNetForImageClassification(hf.ResNetConfig()),
    "convnext-tiny": lambda: hf.ConvNextForImageClassification(hf.ConvNextConfig()),
    "swin-tiny": lambda: hf.SwinForImageClassification(hf.SwinConfig()),
}
"""Networks whose usual settings are those of their papers."""
MADE: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    **{name: partial(_vgg, name) for name in VGG_DEPTHS},
    **{name: partial(_picture, network) for name, network in OTHERS.items()},
    "vit": _vit,
}


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
