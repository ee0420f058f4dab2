"""Private data that must not leave a machine: serial numbers, addresses, names of hosts, people."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from hw.boards.conflicts import PROGRAMS
from hw.doctor.tree import Tree
from hw.errors import HardwareError
from hw.sysfs import Sysfs

PRIVATE_NAME = re.compile(
    r"proc/\d+/|(serial|uuid|address|uevent|boot_id|machine-id|hostname|unique_id|wwid|asset_tag)"
    r"[^/]*$"
)
"""Names of files that are never kept."""
REMOVED = "removed"
_SERIALS = (
    "proc/device-tree/serial-number",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "sys/class/dmi/id/*serial",
    "sys/class/dmi/id/*uuid",
    "sys/class/dmi/id/*asset_tag",
    "sys/class/net/*/address",
    "sys/class/power_supply/*/serial_number",
    "sys/bus/nvmem/devices/*/unique_id",
    "sys/bus/i2c/devices/*/unique_id",
    "sys/class/block/*/device/serial",
    "sys/class/block/*/wwid",
    "sys/devices/soc*/serial_number",
)
_SUPPLIES = ("sys/class/power_supply/*/model_name",)
_SERIAL_IN_NAME = re.compile(r"[A-Za-z]*\d{6,}[A-Za-z\d]*")
"""Some drivers put the serial number into the model's name; models have shorter numbers."""
_HOSTS = ("etc/hostname", "proc/sys/kernel/hostname")
_PUBLIC = ("proc/device-tree/compatible", "proc/device-tree/model", "sys/class/dmi/id/product_name")
_NO_NAMES = {"root", "user", "default", "localhost", "linux", "none"}
_SHORTEST_SERIAL = 6
"""Shorter ones could be any number of the kernel."""
_SHORTEST_NAME = 3
_ALWAYS = (
    (
        re.compile(
            r"(?i)(?<![0-9a-f])[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}(?![0-9a-f])"
        ),
        REMOVED,
    ),
    (re.compile(r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"), REMOVED),
    (re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), REMOVED),
    (re.compile(r"/(home|Users)/[^/\s\0\"':]+"), rf"/\1/{REMOVED}"),
)
"""Network addresses, UUIDs, machine ids and home folders, by their looks."""


class Secrets:
    """Texts to be removed.

    Args:
        values: whole words, whatever their case.
    """

    def __init__(self, values: Iterable[str]) -> None:
        words = sorted({re.escape(value) for value in values}, key=len, reverse=True)
        self._values = (
            re.compile(rf"(?i)(?<![a-z0-9])(?:{'|'.join(words)})(?![a-z0-9])") if words else None
        )

    @classmethod
    def of(cls, sysfs: Sysfs) -> Secrets:
        """Those that a machine shows, as far as this user may read them.

        A name that is also the board's ("raspberrypi", "nvidia") gives nothing away and stays.
        """
        serials = {text for text in _texts(sysfs, _SERIALS) if _is_serial(text)}
        serials |= set(_SERIAL_IN_NAME.findall(" ".join(_texts(sysfs, _SUPPLIES))))
        names = set(_texts(sysfs, _HOSTS)) | {path.name for path in sysfs.glob("home/*")}
        if sysfs.is_live:
            names |= {os.environ.get(name, "") for name in ("SUDO_USER", "USER", "LOGNAME")}
        public = set(re.findall(r"[a-z0-9]+", " ".join(_texts(sysfs, _PUBLIC)).lower()))
        public |= _NO_NAMES
        known = {n for n in names if len(n) >= _SHORTEST_NAME and n.lower() not in public}
        return cls(serials | known)

    def removed_from(self, value: Any) -> Any:
        """A JSON value with every secret in a text or a key of it replaced."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self.removed_from(key): self.removed_from(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.removed_from(item) for item in value]
        return value

    def without(self, tree: Tree) -> Tree:
        """A tree without secrets, and without what hangs on the machine (a mouse's battery)."""
        foreign = tuple(
            name.removesuffix("scope")
            for name, text in tree.files.items()
            if name.endswith("/scope") and text.strip() == "Device"
        )
        document = tree.document()
        for kind in ("files", "refused"):
            document[kind] = {n: x for n, x in document[kind].items() if not n.startswith(foreign)}
        document["links"] = {
            name: real for name, real in tree.links.items() if not real.startswith(foreign)
        }
        return Tree.from_document(self.removed_from(document))

    def _text(self, text: str) -> str:
        for pattern, instead in _ALWAYS:
            text = pattern.sub(instead, text)
        return text if self._values is None else self._values.sub(REMOVED, text)


def program_alone(command_line: str) -> str:
    """Names of a process' program and of a known script, without folders and arguments."""
    words = [word for word in command_line.split("\0") if not word.startswith("-")]
    names = [word.rpartition("/")[2] for word in words]
    return "\0".join([*names[:1], *(name for name in names[1:2] if name in PROGRAMS)])


def _texts(sysfs: Sysfs, patterns: Iterable[str]) -> list[str]:
    found = []
    for pattern in patterns:
        for path in sysfs.glob(pattern):
            try:
                found.append(sysfs.read_text(path))
            except HardwareError:  # root's
                continue
    return [text for text in found if text]


def _is_serial(text: str) -> bool:
    """Whether it is none of the texts that makers leave in ("Default string", zeros)."""
    return (
        len(text) >= _SHORTEST_SERIAL
        and any(sign.isdigit() for sign in text)
        and len(set(text) - set(":-. ")) > 1
    )
