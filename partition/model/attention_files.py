"""Files that training leaves in a model folder: `accuracy.json` and `attention/<split point>/`.

No graph library, so that simulators can read it. A split point's folder holds `scores.onnx`,
`branch.onnx`, `tail.onnx` and `costs.json`, the counted work of the first two.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from common.regular_file import open_regular
from common.schema import convert
from partition import json_file
from partition.errors import ModelFolderError
from partition.model.accuracy_table import ACCURACY_FILE, AccuracyTable
from partition.model.cost import Cost

ATTENTION_FOLDER = "attention"
SCORES_FILE = "scores.onnx"
BRANCH_FILE = "branch.onnx"
TAIL_FILE = "tail.onnx"
COSTS_FILE = "costs.json"
_HASHED = (SCORES_FILE, BRANCH_FILE, TAIL_FILE, COSTS_FILE)


@dataclass(frozen=True, slots=True)
class TrainedCut:
    """Work that attention adds to the edge at one split point, counted."""

    scores: Cost
    """Importance of every channel."""
    branch: Cost
    """The edge's own answer."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What was trained for a network, and what it measured."""

    table: AccuracyTable
    cuts: dict[str, TrainedCut]
    """By name of the split point."""


def folder_of(folder: Path, split: str) -> Path:
    """Where the graphs of a split point lie in a model folder."""
    return folder / ATTENTION_FOLDER / split.replace("/", "_")


def load(folder: Path, network_fingerprint: str) -> Attention | None:
    """What was trained for the network in a model folder; None if nothing was.

    Raises:
        AccuracyTableError: the table is corrupt or of another network.
        ModelFolderError: a file that belongs to the table is missing or corrupt.
    """
    if not (folder / ACCURACY_FILE).is_file():
        return None
    table = AccuracyTable.load(folder, network_fingerprint)
    names = dict.fromkeys(row.split for row in table.rows if 0 < row.xi < 1)
    return Attention(table, {name: _read_costs(folder_of(folder, name)) for name in names})


def withdraw(folder: Path) -> None:
    """Take away what was trained before: the table first, which everything else hangs on."""
    (folder / ACCURACY_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / ATTENTION_FOLDER, ignore_errors=True)


def fingerprint(folder: Path, network_fingerprint: str, splits: Iterable[str]) -> str:
    """First 16 hex digits of the SHA-256 over the network's fingerprint and attention's files.

    The table counts, too: with its weights of the edge's answers these become others.

    Raises:
        ModelFolderError: a file is missing or cannot be read.
    """
    paths = [folder / ACCURACY_FILE]
    paths += [folder_of(folder, split) / name for split in splits for name in _HASHED]
    digest = hashlib.sha256(bytes.fromhex(network_fingerprint))
    for path in paths:
        try:
            with open_regular(path) as file:
                digest.update(hashlib.sha256(file.read()).digest())
        except OSError as error:
            raise _broken(path, error) from error
    return digest.hexdigest()[:16]


def write_costs(folder: Path, cut: TrainedCut) -> None:
    """Write `costs.json` of a split point's folder."""
    text = json.dumps(asdict(cut), indent=1)
    (folder / COSTS_FILE).write_text(text + "\n", encoding="utf-8")


def _read_costs(folder: Path) -> TrainedCut:
    path = folder / COSTS_FILE
    try:
        return convert(json_file.read(path), TrainedCut)
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> ModelFolderError:
    reason = error.strerror if isinstance(error, OSError) else error
    return ModelFolderError(
        f"{path} is missing or corrupt ({reason}): run python -m partition.train_attention again"
    )
