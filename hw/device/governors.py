"""Which governor a device's kernel has for each clock."""

from __future__ import annotations

from typing import Literal

from common.schema import Table

SCHEDUTIL = "schedutil"
ONDEMAND = "ondemand"
POD_SCALING = "nvhost_podgov"
SIMPLE_ONDEMAND = "simple_ondemand"
FOLLOWS_GPU = "follows-gpu"

Processor = Literal["schedutil", "ondemand"]
Device = Literal["nvhost_podgov", "simple_ondemand", "schedutil"]
Memory = Literal["follows-gpu", "simple_ondemand"]


class Governors(Table, frozen=True):
    """Governors below a cap; their laws are in `hw.governors`.

    Attributes:
        cpu: of the CPU.
        gpu: of the GPU; schedutil only of the emulated board.
        emc: of the memory.
    """

    cpu: Processor = "schedutil"
    gpu: Device = "simple_ondemand"
    emc: Memory = "simple_ondemand"
