"""Networks of the map, prepared for their costs alone; most have random weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

from agents.training.run import open_or_prepare
from partition.model.network_costs import NetworkCosts
from partition.prepare import zoo
from partition.prepare.build import prepare

FOLDER = Path("models/splitting")
"""Prepared once."""
MANY_ROUTES = 9
"""Of a network with more cuts these are kept, input and output among them: the ones that send the
least at their depth."""


def _resnet50() -> tuple[nn.Module, Any]:
    return hf.ResNetForImageClassification(hf.ResNetConfig()), torch.zeros(1, 3, 224, 224)


def _vit_small() -> tuple[nn.Module, Any]:
    config = hf.ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536
    )
    return hf.ViTForImageClassification(config), torch.zeros(1, 3, 224, 224)


class _Detector(nn.Module):
    """A backbone of 640 pixels with a head of 85 numbers for each of 3 x 20 x 20 boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = hf.ResNetModel(
            hf.ResNetConfig(
                embedding_size=32,
                hidden_sizes=[64, 128, 256, 512],
                depths=[2, 2, 2, 2],
                layer_type="basic",
            )
        )
        self.head = nn.Conv2d(512, 3 * 85, 1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.backbone(pixel_values).last_hidden_state)
        return answer


def _detector() -> tuple[nn.Module, Any]:
    return _Detector(), torch.zeros(1, 3, 640, 640)


def _sensor() -> tuple[nn.Module, Any]:
    """Six axes of an inertial sensor, 1,024 samples each, to 12 activities."""

    def block(n_in: int, n_out: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv1d(n_in, n_out, 9, stride=stride, padding=4, bias=False)
        return [convolution, nn.BatchNorm1d(n_out), nn.ReLU()]

    layers = [
        *block(6, 64, 2),
        *block(64, 64, 1),
        *block(64, 128, 2),
        *block(128, 128, 1),
        *block(128, 128, 2),
        *block(128, 64, 2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(64, 12),
    ]
    return nn.Sequential(*layers), torch.zeros(1, 6, 1024)


MADE: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "resnet-50": _resnet50,
    "vit-small": _vit_small,
    "detector-640": _detector,
    "sensor-1d": _sensor,
}
NAMES = ("efficientnet-lite0", *MADE)
PIXELS = {"efficientnet-lite0": 224, "resnet-50": 224, "vit-small": 224, "detector-640": 640}
"""Side of the picture that goes in; the others take none."""


def costs(name: str) -> NetworkCosts:
    """Costs of a network's routes.

    Raises:
        PartitionError: it cannot be prepared.
    """
    if name not in MADE:
        return NetworkCosts.of(open_or_prepare(name))
    folder = FOLDER / name
    if not (folder / "cuts.json").is_file():
        torch.manual_seed(0)
        prepare(zoo.Source(name, MADE[name]), folder)
    return thinned(NetworkCosts.open(folder))


def thinned(network: NetworkCosts) -> NetworkCosts:
    """Keep input, output and, of stretches of the others, the route that sends the least."""
    first, *inner, last = network.routes
    n = MANY_ROUTES - 2
    if len(inner) <= n:
        return network
    ends = [round(k * len(inner) / n) for k in range(n + 1)]
    kept = [min(inner[a:b], key=lambda route: route.wire_bytes) for a, b in pairwise(ends)]
    return NetworkCosts(
        network.name, (first, *kept, last), network.cut_list_fingerprint, network.appeal_share
    )
