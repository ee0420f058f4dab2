"""Cost of a clock change beyond the kernel's own time: `python -m benchmarks.clock_change`.

The same clocks are set and read back once by `Board.apply` and `Board.verify`, and once by nothing
but the system calls that this takes, alternating. The files are plain ones in memory, with the
layout of a Jetson of two clusters, so that the kernel's own work (which is the same both ways) is
small; what is left is this program's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import command
from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.sysfs import Sysfs

CPU_KHZ = (345_600, 652_800, 960_000, 1_267_200, 1_574_400, 2_035_200)
GPU_HZ = (114_750_000, 318_750_000, 624_750_000, 930_750_000, 1_300_500_000)
N_ROUNDS = 2000
WARM_UP_ROUNDS = 200


def measure_change_s() -> tuple[float, float]:
    """Median time of a clock change with read-back, and of its bare system calls, s."""
    with tempfile.TemporaryDirectory() as folder:
        root, other = Path(folder) / "ours", Path(folder) / "bare"
        _build(root)
        _build(other)
        with LinuxBoard(Sysfs(root), hold=Hold.PIN) as board:
            low, high = (
                {name: domain.available_hz[end] for name, domain in board.domains.items()}
                for end in (1, -2)
            )

            def change(point: dict[str, int]) -> None:
                board.apply(point)
                board.verify()

            bare = _bare_calls(other)
            ours_s, bare_s = [], []
            for _ in range(N_ROUNDS + WARM_UP_ROUNDS):
                ours_s.append(_timed(lambda: change(low)) + _timed(lambda: change(high)))
                bare_s.append(_timed(bare) + _timed(bare))
    ours_s, bare_s = ours_s[WARM_UP_ROUNDS:], bare_s[WARM_UP_ROUNDS:]
    return statistics.median(ours_s) / 2, statistics.median(bare_s) / 2


def _build(root: Path) -> None:
    files: dict[str, object] = {"sys/devices/system/cpu/online": "0-7"}
    for policy in (0, 4):
        folder = f"sys/devices/system/cpu/cpufreq/policy{policy}"
        files |= {
            f"{folder}/scaling_available_frequencies": " ".join(map(str, CPU_KHZ)),
            f"{folder}/scaling_min_freq": CPU_KHZ[0],
            f"{folder}/scaling_max_freq": CPU_KHZ[-1],
            f"{folder}/scaling_cur_freq": CPU_KHZ[-1],
            f"{folder}/scaling_driver": "tegra194",
            f"{folder}/affected_cpus": policy,
        }
    gpu = "sys/class/devfreq/17000000.gpu"
    files |= {
        f"{gpu}/available_frequencies": " ".join(map(str, GPU_HZ)),
        f"{gpu}/min_freq": GPU_HZ[0],
        f"{gpu}/max_freq": GPU_HZ[-1],
        f"{gpu}/cur_freq": GPU_HZ[-1],
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": 45_000,
        "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive",
        "sys/class/thermal/thermal_zone0/trip_point_0_temp": 90_000,
        "sys/class/thermal/thermal_zone0/cdev0_trip_point": 0,
        "sys/class/thermal/thermal_zone0/cdev0/type": "cpufreq-cpu0",  # the guard's work counts
    }
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


def _bare_calls(root: Path) -> Callable[[], None]:
    """The reads and writes of a change of all clocks, on files that stay open."""
    pairs = [
        (folder / low, folder / high)
        for pattern, low, high in (
            ("sys/devices/system/cpu/cpufreq/policy*", "scaling_min_freq", "scaling_max_freq"),
            ("sys/class/devfreq/*", "min_freq", "max_freq"),
        )
        for folder in root.glob(pattern)
    ]
    descriptors = [os.open(path, os.O_RDWR) for pair in pairs for path in pair]

    def calls() -> None:
        for descriptor in descriptors:
            for _ in range(3):  # before, after, and at the end of the step
                os.pread(descriptor, 64, 0)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"1000000", 0)

    return calls


def _timed(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def main() -> int:
    """Run the command."""
    description = __doc__.partition("\n")[0] if __doc__ else None
    argparse.ArgumentParser(
        "python -m benchmarks.clock_change", description=description
    ).parse_args()
    ours_s, bare_s = measure_change_s()
    print(
        f"change and read-back of 3 clocks: {1e6 * ours_s:.0f} us, its bare system calls "
        f"{1e6 * bare_s:.0f} us; {1e6 * (ours_s - bare_s):.0f} us on top"
    )
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
