"""A control group that bounds the processor time of this process.

Sources: Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst. A group is made below
the root of the hierarchy, and undone by moving its processes back and removing it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hw.errors import HardwareError, PermissionDeniedError, UnsupportedError
from hw.settings.known import known_file
from hw.settings.settings import Value, relative
from hw.sysfs import Sysfs

V1_ROOTS = ("sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpu")
V2_ROOT = "sys/fs/cgroup"
QUOTA_US = 1000
"""Shortest that the kernel takes; short turns slow a process down evenly."""
PROCESSES = "cgroup.procs"


class QuotaGroup:
    """A group whose processes share a part of one processor.

    Args:
        sysfs: access to the kernel's files.
        folder: of the group; made by `enter`.
        home: folder of the group that its processes came from.
    """

    kind = "cgroup"
    files: tuple[Path, ...] = ()

    def __init__(self, sysfs: Sysfs, folder: Path, home: Path) -> None:
        self._sysfs = sysfs
        self._folder, self._home = folder, home
        self.key = str(folder)

    @classmethod
    def of_process(cls, sysfs: Sysfs) -> QuotaGroup:
        """The group that this process will make for itself.

        Raises:
            UnsupportedError: this machine has no cgroup hierarchy that bounds processor time.
        """
        root, home = _hierarchy(sysfs)
        return cls(sysfs, root / f"dvfo-{os.getpid()}", home)

    def enter(self) -> None:
        """Make the group and move this process into it.

        Raises:
            PermissionDeniedError: this user may not.
            HardwareError: the kernel refused.
        """
        try:
            self._folder.mkdir(exist_ok=True)
        except PermissionError:
            raise PermissionDeniedError(
                f"{self._folder} cannot be made; run as root to emulate clocks"
            ) from None
        except OSError as error:
            raise HardwareError(f"{self._folder} cannot be made: {error}") from None
        if not (self._sysfs.exists(self._max) or self._sysfs.exists(self._quota)):
            self._folder.rmdir()
            raise UnsupportedError(
                f"{self._folder.parent} does not bound processor time; enable it: "
                f"echo +cpu > {self._folder.parent / 'cgroup.subtree_control'}"
            )
        self._sysfs.write_text(self._folder / PROCESSES, str(os.getpid()))

    def allow(self, share: float) -> None:
        """Bound the processes to a share of one processor, 0..1; all of it is no bound."""
        period_us = round(QUOTA_US / share)
        if self._sysfs.exists(self._max):
            quota = "max" if share >= 1.0 else str(QUOTA_US)
            self._sysfs.write_text(self._max, f"{quota} {period_us}")
            return
        # No bound first: the kernel refuses a quota that the old period cannot hold.
        self._sysfs.write_text(self._quota, "-1")
        if share < 1.0:
            self._sysfs.write_text(self._folder / "cpu.cfs_period_us", str(period_us))
            self._sysfs.write_text(self._quota, str(QUOTA_US))

    def read(self) -> Value:
        """Nothing: the group is not there before."""
        return ""

    def is_absent(self) -> bool:
        """Never: a group that is gone has given its processes back."""
        return False

    def restore(self, value: Value) -> None:
        """Move all processes back and remove the group.

        Raises:
            HardwareError: the kernel refused.
        """
        if not self._sysfs.exists(self._folder):
            return
        for process in self._sysfs.read_text(self._folder / PROCESSES).split():
            self._sysfs.write_text(self._home / PROCESSES, process)
        self._sysfs.close()
        try:
            self._folder.rmdir()
        except OSError as error:
            raise HardwareError(f"{self._folder} cannot be removed: {error}") from None

    @classmethod
    def from_document(cls, sysfs: Sysfs, document: Mapping[str, str]) -> QuotaGroup:
        """Rebuild it from its description.

        Raises:
            JournalError: a folder that is none of these groups.
        """
        folder = known_file(sysfs, cls.kind, document["folder"])
        return cls(sysfs, folder, known_file(sysfs, "cgroup-home", document["home"]))

    def document(self) -> dict[str, str]:
        """Describe both folders."""
        return {
            "kind": self.kind,
            "folder": relative(self._sysfs, self._folder),
            "home": relative(self._sysfs, self._home),
        }

    @property
    def _max(self) -> Path:
        return self._folder / "cpu.max"

    @property
    def _quota(self) -> Path:
        return self._folder / "cpu.cfs_quota_us"


def _hierarchy(sysfs: Sysfs) -> tuple[Path, Path]:
    """Root of the hierarchy that bounds processor time, and this process' group in it."""
    groups = {}
    for line in sysfs.read_text(sysfs.path("proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = group.lstrip("/")
    for name in V1_ROOTS:
        root = sysfs.path(name)
        if "cpu" in groups and sysfs.exists(root / "cpu.cfs_quota_us"):
            return root, root / groups["cpu"]
    root = sysfs.path(V2_ROOT)
    if "" in groups and sysfs.exists(root / "cgroup.controllers"):
        return root, root / groups[""]
    raise UnsupportedError(
        f"no cgroup hierarchy under {root} bounds processor time; mount cgroup2 there"
    )
