"""Jetson power modes: which one is in force and what it allows (nvpmodel)."""

from __future__ import annotations

import re
from pathlib import Path

from hw.errors import HardwareError
from hw.sysfs import Sysfs

STATUS = "var/lib/nvpmodel/status"
CONF = "etc/nvpmodel.conf"
NO_LIMIT = -1
_TAG = re.compile(r"<\s*(\w+)\s*([^>]*)>")
_ATTRIBUTE = re.compile(r"(\w+)=(\S+)")


class PowerModes:
    """The modes that nvpmodel knows; on machines without nvpmodel there is none.

    Args:
        sysfs: access to the kernel's files.
    """

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._files: dict[tuple[str, str], str] = {}  # (parameter, argument) -> file
        self._values: dict[str, dict[tuple[str, str], int]] = {}  # mode -> the same -> value
        self.names: dict[str, str] = {}
        conf = sysfs.path(CONF)
        if sysfs.exists(conf):
            self._parse(sysfs.read_text(conf))

    def current(self) -> str | None:
        """Number of the mode in force, as text; None without nvpmodel."""
        try:
            status = self._sysfs.read_text(self._sysfs.path(STATUS))
        except HardwareError:
            return None
        match = re.search(r"pmode:0*(\d+)", status)
        return match.group(1) if match else None

    def title(self) -> str | None:
        """Number and name of the mode in force, for people."""
        mode = self.current()
        return mode if mode is None else f"{mode} {self.names.get(mode, '')}".strip()

    def limit(self, path: Path) -> int | None:
        """What the mode in force wrote to a limit file, in the file's unit; None if nothing."""
        mode = self._values.get(self.current() or "", {})
        wanted = self._sysfs.real_path(path)
        for parameter, file in self._files.items():
            if self._sysfs.real_path(self._sysfs.path(file.lstrip("/"))) == wanted:
                value = mode.get(parameter, NO_LIMIT)
                return None if value == NO_LIMIT else value
        return None

    def _parse(self, text: str) -> None:
        """Read leniently: the order of attributes differs between releases."""
        kind, name = "", ""
        for line in text.splitlines():
            said = line.split("#", 1)[0]
            words = said.split()
            tag = _TAG.search(said)
            if tag:
                attributes = dict(_ATTRIBUTE.findall(tag.group(2)))
                kind = tag.group(1)
                name = attributes.get("ID" if kind == "POWER_MODEL" else "NAME", "")
                if kind == "POWER_MODEL":
                    self.names[name] = attributes.get("NAME", "")
            elif kind == "PARAM" and len(words) == 2:
                self._files[name, words[0]] = words[1]
            elif kind == "POWER_MODEL" and len(words) == 3 and words[2].lstrip("-").isdigit():
                self._values.setdefault(name, {})[words[0], words[1]] = int(words[2])
