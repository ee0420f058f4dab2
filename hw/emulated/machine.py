"""What the emulated machine is: its clocks, their delays, its heat. No board is meant by it."""

from __future__ import annotations

from dataclasses import dataclass

from hw.device.thermal import ThermalModel


@dataclass(frozen=True, slots=True)
class ClockTable:
    """One clock of the machine.

    Attributes:
        available_hz: ascending operating points.
        delay_s: from a request until it is in force.
    """

    available_hz: tuple[int, ...]
    delay_s: float


HOST, NETWORK = "cpu", "gpu"
"""The clock of the processor, which prepares inputs, encodes and packs; and that of the network."""

CLOCKS = {
    HOST: ClockTable((220_000_000, 450_000_000, 700_000_000, 1_000_000_000), delay_s=0.002),
    NETWORK: ClockTable(
        (150_000_000, 240_000_000, 340_000_000, 450_000_000, 570_000_000, 690_000_000),
        delay_s=0.010,
    ),
}
"""Both end far from those of every shipped device, so that no policy of one is taken for its own;
all work goes 4.5 times as fast at the top as at the bottom, as on boards."""

HEAT = ThermalModel(
    offset_c=6.0,
    fast_c_per_w=1.5,
    fast_tau_s=2.0,
    slow_c_per_w=4.5,
    slow_tau_s=90.0,
    throttle_c=75.0,
    throttle_span_c=15.0,
)
"""At 25 C the busiest machine stays below the limit by 7 C; from 33 C of air on it would not."""
