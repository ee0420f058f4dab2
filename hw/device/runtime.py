"""Run-times of a device: one board computes the same network at very different speeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.schema import NonNegative, Positive, Table, Text
from hw.device.latency import NetworkScaling

UNNAMED = "tensorflow"
"""Run-time of a file that names none: those of earlier versions were scaled from networks that were
measured on a TX2 under TensorFlow."""


class Activity(Table, frozen=True):
    """How much of a busy unit's power a network draws: short networks leave it idle in between.

    The factor is `level + rise * t / (t + half_s)`, with the network's latency t at the highest
    clocks. 1 is what the device's power section says of a busy unit.

    Attributes:
        level: factor of a network that takes no time.
        rise: what a long one has more.
        half_s: latency at which half of the rise is reached, s.
        on_cpu: whether it is a factor on the CPU's power, rather than on the GPU's.
    """

    level: NonNegative
    rise: NonNegative
    half_s: Positive
    on_cpu: bool = False

    def factor(self, latency_s: float) -> float:
        """Factor of a network with this latency at the highest clocks."""
        return self.level + self.rise * latency_s / (latency_s + self.half_s)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What computes networks on a device.

    Attributes:
        network: scaling of networks that were not measured.
        measured: what of it was measured, as a sentence.
        assumed: what of it was assumed, as a sentence.
        activity: factor of a network on the power of one unit; None for 1.
    """

    network: NetworkScaling
    measured: str
    assumed: str
    activity: Activity | None = None


class RuntimeTable(Table, frozen=True):
    """A run-time in a device file: coefficients of its own, or a factor on those of another.

    Attributes:
        measured: what of it was measured.
        assumed: what of it was assumed.
        network: its coefficients, if they are its own.
        factor: latency over that of the run-time `of`, otherwise.
        of: name of that run-time.
        activity: of networks.
    """

    measured: Text
    assumed: Text
    network: NetworkScaling | None = None
    factor: Positive | None = None
    of: Text | None = None
    activity: Activity | None = None

    def __post_init__(self) -> None:
        """Refuse a run-time that says its latency twice, or not at all."""
        if (self.network is None) == (self.factor is None) or (self.factor is None) != (
            self.of is None
        ):
            raise ValueError("give either network, or factor and of")


def resolve(tables: Mapping[str, RuntimeTable]) -> dict[str, Runtime]:
    """Run-times by name, factors multiplied out.

    Raises:
        ValueError: a factor is on a run-time that is not there or has no coefficients of its own.
    """
    found = {}
    for name, table in tables.items():
        network = table.network
        if network is None and table.of is not None and table.factor is not None:
            base = tables[table.of].network if table.of in tables else None
            if base is None:
                own = ", ".join(other for other, it in tables.items() if it.network is not None)
                raise ValueError(
                    f"runtimes.{name}.of is {table.of!r}; give one with coefficients of its own: "
                    f"{own or 'there is none'}"
                )
            network = base.times(table.factor)
        assert network is not None
        found[name] = Runtime(network, table.measured, table.assumed, table.activity)
    return found
