"""Networks for the test bed."""

from __future__ import annotations

import torch


def resnet50():
    """ResNet-50 with random weights: how long it takes does not depend on them."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    return ResNetForImageClassification(ResNetConfig(num_labels=1000)).eval(), torch.zeros(
        1, 3, 224, 224
    )
