"""A network as a graph of layers with sizes alone: enough for cost models, nothing runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a graph."""

    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    """(height, width, channels), or (features,)."""
    parameters: int
    flops: int
    """Two per multiply-accumulate; one per output element of any other layer."""

    @property
    def elements(self) -> int:
        """Values that it hands on."""
        return math.prod(self.shape)


@dataclass(slots=True)
class LayerGraph:
    """Layers in topological order, made one by one; every method returns the new layer's index."""

    layers: list[Layer] = field(default_factory=list)

    def input(self, pixels: int) -> int:
        """An RGB picture."""
        return self._add((), (pixels, pixels, 3))

    def same(self, x: int, parameters: int = 0) -> int:
        """A layer that keeps the shape: activation, dropout, scaling."""
        return self._add((x,), self.layers[x].shape, parameters)

    def norm(self, x: int, *, scale: bool = True) -> int:
        """Batch normalisation."""
        return self.same(x, (4 if scale else 3) * self.layers[x].shape[-1])

    def conv(
        self,
        x: int,
        filters: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        valid: bool = False,
        bias: bool = False,
    ) -> int:
        """A convolution."""
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        channels = self.layers[x].shape[-1]
        weights = size[0] * size[1] * channels * filters
        shape = (*self._window(x, size, stride, valid), filters)
        return self._add((x,), shape, weights + filters * bias, 2 * shape[0] * shape[1] * weights)

    def depthwise(self, x: int, kernel: int, stride: int = 1, *, valid: bool = False) -> int:
        """A convolution of each channel by itself."""
        channels = self.layers[x].shape[-1]
        shape = (*self._window(x, (kernel, kernel), stride, valid), channels)
        weights = kernel * kernel * channels
        return self._add((x,), shape, weights, 2 * shape[0] * shape[1] * weights)

    def separable(self, x: int, filters: int) -> int:
        """A 3x3 depthwise convolution and a 1x1 one, as one layer."""
        height, width, channels = self.layers[x].shape
        weights = 9 * channels + channels * filters
        return self._add((x,), (height, width, filters), weights, 2 * height * width * weights)

    def pad(self, x: int, before: int, after: int) -> int:
        """Zeros around."""
        height, width, channels = self.layers[x].shape
        more = before + after
        return self._add((x,), (height + more, width + more, channels))

    def pool(self, x: int, kernel: int, stride: int, *, valid: bool = True) -> int:
        """Maximum or mean of windows."""
        shape = (*self._window(x, (kernel, kernel), stride, valid), self.layers[x].shape[-1])
        return self._add((x,), shape)

    def mean(self, x: int) -> int:
        """Mean of each channel."""
        return self._add((x,), (self.layers[x].shape[-1],))

    def flatten(self, x: int) -> int:
        """All values in a row."""
        return self._add((x,), (self.layers[x].elements,))

    def dense(self, x: int, features: int) -> int:
        """A fully connected layer."""
        values = self.layers[x].elements
        return self._add((x,), (features,), (values + 1) * features, 2 * values * features)

    def add(self, *inputs: int) -> int:
        """Sum, or a product, of like tensors."""
        return self._add(inputs, self.layers[inputs[0]].shape)

    def concat(self, *inputs: int) -> int:
        """Channels of all inputs behind one another."""
        height, width, _ = self.layers[inputs[0]].shape
        return self._add(inputs, (height, width, sum(self.layers[x].shape[-1] for x in inputs)))

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        """The same values in another shape."""
        return self._add((x,), shape)

    def consumers(self) -> list[list[int]]:
        """Who reads each layer's output."""
        readers: list[list[int]] = [[] for _ in self.layers]
        for i, layer in enumerate(self.layers):
            for x in layer.inputs:
                readers[x].append(i)
        return readers

    def _window(self, x: int, kernel: tuple[int, int], stride: int, valid: bool) -> tuple[int, int]:
        height, width, _ = self.layers[x].shape
        if valid:
            height, width = height - kernel[0] + 1, width - kernel[1] + 1
        return -(-height // stride), -(-width // stride)

    def _add(
        self,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        parameters: int = 0,
        flops: int | None = None,
    ) -> int:
        flops = math.prod(shape) if flops is None else flops
        self.layers.append(Layer(inputs, shape, parameters, flops))
        return len(self.layers) - 1
