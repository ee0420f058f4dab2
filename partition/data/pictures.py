"""How photographs become a network's input: layout, size, type and scale of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from partition.errors import SampleError
from partition.model.split_point import Preprocess, TensorSpec

Triple = tuple[float, float, float]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""

SCALES: dict[str, tuple[Triple, Triple]] = {
    "0..1": ((0.0,) * 3, (255.0,) * 3),
    "-1..1": ((127.5,) * 3, (127.5,) * 3),
    "0..255": ((0.0,) * 3, (1.0,) * 3),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""Mean and standard deviation per RGB channel on 0..255, by name; most networks take one."""
ASSUMED_SCALE, BYTES_SCALE = "0..1", "0..255"
_MIN_SIDE = 16
"""Of a picture in pixels; a smaller dimension means something else."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """How a network takes a picture: `(x - mean) / std` on 0..255."""

    height: int
    width: int
    channels: int
    """3 for RGB, 1 for grey."""
    channels_last: bool
    """(1, H, W, C) instead of (1, C, H, W)."""
    dtype: str
    """numpy's name of the input's type."""
    mean: Triple
    std: Triple
    crop_fraction: float = 1.0
    """Side of the central crop over the largest of these proportions."""

    @classmethod
    def of_classifier(cls, preprocess: Preprocess) -> PictureFormat:
        """The format that a model folder describes."""
        size = preprocess.size
        return cls(
            height=size,
            width=size,
            channels=3,
            channels_last=False,
            dtype="float32",
            mean=preprocess.mean,
            std=preprocess.std,
            crop_fraction=preprocess.crop_fraction,
        )

    @classmethod
    def of_input(cls, spec: TensorSpec, scale: str | None = None) -> PictureFormat | None:
        """The format that an input's shape tells; None where it is no picture.

        Args:
            spec: of the input.
            scale: one of `SCALES`; None assumes bytes as they are, and other types within 0..1.

        Raises:
            SampleError: bytes cannot hold pixels of that scale.
        """
        kind = np.dtype(spec.dtype).kind
        if len(spec.shape) != 4 or spec.shape[0] != 1 or not (kind == "f" or spec.dtype == "uint8"):
            return None
        first, height, width = spec.shape[1:]
        channels_last = first not in (1, 3)
        if channels_last:
            height, width, first = spec.shape[1:]
        if first not in (1, 3) or min(height, width) < _MIN_SIDE:
            return None
        chosen = scale or (ASSUMED_SCALE if kind == "f" else BYTES_SCALE)
        if kind != "f" and chosen != BYTES_SCALE:
            raise SampleError(
                f"input {spec.name!r} is of {spec.dtype}, which holds no pixels of {chosen}: give "
                f"--scale {BYTES_SCALE}"
            )
        mean, std = SCALES[chosen]
        return cls(height, width, first, channels_last, spec.dtype, mean, std)

    @property
    def input_bytes(self) -> int:
        """Bytes of one input."""
        return self.channels * self.height * self.width * np.dtype(self.dtype).itemsize

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one picture with a byte per value."""
        return self.channels * self.height * self.width

    def largest(self, image: Image.Image) -> tuple[float, float]:
        """Width and height of the largest part of an image that has these proportions."""
        ratio = self.width / self.height
        if image.width >= image.height * ratio:
            return image.height * ratio, float(image.height)
        return float(image.width), image.width / ratio

    def resized(self, image: Image.Image, box: Box) -> Image.Image:
        """A part of an image in the network's size, RGB or grey."""
        right, bottom = min(box[2], image.width), min(box[3], image.height)
        part = (box[0], box[1], right, bottom)
        small = image.resize((self.width, self.height), Image.Resampling.BICUBIC, part)
        return small if self.channels == 3 else small.convert("L")

    def tensor(self, picture: Image.Image) -> npt.NDArray[Any]:
        """The input (1, C, H, W) or (1, H, W, C) that stands for a picture of this size."""
        pixels = np.asarray(picture, np.float32).reshape(self.height, self.width, self.channels)
        mean, std = np.array((self.mean, self.std), np.float32)[:, : self.channels]
        scaled = ((pixels - mean) / std).astype(self.dtype, copy=False)
        ordered = scaled if self.channels_last else scaled.transpose(2, 0, 1)
        return np.ascontiguousarray(ordered[None])

    def pixels(self, tensor: npt.NDArray[Any]) -> Image.Image:
        """The picture that an input stands for."""
        ordered = tensor[0] if self.channels_last else tensor[0].transpose(1, 2, 0)
        mean, std = np.array((self.mean, self.std), np.float32)[:, : self.channels]
        values = np.clip(np.rint(ordered * std + mean), 0, 255).astype(np.uint8)
        return Image.fromarray(values if self.channels == 3 else values[:, :, 0])
