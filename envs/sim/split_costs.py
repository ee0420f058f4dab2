"""Costs of each route on a device and on the wire, as arrays over routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from envs.arrays import Floats
from hw.device.model import Demand, DeviceModel
from partition.model.cost import Cost
from partition.model.routes import RouteOption


@dataclass(frozen=True, slots=True)
class SplitCosts:
    """Costs of every route of one network on one device; arrays of shape (n_routes,).

    Index 0 sends the input (cloud-only), the last one sends nothing (edge-only). A network that
    was not measured on the device is scaled by the device's model: modelled, not measured.

    Attributes:
        head: work of the device before anything is sent, attention, light branch and what the
            processor does beside the network included.
        tail: work of the device when it has to finish the request itself.
        wire_bytes: uplink bytes.
        tail_flops: work of the server.
        traffic_bytes: memory traffic of the head.
        tail_traffic_bytes: the same of the tail, when the device has to finish.
        accuracy: share of right answers where it was measured, or what is left of the unsplit
            network's answer; NaN, of all routes alike, where it is unknown.
        fallback_accuracy: the same of the device's own answer.
        edge_share: the head's operations over those of the whole network.
    """

    head: Demand
    tail: Demand
    wire_bytes: Floats
    tail_flops: Floats
    traffic_bytes: Floats
    tail_traffic_bytes: Floats
    accuracy: Floats
    fallback_accuracy: Floats
    edge_share: Floats

    @classmethod
    def of(cls, device: DeviceModel, options: Sequence[RouteOption]) -> SplitCosts:
        """Scale a network's routes to a device.

        Args:
            device: the device model.
            options: by depth, from the input to the output.
        """

        def column(values: Iterable[float | None]) -> Floats:
            return np.array(list(values), dtype=np.float64)  # None becomes NaN

        head = [option.edge for option in options]
        wire_bytes = column(option.wire_bytes for option in options)
        network = _demand(device, head)
        return cls(
            head=replace(network, cpu_cycles=network.cpu_cycles + device.host.cycles(wire_bytes)),
            tail=_demand(device, [option.fallback for option in options]),
            wire_bytes=wire_bytes,
            tail_flops=column(option.cloud_flops for option in options),
            traffic_bytes=column(cost.traffic_bytes for cost in head),
            tail_traffic_bytes=column(option.fallback.traffic_bytes for option in options),
            accuracy=column(option.accuracy for option in options),
            fallback_accuracy=column(option.fallback_accuracy for option in options),
            edge_share=column(cost.flops / head[-1].flops for cost in head),
        )

    def with_files(self, device: DeviceModel, picture_bytes: int) -> SplitCosts:
        """With inputs that come as files, and are sent as they are if that is less.

        The server then prepares them, and nothing is lost on the way.

        Args:
            device: the device model.
            picture_bytes: of a file; 0 where none comes.
        """
        saved_bytes = float(self.wire_bytes[0]) - picture_bytes
        if picture_bytes == 0 or saved_bytes <= 0.0:
            return self
        wire_bytes, cycles, accuracy = (
            np.array(part, dtype=np.float64)
            for part in (self.wire_bytes, self.head.cpu_cycles, self.accuracy)
        )
        wire_bytes[0] = picture_bytes
        cycles[0] -= device.host.cpu_cycles_per_byte * saved_bytes
        accuracy[0] = self.fallback_accuracy[0]
        head = replace(self.head, cpu_cycles=cycles)
        return replace(self, head=head, wire_bytes=wire_bytes, accuracy=accuracy)

    def rows(self) -> Floats:
        """Stack all columns, shape (n_columns, n_routes), so that one gather serves them all."""
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
                self.tail_traffic_bytes,
                self.accuracy,
                self.fallback_accuracy,
                self.edge_share,
            ]
        )

    @classmethod
    def from_rows(cls, rows: Floats) -> SplitCosts:
        """Undo `rows`, possibly after a gather along its second axis."""
        return cls(Demand(*rows[0:4]), Demand(*rows[4:8]), *rows[8:])


def _demand(device: DeviceModel, costs: Sequence[Cost]) -> Demand:
    flops, traffic_bytes, kernels = (
        np.array([getattr(cost, name) for cost in costs], dtype=np.float64)
        for name in ("flops", "traffic_bytes", "kernels")
    )
    return device.network.demand(flops, traffic_bytes, kernels)
