"""Two small networks for 32 x 32 images, trained here on Fashion-MNIST; importing this needs torch.

Both have compressive natural bottlenecks after every stage: places where the tensor is smaller
than the 3 x 32 x 32 input and than everything before (Bakhtiarnia et al., arXiv 2205.11269).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from partition.errors import ModelFolderError, ModelNotFoundError

WEIGHTS = Path(__file__).parent / "weights"
SIZE_PX = 32
MEAN = (73.0,) * 3
"""Of Fashion-MNIST's 28 x 28 training images, on 0..255."""
STD = (90.0,) * 3
_NETWORK = "network"
"""In a file's metadata: the network's name."""
_LOGITS = "classifier.bias"
"""A number per class."""


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a skip (He et al., arXiv 1512.03385)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, channels_out, stride=stride)
        self.conv2 = _conv(channels_out, channels_out, act=False)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.skip = _conv(channels_in, channels_out, kernel=1, stride=stride, act=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same or half the resolution."""
        y: Tensor = self.act(self.conv2(self.conv1(x)) + self.skip(x))
        return y


class InvertedResidual(nn.Module):
    """Widen, filter per channel, narrow (Sandler et al., arXiv 1801.04381)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, widen: int) -> None:
        super().__init__()
        inner = widen * channels_in
        self.expand = _conv(channels_in, inner, kernel=1)
        self.depthwise = _conv(inner, inner, stride=stride, groups=inner)
        self.project = _conv(inner, channels_out, kernel=1, act=False)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same or half the resolution."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Classifier(nn.Module):
    """A stem, a list of blocks, pooling and a linear layer."""

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        logits: Tensor = self.classifier(self.pool(self.blocks(self.stem(x))).flatten(1))
        return logits


def _conv(
    channels_in: int,
    channels_out: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: bool = True,
) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if act else nn.Sequential(*layers)


def _resnet(classes: int) -> Classifier:
    # (out, stride): 16x16x16 -> 24x8x8 (c = 0.50) -> 48x4x4 (0.25) -> 48x2x2 (0.06)
    widths = [(24, 2), (24, 1), (48, 2), (48, 1), (48, 2)]
    blocks, channels = [], 16
    for channels_out, stride in widths:
        blocks.append(ResidualBlock(channels, channels_out, stride))
        channels = channels_out
    return Classifier(_conv(3, 16, stride=2), [*blocks], channels, classes)


def _mobilenet(classes: int) -> Classifier:
    # (out, stride): 10x16x16 (c = 0.83) -> 24x8x8 (0.50) -> 40x4x4 (0.21), widened fourfold
    widths = [(24, 2), (24, 1), (40, 2), (40, 1), (40, 1)]
    blocks, channels = [], 10
    for channels_out, stride in widths:
        blocks.append(InvertedResidual(channels, channels_out, stride, widen=4))
        channels = channels_out
    return Classifier(_conv(3, 10, stride=2), [*blocks], channels, classes)


NETWORKS: dict[str, Callable[[int], Classifier]] = {
    "fashion-resnet": _resnet,
    "fashion-mobilenet": _mobilenet,
}


def build(name: str, classes: int = 10, seed: int = 0) -> Classifier:
    """An untrained network, the same every time.

    Raises:
        ModelNotFoundError: no network of that name.
    """
    if name not in NETWORKS:
        raise ModelNotFoundError(f"unknown network {name!r}: use one of {', '.join(NETWORKS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name](classes)


def trained(name: str) -> Classifier:
    """The network with the weights that ship."""
    return load(WEIGHTS / f"{name}.safetensors", name)


def load(path: Path, name: str | None = None) -> Classifier:
    """The network of a file that `partition.train_classifier` wrote, for any number of classes.

    Args:
        path: of the file.
        name: of the network, where the file does not say it.

    Raises:
        ModelNotFoundError: the file is missing, damaged, or of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            found = (file.metadata() or {}).get(_NETWORK, name)
            stored = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - no dict
        network = build(str(found), len(stored[_LOGITS]))
        state = network.state_dict()
        counters = {key: value for key, value in state.items() if not value.is_floating_point()}
        network.load_state_dict({**counters, **stored})
    except (OSError, SafetensorError, LookupError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelNotFoundError(
            f"weights {path} cannot be read ({reason}): give a file that "
            "python -m partition.train_classifier wrote"
        ) from error
    return network.eval()


def save(network: nn.Module, path: Path, name: str) -> None:
    """Write weights as half floats: half the bytes, 0.01 to 0.02 points of accuracy.

    Raises:
        ModelFolderError: the file cannot be written.
    """
    state = network.state_dict()
    floats = {key: v.half().contiguous() for key, v in state.items() if v.is_floating_point()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(floats, path, metadata={_NETWORK: name})
    except (OSError, SafetensorError) as error:
        raise ModelFolderError(f"{path} cannot be written ({error}): give another --out") from error
    path.chmod(0o644)  # safetensors gives it to its owner alone
