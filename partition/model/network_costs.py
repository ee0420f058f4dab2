"""Costs of a network's routes: all that a simulator has to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from partition.errors import ModelNotFoundError
from partition.model.folder import ModelFolder
from partition.model.routes import RouteOption

SHIPPED = Path(__file__).with_name("shipped")
"""`cuts.json` of networks that can be simulated without preparing them, by name."""


@dataclass(frozen=True, slots=True)
class NetworkCosts:
    """What the routes of a network cost; nothing here can run it."""

    name: str
    routes: tuple[RouteOption, ...]
    """As `ModelFolder.routes`."""
    cut_list_fingerprint: str
    """As `ModelFolder.cut_list_fingerprint`."""
    appeal_share: float | None
    """Smallest measured share of the inputs whose answer by an early exit is not trusted."""

    @classmethod
    def of(cls, folder: ModelFolder) -> NetworkCosts:
        """Costs of a prepared network."""
        appeals = folder.attention.table.appeals if folder.attention else {}
        shares = (float(found["share_of_appeals"]) for found in appeals.values())
        return cls(
            name=folder.name,
            routes=folder.routes,
            cut_list_fingerprint=folder.cut_list_fingerprint,
            appeal_share=min(shares, default=None),
        )

    @classmethod
    def open(cls, path_or_name: str | Path, root: Path = Path("models")) -> NetworkCosts:
        """Costs of a model folder or, where there is none of that name, those that ship.

        Args:
            path_or_name: as in `ModelFolder.open`.
            root: as in `ModelFolder.open`.

        Raises:
            ModelNotFoundError: no such folder, and no such network ships.
            ModelFolderError: the folder is half-written, corrupt or of another schema.
        """
        try:
            return cls.of(ModelFolder.open(path_or_name, root))
        except ModelNotFoundError:
            shipped = SHIPPED / f"{path_or_name}.json"
            if shipped.parent != SHIPPED or not shipped.is_file():
                raise
            return cls.of(ModelFolder.read_cuts(shipped))
