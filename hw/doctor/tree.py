"""Recorded tree of a machine: texts where the kernel has them, and names that lead there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Tree:
    """Files of a machine; all paths are relative to its root.

    Attributes:
        files: text by real path.
        writable: real paths that the recording user might write.
        links: real path, of a file or a folder, by another name of it.
        refused: errno of what is there but gave no text, by real path.
    """

    files: dict[str, str] = field(default_factory=dict)
    writable: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it into a folder, where `Sysfs` can read it.

        Raises:
            OSError: the folder cannot be written.
        """
        (folder / "sys").mkdir(parents=True, exist_ok=True)  # a container may show nothing of it
        for name, text in self.files.items():
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text, encoding="utf-8")
            copy.chmod(0o644 if name in self.writable else 0o444)
        # The deepest first: where a file was read through a linked folder, that name is a folder.
        for name in sorted(self.links, key=lambda name: -name.count("/")):
            link = folder / name
            if not os.path.lexists(link):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(os.path.relpath(folder / self.links[name], link.parent))

    def document(self) -> dict[str, Any]:
        """It as JSON holds it."""
        return {
            "files": self.files,
            "writable": sorted(self.writable),
            "links": self.links,
            "refused": self.refused,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Tree:
        """Rebuild it from what `document` returned."""
        return cls(
            dict(document["files"]),
            set(document["writable"]),
            dict(document["links"]),
            dict(document["refused"]),
        )
