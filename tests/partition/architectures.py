"""What the split is tried on: networks of every kind, small, with random weights.

The Hugging Face networks come from configurations, nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from tests.partition.own_networks import (
    IMAGE,
    OWN,
    TOKENS,
    VOCABULARY,
    Built,
    Example,
    image,
    tokens,
)

_VISION = {"image_size": IMAGE, "num_labels": 10}
_WIDTH: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_TEXT: dict[str, Any] = {
    **_WIDTH,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 32,
    "num_labels": 3,
}


def _vision(model: Any, config: Any) -> Callable[[], Built]:
    return lambda: (model(config), {"pixel_values": image()})


def _text(model: Any, config: Any, *, mask: bool = True) -> Callable[[], Built]:
    def build() -> Built:
        inputs = {"input_ids": tokens()}
        if mask:
            inputs["attention_mask"] = torch.ones(1, TOKENS, dtype=torch.int64)
        return model(config), inputs

    return build


HUGGING_FACE: dict[str, Callable[[], Built]] = {
    "vit": _vision(hf.ViTForImageClassification, hf.ViTConfig(**_VISION, **_WIDTH, patch_size=16)),
    "deit": _vision(
        hf.DeiTForImageClassification, hf.DeiTConfig(**_VISION, **_WIDTH, patch_size=16)
    ),
    "swin": _vision(
        hf.SwinForImageClassification,
        hf.SwinConfig(**_VISION, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4),
    ),
    "beit": _vision(
        hf.BeitForImageClassification, hf.BeitConfig(**_VISION, **_WIDTH, patch_size=16)
    ),
    "convnext": _vision(
        hf.ConvNextForImageClassification,
        hf.ConvNextConfig(**_VISION, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1]),
    ),
    "resnet": _vision(
        hf.ResNetForImageClassification,
        hf.ResNetConfig(
            num_labels=10, embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 2, 1, 1]
        ),
    ),
    "regnet": _vision(
        hf.RegNetForImageClassification,
        hf.RegNetConfig(
            num_labels=10,
            embedding_size=16,
            hidden_sizes=[16, 32, 48, 64],
            depths=[1, 1, 2, 1],
            groups_width=8,
        ),
    ),
    "mobilenet-v1": _vision(
        hf.MobileNetV1ForImageClassification, hf.MobileNetV1Config(**_VISION, depth_multiplier=0.25)
    ),
    "mobilenet-v2": _vision(
        hf.MobileNetV2ForImageClassification, hf.MobileNetV2Config(**_VISION, depth_multiplier=0.35)
    ),
    "mobilevit": _vision(
        hf.MobileViTForImageClassification,
        hf.MobileViTConfig(
            **_VISION,
            hidden_sizes=[16, 24, 32],
            neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
            num_attention_heads=4,
        ),
    ),
    "segformer": _vision(
        hf.SegformerForSemanticSegmentation,
        hf.SegformerConfig(
            num_labels=5,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 3, 4],
            decoder_hidden_size=16,
        ),
    ),
    "poolformer": _vision(
        hf.PoolFormerForImageClassification,
        hf.PoolFormerConfig(num_labels=10, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1]),
    ),
    "efficientnet": _vision(
        hf.EfficientNetForImageClassification,
        hf.EfficientNetConfig(
            **_VISION, width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320
        ),
    ),
    "bit": _vision(
        hf.BitForImageClassification,
        hf.BitConfig(
            num_labels=10,
            embedding_size=16,
            hidden_sizes=[16, 32, 48, 64],
            depths=[1, 1, 1, 1],
            num_groups=4,
        ),
    ),
    "pvt": _vision(
        hf.PvtForImageClassification,
        hf.PvtConfig(
            **_VISION,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 3, 4],
        ),
    ),
    "dinov2": _vision(
        hf.Dinov2ForImageClassification,
        hf.Dinov2Config(
            **_VISION,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            mlp_ratio=2,
            patch_size=16,
        ),
    ),
    "levit": _vision(
        hf.LevitForImageClassification,
        hf.LevitConfig(
            **_VISION,
            hidden_sizes=[16, 24, 32],
            num_attention_heads=[2, 3, 4],
            depths=[1, 1, 1],
            key_dim=[8, 8, 8],
        ),
    ),
    "focalnet": _vision(
        hf.FocalNetForImageClassification,
        hf.FocalNetConfig(
            **_VISION, embed_dim=16, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1]
        ),
    ),
    "bert": _text(hf.BertForSequenceClassification, hf.BertConfig(**_TEXT)),
    "distilbert": _text(
        hf.DistilBertForSequenceClassification,
        hf.DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=32,
            n_layers=3,
            n_heads=4,
            hidden_dim=64,
            max_position_embeddings=32,
        ),
    ),
    "roberta": _text(hf.RobertaForSequenceClassification, hf.RobertaConfig(**_TEXT)),
    "albert": _text(
        hf.AlbertForSequenceClassification, hf.AlbertConfig(**_TEXT, embedding_size=16)
    ),
    "electra": _text(
        hf.ElectraForSequenceClassification, hf.ElectraConfig(**_TEXT, embedding_size=16)
    ),
    "mpnet": _text(hf.MPNetForSequenceClassification, hf.MPNetConfig(**_TEXT)),
    "gpt2": _text(
        hf.GPT2LMHeadModel,
        hf.GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=32, use_cache=False
        ),
    ),
    "llama": _text(hf.LlamaForCausalLM, hf.LlamaConfig(**_TEXT, use_cache=False)),
    "t5-encoder": _text(
        hf.T5EncoderModel,
        hf.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4),
    ),
    "clip-text": _text(
        hf.CLIPTextModel, hf.CLIPTextConfig(**_TEXT, eos_token_id=0, bos_token_id=1)
    ),
    "clip-vision": _vision(
        hf.CLIPVisionModel, hf.CLIPVisionConfig(**_WIDTH, image_size=IMAGE, patch_size=16)
    ),
}
"""Architectures of Hugging Face transformers, a few layers each."""


def _calibrate(network: nn.Module, example: Example) -> None:
    """Statistics for BatchNorm as training would leave them, or activations fade with depth."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    network.eval()
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        match example:
            case Tensor():
                network(torch.randn(8, *example.shape[1:]))
            case tuple():
                network(*(torch.randn(8, *tensor.shape[1:]) for tensor in example))
            case dict():
                network(**{k: torch.randn(8, *v.shape[1:]) for k, v in example.items()})
    network.eval()


def _lively(build: Callable[[], Built]) -> Callable[[], Built]:
    """Weights under which the output depends on the input; the usual ones shrink it to nothing."""

    def made() -> Built:
        torch.manual_seed(0)
        network, example = build()
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        _calibrate(network, example)
        return network, example

    return made


ARCHITECTURES = {name: _lively(build) for name, build in {**OWN, **HUGGING_FACE}.items()}
"""All of them."""
