"""Which clocks the governors of a board move, and what they go by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec import structs

from hw.device.governors import Processor
from hw.device.model import DOMAINS, DeviceModel


@dataclass(frozen=True, slots=True)
class Governing:
    """Clocks of a board under their governors.

    Attributes:
        domains: that governors move; others stay where they were set.
        cpu: governor of the CPU; the device's own if None.
        host_spins: whether a core waits for the GPU by looking again and again, as CUDA's default
            has it, so that it seems busy throughout; else it sleeps until it is woken.
    """

    domains: tuple[str, ...] = DOMAINS
    cpu: Processor | None = None
    host_spins: bool = True

    def device(self, device: DeviceModel) -> DeviceModel:
        """The device with that governor."""
        if self.cpu is None:
            return device
        return replace(device, governors=structs.replace(device.governors, cpu=self.cpu))
