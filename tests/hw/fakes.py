"""A /sys tree in a temporary folder whose cpufreq files behave like the kernel's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hw.sysfs import Sysfs

TABLE_KHZ = (600_000, 800_000, 1_000_000, 1_500_000)


class FakeSysfs(Sysfs):
    """Files under `root`; cpufreq limits follow an "old" (refusing) or "new" (QoS) kernel."""

    def __init__(self, root: Path, *, kernel: str = "new") -> None:
        super().__init__(root)
        self.kernel = kernel
        self.writes: list[tuple[str, str]] = []
        self.fails: dict[str, int] = {}  # path below root -> errno
        self.cap_khz: int | None = None  # what a thermal cap leaves
        self._requests: dict[Path, dict[str, int]] = {}

    def add(self, files: dict[str, object]) -> FakeSysfs:
        for name, value in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        return self

    def add_policy(
        self,
        number: int = 0,
        *,
        table_khz: tuple[int, ...] | None = TABLE_KHZ,
        limits_khz: tuple[int, int] = (600_000, 1_500_000),
    ) -> FakeSysfs:
        folder = f"sys/devices/system/cpu/cpufreq/policy{number}"
        low, high = limits_khz
        self.add(
            {
                f"{folder}/scaling_min_freq": low,
                f"{folder}/scaling_max_freq": high,
                f"{folder}/scaling_cur_freq": high,
                f"{folder}/cpuinfo_min_freq": (table_khz or limits_khz)[0],
                f"{folder}/cpuinfo_max_freq": (table_khz or limits_khz)[-1],
            }
        )
        if table_khz is not None:
            # Some drivers list them in descending order.
            words = " ".join(str(khz) for khz in reversed(table_khz))
            self.add({f"{folder}/scaling_available_frequencies": words})
        return self

    def snapshot(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def _read(self, path: Path) -> str:
        self._fail(path)
        return super()._read(path)

    def _write(self, path: Path, value: str) -> None:
        self._fail(path)
        self.writes.append((path.name, value))
        if path.name in ("scaling_min_freq", "scaling_max_freq"):
            self._set_limit(path.parent, path.name, int(value))
        else:
            super()._write(path, value)

    def _fail(self, path: Path) -> None:
        code = self.fails.get(str(path.relative_to(self.root)))
        if code is not None:
            raise OSError(code, os.strerror(code))

    def _set_limit(self, folder: Path, file: str, raw_khz: int) -> None:
        names = ("scaling_min_freq", "scaling_max_freq")
        shown = {name: int((folder / name).read_text()) for name in names}
        if self.kernel == "old":
            shown[file] = raw_khz
            if shown["scaling_min_freq"] > shown["scaling_max_freq"]:
                raise OSError(errno.EINVAL, "Invalid argument")
            requests = shown
        else:
            requests = self._requests.setdefault(folder, dict(shown))
            requests[file] = raw_khz
        low, high = requests["scaling_min_freq"], requests["scaling_max_freq"]
        table = folder / "scaling_available_frequencies"
        if table.exists():
            table_khz = sorted(int(word) for word in table.read_text().split())
            low = min((khz for khz in table_khz if khz >= low), default=table_khz[-1])
            high = max((khz for khz in table_khz if khz <= high), default=table_khz[0])
        high = min(high, self.cap_khz or high)
        low = min(low, high)
        (folder / "scaling_min_freq").write_text(f"{low}\n")
        (folder / "scaling_max_freq").write_text(f"{high}\n")
        (folder / "scaling_cur_freq").write_text(f"{high}\n")


class FakeClock:
    """Time that passes only when slept."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s += seconds
