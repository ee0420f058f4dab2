"""Clock tables of boards, as published for one release of their software; kHz and Hz."""

from __future__ import annotations

from collections.abc import Iterable


def steps_khz(first: int, last: int, step: int) -> tuple[int, ...]:
    """Equal steps from the first point, and the last one wherever it lies."""
    return (*range(first, last, step), last)


def mhz(values: Iterable[float]) -> tuple[int, ...]:
    """Hz of MHz."""
    return tuple(round(value * 1e6) for value in values)


NANO_CPU_KHZ = (
    *(102000, 204000, 307200, 403200, 518400, 614400, 710400, 825600),
    *(921600, 1036800, 1132800, 1224000, 1326000, 1428000, 1479000),
)
NANO_GPU_HZ = mhz(76.8 * step for step in range(1, 13))
# Below 1600 MHz unverified.
NANO_EMC_HZ = mhz((68, 102, 204, 408, 665.6, 800, 1065.6, 1331.2, 1600))

TX2_CPU_KHZ = steps_khz(345_600, 2_035_200, 153_600)
TX2_GPU_HZ = mhz(
    (
        *(114.75, 216.75, 318.75, 420.75, 522.75, 624.75, 726.75, 854.25),
        *(930.75, 1032.75, 1122, 1236.75, 1300.5),
    )
)
TX2_EMC_HZ = mhz((40.8, 68, 102, 204, 408, 665.6, 800, 1062.4, 1331.2, 1600, 1866))

XAVIER_NX_CPU_KHZ = steps_khz(115_200, 1_907_200, 76_800)
XAVIER_NX_GPU_HZ = mhz(
    (
        *(114.75, 204, 306, 408, 510, 599.25, 701.25, 752.25, 803.25, 854.25),
        *(905.25, 956.25, 1007.25, 1058.25, 1109.25),
    )
)
XAVIER_NX_EMC_HZ = mhz((204, 408, 665.6, 800, 1065.6, 1331.2, 1600, 1866))  # guess below 1600

ORIN_NANO_CPU_KHZ = steps_khz(115_200, 1_510_400, 76_800)
ORIN_NANO_GPU_HZ = mhz((306, 408, 510, 612, 624.75))
ORIN_NANO_SUPER_CPU_KHZ = steps_khz(115_200, 1_728_000, 76_800)
ORIN_NANO_SUPER_GPU_HZ = mhz(range(306, 1021, 102))
ORIN_NX_CPU_KHZ = steps_khz(115_200, 1_984_000, 76_800)  # the end is unverified
ORIN_NX_GPU_HZ = mhz((306, 408, 510, 612, 714, 816, 918))
AGX_ORIN_CPU_KHZ = steps_khz(115_200, 2_201_600, 76_800)
AGX_ORIN_GPU_HZ = mhz((*range(306, 1225, 102), 1300.5))
ORIN_EMC_HZ = mhz((204, 665.6, 2133))
ORIN_FAST_EMC_HZ = mhz((204, 665.6, 2133, 3199))

# Guesses, except that its GPU domains exist.
THOR_CPU_KHZ = steps_khz(54_000, 2_601_000, 81_000)
THOR_GPU_HZ = mhz((*range(315, 1576, 105),))
THOR_EMC_HZ = mhz((665.6, 2133, 3200, 4266))

PI_4_CPU_KHZ = steps_khz(600_000, 1_800_000, 100_000)  # ends unverified
PI_5_CPU_KHZ = steps_khz(1_500_000, 2_400_000, 100_000)  # ends unverified

RK3588_A55_KHZ = (408_000, 600_000, 816_000, 1_008_000, 1_200_000, 1_416_000, 1_608_000, 1_800_000)
RK3588_A76_KHZ = (
    *(408_000, 600_000, 816_000, 1_008_000, 1_200_000, 1_416_000, 1_608_000),
    *(1_800_000, 2_016_000, 2_208_000, 2_400_000),
)
RK3588_GPU_HZ = mhz((300, 400, 500, 600, 700, 800, 900, 1000))  # unverified
RK3588_NPU_HZ = mhz((300, 400, 500, 600, 700, 800, 900, 1000))  # unverified
RK3588_DMC_HZ = mhz((528, 1068, 1560, 2112))  # unverified

ACPI_CPU_KHZ = (800_000, 1_200_000, 1_600_000, 2_000_000, 2_400_000, 2_400_001)
"""The last point stands for turbo, one kHz above the nominal clock."""
ACPI_BOOST_KHZ = (1_400_000, 1_600_000, 1_800_000)
"""P-states of a Ryzen laptop: boost is in none of them, only in cpuinfo_max_freq."""
