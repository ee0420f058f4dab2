"""Operations, memory traffic and kernels of the measured networks, from their published layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

BYTES_PER_NUMBER = 4
"""Both networks were run in float32; for the TensorRT engine that is assumed."""


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """Size of a network, in the terms of `DeviceModel.demand`; sizes add up.

    Attributes:
        multiply_adds: multiply-accumulate operations.
        parameters: weights and biases, normalisation folded in.
        activations: numbers read and written by all layers.
        kernels: launched kernels after fusion.
    """

    multiply_adds: int = 0
    parameters: int = 0
    activations: int = 0
    kernels: int = 0

    def __add__(self, other: NetworkSize) -> NetworkSize:
        return NetworkSize(
            self.multiply_adds + other.multiply_adds,
            self.parameters + other.parameters,
            self.activations + other.activations,
            self.kernels + other.kernels,
        )

    @property
    def flops(self) -> float:
        """Floating-point operations, two per multiply-add."""
        return 2.0 * self.multiply_adds

    @property
    def traffic_bytes(self) -> float:
        """Bytes of weights, layer inputs and layer outputs."""
        return float(BYTES_PER_NUMBER * (self.parameters + self.activations))


class Builder:
    """Adds layers one after the other and keeps track of the tensor between them."""

    def __init__(self, px: int) -> None:
        self.size = NetworkSize()
        self.px = px
        self.channels = 3

    def conv(self, out: int, kernel: int, stride: int = 1, valid: bool = False) -> None:
        """A convolution of all channels."""
        self.convolve(out, kernel, stride, valid, per_channel=False)

    def depthwise(self, kernel: int, stride: int = 1) -> None:
        """A convolution of each channel for itself."""
        self.convolve(self.channels, kernel, stride, valid=False, per_channel=True)

    def separable(self, out: int) -> None:
        """A depthwise convolution and a pointwise one."""
        self.convolve(self.channels, 3, 1, valid=False, per_channel=True)
        self.convolve(out, 1, 1, valid=False, per_channel=False)

    def branch(self, px: int, channels: int) -> Builder:
        """A path of its own from a tensor of this size; its size has to be added."""
        path = Builder(px)
        path.channels = channels
        return path

    def shortcut(self, out: int, px: int, channels: int) -> None:
        """1x1 convolution with stride 2 from an earlier tensor, and the addition it feeds."""
        branch = self.branch(px, channels)
        branch.conv(out, 1, stride=2)
        self.size += branch.size
        self.add()

    def add(self) -> None:
        """Addition of two tensors."""
        self.size += NetworkSize(activations=3 * self.numbers(), kernels=1)

    def pool(self) -> None:
        """Pooling that halves the image."""
        before = self.numbers()
        self.px = math.ceil(self.px / 2)
        self.size += NetworkSize(activations=before + self.numbers(), kernels=1)

    def global_pool(self) -> None:
        """Mean over the image."""
        before = self.numbers()
        self.px = 1
        self.size += NetworkSize(activations=before + self.channels, kernels=1)

    def dense(self, out: int) -> None:
        """A fully connected layer."""
        inputs = self.numbers()
        self.size += NetworkSize(inputs * out, inputs * out + out, inputs + out, 1)
        self.px, self.channels = 1, out

    def convolve(
        self, out: int, kernel: int, stride: int, valid: bool, *, per_channel: bool
    ) -> None:
        """A convolution, of each channel for itself or of all."""
        before = self.numbers()
        span = self.px - kernel + 1 if valid else self.px
        weights = kernel * kernel * out * (1 if per_channel else self.channels)
        self.px, self.channels = math.ceil(span / stride), out
        self.size += NetworkSize(
            multiply_adds=weights * self.px * self.px,
            parameters=weights + out,
            activations=before + self.numbers(),
            kernels=1,
        )

    def numbers(self) -> int:
        """Elements of the present tensor."""
        return self.px * self.px * self.channels


def xception(px: int) -> NetworkSize:
    """Size of Xception for a square input (Chollet 2017, figure 5)."""
    net = Builder(px)
    net.conv(32, 3, stride=2, valid=True)
    net.conv(64, 3, valid=True)
    for first, second in ((128, 128), (256, 256), (728, 728)):
        _xception_block(net, first, second)
    for _ in range(8):
        for _ in range(3):
            net.separable(728)
        net.add()
    _xception_block(net, 728, 1024)
    net.separable(1536)
    net.separable(2048)
    net.global_pool()
    net.dense(1000)
    return net.size


def _xception_block(net: Builder, first: int, second: int) -> None:
    px, channels = net.px, net.channels
    net.separable(first)
    net.separable(second)
    net.pool()
    net.shortcut(second, px, channels)


def vgg19(px: int) -> NetworkSize:
    """Size of VGG19 for a square input (Simonyan and Zisserman 2014, table 1, column E)."""
    net = Builder(px)
    for out, repeats in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(repeats):
            net.conv(out, 3)
        net.pool()
    for out in (4096, 4096, 1000):
        net.dense(out)
    return net.size
