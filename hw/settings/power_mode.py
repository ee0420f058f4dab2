"""Jetson power modes: which one is in force, what it allows and what it writes (nvpmodel)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hw.errors import HardwareError
from hw.left_out import leaving_out
from hw.sysfs import Sysfs

STATUS = "var/lib/nvpmodel/status"
CONF = "etc/nvpmodel.conf"
NO_LIMIT = -1
TABLE = "FREQ_TABLE"
"""Argument that names the file of a clock's operating points."""
TABLES_BESIDE = ("scaling_available_frequencies", "available_frequencies")
"""Names of such files next to the limits."""
NEXT_KERNEL = "_KNEXT"
"""Since JetPack 5 one file serves two kernels: a second path of the same argument ends so."""
_TAG = re.compile(r"<\s*(\w+)\s*([^>]*)>")
_ATTRIBUTE = re.compile(r"(\w+)=(\S+)")
_Argument = tuple[str, str]


class PowerModes:
    """The modes that nvpmodel knows; on machines without nvpmodel there is none.

    Args:
        sysfs: access to the kernel's files.
    """

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs = sysfs
        self._files: dict[_Argument, str] = {}  # (parameter, argument) -> file
        self._texts: dict[str, dict[_Argument, str]] = {}  # mode -> the same -> what it writes
        self._last = ""
        self.names: dict[str, str] = {}
        conf = sysfs.path(CONF)
        self.unread: list[str] = []
        if sysfs.exists(conf):
            with leaving_out(self.unread):
                self._parse(sysfs.read_text(conf))

    def current(self) -> str | None:
        """Number of the mode in force, as text; None without nvpmodel, or if it does not say."""
        try:
            status = self._sysfs.read_text(self._sysfs.path(STATUS))
        except HardwareError:
            return None
        match = re.search(r"pmode:0*(\d+)", status)
        if match is None:
            return None
        self._last = match.group(1)
        return self._last

    def title(self) -> str | None:
        """Number and name of the mode in force, for people."""
        mode = self.current()
        return mode if mode is None else f"{mode} {self.names.get(mode, '')}".strip()

    def limit(self, path: Path) -> int | None:
        """What the mode in force wrote to a limit file, in the file's unit; None if nothing.

        While the status is not reported, the mode counts that was in force last, or the one that
        nvpmodel takes by default.
        """
        mode = self._texts.get(self.current() or self._last, {})
        for argument in self._arguments_of(path):
            text = _said(mode, argument)
            if text is not None and _is_number(text):
                return None if int(text) == NO_LIMIT else int(text)
        return None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that some mode sets, whether it exists on this release or not."""
        return tuple(self._sysfs.path(file.lstrip("/")) for file in self._files.values())

    def writes(self, mode: str, path: Path) -> bool:
        """Whether a mode sets a file when it is chosen."""
        texts = self._texts.get(mode, {})
        return any(_said(texts, argument) is not None for argument in self._arguments_of(path))

    def sets(self, mode: str, path: Path) -> str | None:
        """Text that nvpmodel writes to a file when a mode is chosen; None if that is not known.

        No limit means the end of the table that belongs to the file, and a limit between two
        operating points the lower one. Where there is no table it is the text itself, -1 for no
        limit, as the cap of the memory clock takes it.
        """
        for argument in self._arguments_of(path):
            text = _said(self._texts.get(mode, {}), argument)
            if text is None:
                continue
            table = self._table_of(argument) or self._table_beside(path)
            if table and _is_number(text):
                return str(_in_table(table, int(text), is_lowest="MIN" in argument[1]))
            return text
        return None

    def knows(self, mode: str) -> bool:
        """Whether the configuration says what a mode sets."""
        return mode in self._texts

    def sets_now(self, path: Path) -> int | None:
        """Number that the mode in force wrote to a file; None if it wrote none."""
        text = self.sets(self.current() or self._last, path)
        return int(text) if text is not None and text.isdigit() else None

    def _table_of(self, argument: _Argument) -> list[int]:
        """Operating points that nvpmodel finds next to a file, ascending; none if it seeks none.

        Under several paths the one that exists on this release counts.
        """
        for spelling in (TABLE, TABLE + NEXT_KERNEL):
            file = self._files.get((argument[0], spelling), "")
            with suppress(HardwareError):
                return sorted(self._sysfs.read_ints(self._sysfs.path(file.lstrip("/"))))
        return []

    def _table_beside(self, path: Path) -> list[int]:
        """Operating points within which the kernel takes a limit, ascending; none for other files.

        nvpmodel writes the plain number where its configuration names no table.
        """
        for name in TABLES_BESIDE:
            with suppress(HardwareError):
                return sorted(self._sysfs.read_ints(path.with_name(name)))
        return []

    def _arguments_of(self, path: Path) -> Iterator[_Argument]:
        wanted = self._sysfs.real_path(path)
        for argument, file in self._files.items():
            if self._sysfs.real_path(self._sysfs.path(file.lstrip("/"))) == wanted:
                yield argument

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
                elif kind == "PM_CONFIG":
                    self._last = self._last or attributes.get("DEFAULT", "")
            elif kind == "PARAM" and len(words) == 2:
                self._files[name, words[0]] = words[1]
            elif kind == "POWER_MODEL" and len(words) == 3:
                texts, argument = self._texts.setdefault(name, {}), (words[0], words[1])
                if argument not in texts or _is_number(words[2]):
                    texts[argument] = words[2]


def _in_table(table: list[int], limit: int, *, is_lowest: bool) -> int:
    if is_lowest:
        return next((point for point in table if point >= limit), table[-1])
    if limit == NO_LIMIT:
        return table[-1]
    return max((point for point in table if point <= limit), default=table[0])


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _said(mode: dict[_Argument, str], argument: _Argument) -> str | None:
    """What a mode says of an argument, in whichever of its two spellings; its own comes first."""
    parameter, name = argument
    plain = name.removesuffix(NEXT_KERNEL)
    for spelling in (name, plain, plain + NEXT_KERNEL):
        if (parameter, spelling) in mode:
            return mode[parameter, spelling]
    return None
