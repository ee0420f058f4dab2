"""Counted work of a piece of a network; needs no ONNX, so that simulators can use it."""

from __future__ import annotations

from dataclasses import dataclass

from common.schema import Count


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of a piece of the graph, counted, not measured."""

    flops: Count = 0
    """Two per multiply-accumulate; one per output element of any other operator."""
    param_bytes: Count = 0
    traffic_bytes: Count = 0
    """float32 weights, inputs and outputs of every kernel."""
    kernels: Count = 0

    def __add__(self, other: Cost) -> Cost:
        """Cost of both pieces."""
        return Cost(
            self.flops + other.flops,
            self.param_bytes + other.param_bytes,
            self.traffic_bytes + other.traffic_bytes,
            self.kernels + other.kernels,
        )

    def __sub__(self, other: Cost) -> Cost:
        """Cost of what is left without a piece."""
        return Cost(
            self.flops - other.flops,
            self.param_bytes - other.param_bytes,
            self.traffic_bytes - other.traffic_bytes,
            self.kernels - other.kernels,
        )
