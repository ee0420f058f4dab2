"""What each split point costs on a device and on the wire, as arrays over split points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from envs.signals import Floats
from hw.device import Demand, DeviceModel


class SplitPointSizes(Protocol):
    """The sizes of one split point, as `partition.model_folder.SplitPoint` has them."""

    @property
    def name(self) -> str:
        """Readable name of the cut."""

    @property
    def wire_bytes(self) -> int:
        """Bytes sent per request; 0 when nothing is sent."""

    @property
    def head_flops(self) -> float:
        """Floating-point operations before the cut."""

    @property
    def head_traffic_bytes(self) -> float:
        """Bytes of weights and activations that the head moves."""

    @property
    def head_kernels(self) -> int:
        """Kernels launched by the head."""


@dataclass(frozen=True, slots=True)
class SplitCosts:
    """Costs of every split point of one network on one device; arrays of shape (n_splits,).

    Index 0 sends the input (cloud-only), the last one sends nothing (edge-only). A network that
    was not measured on the device is scaled by the device's model: modelled, not measured.

    Attributes:
        head: work of the device before the cut.
        tail: work of the device when it has to finish the request itself.
        wire_bytes: uplink bytes.
        tail_flops: work of the server.
        traffic_bytes: memory traffic of the head.
        accuracy: share of inputs on which the split network agrees with the whole one.
        edge_share: the head's share of the network's operations, 0..1.
    """

    head: Demand
    tail: Demand
    wire_bytes: Floats
    tail_flops: Floats
    traffic_bytes: Floats
    accuracy: Floats
    edge_share: Floats

    @classmethod
    def of(
        cls, device: DeviceModel, points: Sequence[SplitPointSizes], accuracy: Sequence[float]
    ) -> SplitCosts:
        """Scale a network's split points to a device.

        Args:
            device: the device model.
            points: split points by depth, from the input to the output.
            accuracy: one value in 0..1 per split point.
        """
        flops = np.array([point.head_flops for point in points], dtype=np.float64)
        traffic = np.array([point.head_traffic_bytes for point in points], dtype=np.float64)
        kernels = np.array([point.head_kernels for point in points], dtype=np.float64)
        return cls(
            head=device.demand(flops, traffic, kernels),
            tail=device.demand(flops[-1] - flops, traffic[-1] - traffic, kernels[-1] - kernels),
            wire_bytes=np.array([point.wire_bytes for point in points], dtype=np.float64),
            tail_flops=flops[-1] - flops,
            traffic_bytes=traffic,
            accuracy=np.asarray(accuracy, dtype=np.float64),
            edge_share=flops / flops[-1],
        )

    def rows(self) -> Floats:
        """Stack all columns, shape (n_columns, n_splits), so that one gather serves them all."""
        demands = [
            part
            for demand in (self.head, self.tail)
            for part in (
                demand.fixed_s,
                demand.cpu_cycles,
                demand.gpu_cycles,
                demand.emc_cycles,
            )
        ]
        return np.array(
            [
                *demands,
                self.wire_bytes,
                self.tail_flops,
                self.traffic_bytes,
                self.accuracy,
                self.edge_share,
            ]
        )

    @classmethod
    def from_rows(cls, rows: Floats) -> SplitCosts:
        """Undo `rows`, possibly after a gather along its second axis."""
        return cls(Demand(*rows[0:4]), Demand(*rows[4:8]), *rows[8:])
