"""Split points of a network, its inputs and its outputs; needs no ONNX."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from partition.codec import quantisers
from partition.codec.encoded import FLOAT32, is_feature_map
from partition.codec.message_sizes import request_bytes
from partition.model.cost import Cost


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a photograph becomes the network's input: RGB, NCHW, `(x - mean) / std` on 0..255."""

    size: int
    """Height and width in pixels after a bicubic resize."""
    crop_fraction: float
    """Side of the central square crop over the shorter side of the photograph."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Refuse numbers that no photograph survives."""
        if not all(math.isfinite(v) for v in self.mean) or not 0 < self.crop_fraction <= 1:
            raise ValueError(f"mean {self.mean} or crop_fraction {self.crop_fraction}")
        if not all(0 < v < math.inf for v in self.std):
            raise ValueError(f"std {self.std}")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or an output of a network."""

    name: str
    dtype: str
    """numpy's name of the type."""
    shape: tuple[int, ...]
    """For one sample; the first dimension is the batch where the batch is free. -1 is a size of an
    output that depends on the data, as the number of boxes that are found."""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can be the tensor, for one sample."""
        return len(shape) == len(self.shape) and all(
            own in (size, -1) for own, size in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class SplitPoint:
    """A place to cut: the edge runs the head, the cloud the tail."""

    index: int
    """Position in the tuple (`ModelFolder.cuts` or `.split_points`) the point was taken from."""
    name: str
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    """For one sample."""
    dtypes: tuple[str, ...]
    """numpy's names."""
    head: Cost
    tail: Cost
    peak_bytes: int
    """Most bytes of activations alive at once since the cut before this one."""
    is_input: bool
    is_output: bool

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """What crosses."""
        return tuple(map(TensorSpec, self.tensors, self.dtypes, self.shapes))

    @property
    def wire_bytes(self) -> int:
        """Bytes of the uplink message with the int8 codec, header included; 0 on the edge."""
        return 0 if self.is_output else self.request_bytes(quantisers.DEFAULT.bits)

    def request_bytes(self, bits: int) -> int:
        """Bytes of a message with the crossing tensors in so many bits a value."""
        return request_bytes(self.shapes, bits, self.dtypes)

    @property
    def coded_bytes(self) -> int:
        """Bytes, in float32, of those crossing tensors that a codec encodes."""
        return sum(
            math.prod(shape) * FLOAT32.itemsize
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
            if is_feature_map(shape, np.dtype(dtype))
        )

    @property
    def float32_bytes(self) -> int:
        """Bytes of the crossing tensors as they are; a size that depends on the data is one."""
        return sum(
            abs(math.prod(shape)) * np.dtype(dtype).itemsize
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        )
