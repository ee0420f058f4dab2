"""Networks of every kind, small, with random weights: what the split is tried on.

Each builder returns a network and an example input, as a user's callable does; the Hugging Face
networks come from configurations, nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional

Example = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Built = tuple[nn.Module, Example]

IMAGE = 64
TOKENS = 12
VOCABULARY = 50


def conv(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def image() -> Tensor:
    return torch.rand(1, 3, IMAGE, IMAGE)


def plain_cnn() -> Built:
    layers = [conv(3, 16, stride=2), nn.MaxPool2d(2), conv(16, 32), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 64, 10)), image()


class _Residual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels_in, channels_out, 3, stride),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1),
        )
        self.skip = nn.Conv2d(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def residual_cnn() -> Built:
    blocks = [
        _Residual(16, 16, 1),
        _Residual(16, 32, 2),
        _Residual(32, 32, 1),
        _Residual(32, 64, 2),
    ]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(conv(3, 16, stride=2), *blocks, *pool), image()


class _Inception(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = conv(channels, 8, 1)
        self.three = nn.Sequential(conv(channels, 8, 1), conv(8, 12))
        self.five = nn.Sequential(conv(channels, 4, 1), conv(4, 8, 5))

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.max_pool2d(x, 3, 1, 1)
        return torch.cat([self.one(x), self.three(x), self.five(x), self.one(pooled)], 1)


def inception() -> Built:
    blocks = [_Inception(16), nn.MaxPool2d(2), _Inception(36), nn.MaxPool2d(2), _Inception(36)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(36, 10)]
    return nn.Sequential(conv(3, 16, stride=2), *blocks, *pool), image()


class _Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, stride=2)
        self.layers = nn.ModuleList(conv(8 + 8 * i, 8) for i in range(4))
        self.classifier = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.classifier(x.mean((2, 3)))


def dense_net() -> Built:
    return _Dense(), image()


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.down3 = conv(3, 8), conv(8, 16), conv(16, 32)
        self.up2, self.up1 = conv(48, 16), conv(24, 8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(functional.max_pool2d(one, 2))
        three = self.down3(functional.max_pool2d(two, 2))
        two = self.up2(torch.cat([functional.interpolate(three, scale_factor=2.0), two], 1))
        one = self.up1(torch.cat([functional.interpolate(two, scale_factor=2.0), one], 1))
        return self.head(one)


def unet() -> Built:
    return _UNet(), image()


class _SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv(3, 16, stride=2), conv(16, 16)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(16, 4, 1),
            nn.ReLU(),
            nn.Conv2d(4, 16, 1),
            nn.Hardsigmoid(),
        )
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        return self.classifier((x * self.gate(x)).mean((2, 3)))


def squeeze_excite() -> Built:
    return _SqueezeExcite(), image()


class _ShuffleUnit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = conv(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, 1)
        x = torch.cat([kept, self.branch(worked)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shuffle_net() -> Built:
    units = [conv(3, 24, stride=2), *(_ShuffleUnit() for _ in range(3))]
    return nn.Sequential(*units, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)), image()


class _Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.tokens, self.channels = (
            nn.LayerNorm(32),
            nn.Linear(64, 64),
            nn.Linear(32, 32),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + functional.gelu(self.channels(self.norm(x)))


def mixer() -> Built:
    patches = [nn.Conv2d(3, 32, 8, 8), nn.Flatten(2), _Transpose()]
    return nn.Sequential(*patches, _Mixer(), _Mixer(), _MeanTokens(), nn.Linear(32, 10)), image()


class _Transpose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class _MeanTokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def torch_transformer() -> Built:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), torch.rand(1, TOKENS, 32)


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.GRU(8, 16, batch_first=True)
        self.second = nn.LSTM(16, 16, batch_first=True)
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.first(x)
        x, _ = self.second(x)
        return self.classifier(x[:, -1])


def recurrent() -> Built:
    return _Recurrent(), torch.rand(1, TOKENS, 8)


def perceptron() -> Built:
    layers = [nn.Linear(40, 64), nn.GELU(), nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 3)]
    return nn.Sequential(*layers), torch.rand(1, 40)


class _Siamese(nn.Module):
    """Two inputs, and two outputs of which one is ready early."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(conv(3, 8, stride=2), conv(8, 16, stride=2))
        self.early, self.late = nn.Linear(16, 4), nn.Linear(32, 2)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        first = self.tower(left).mean((2, 3))
        early = self.early(first)
        both = torch.cat([first, self.tower(right).mean((2, 3))], 1)
        return early, self.late(both)


def siamese() -> Built:
    return _Siamese(), (image(), image())


class _Detector(nn.Module):
    """A pyramid with boxes, scores and a boolean mask of what is sure."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, stride=2), conv(8, 16, stride=2))
        self.deep = conv(16, 32, stride=2)
        self.lateral = nn.Conv2d(32, 16, 1)
        self.box, self.score = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        shallow = self.stem(x)
        deep = functional.interpolate(self.lateral(self.deep(shallow)), scale_factor=2.0)
        features = shallow + deep
        scores = self.score(features).flatten(2).softmax(1)
        best, labels = scores.max(1)
        return {"boxes": self.box(features).flatten(2), "labels": labels, "sure": best > 0.5}


def detector() -> Built:
    return _Detector(), image()


class _MaskedPool(nn.Module):
    """Integer tokens and a boolean mask that stays alive to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.classifier = nn.Linear(16, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.layers(self.embedding(tokens)).masked_fill(~mask[..., None], 0.0)
        return self.classifier(x.sum(1) / mask.sum(1, keepdim=True))


def masked_pool() -> Built:
    return _MaskedPool(), (tokens(), torch.ones(1, TOKENS, dtype=torch.bool))


def tokens() -> Tensor:
    return torch.randint(2, VOCABULARY, (1, TOKENS))


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


OWN: dict[str, Callable[[], Built]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        plain_cnn,
        residual_cnn,
        inception,
        dense_net,
        unet,
        squeeze_excite,
        shuffle_net,
        mixer,
        torch_transformer,
        recurrent,
        perceptron,
        siamese,
        detector,
        masked_pool,
    )
}
"""Networks defined here."""

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
