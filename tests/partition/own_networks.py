"""Small networks of every kind with random weights, defined here.

Each builder returns a network and an example input, as a user's callable does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
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
