"""Tables of governed clocks that are kept: those that come with the package, and a run's own."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np

from envs.governed.governing import Governing
from envs.governed.sub_steps import EVERY_CLOCK
from envs.governed.table import FIELDS, N_ROWS, GovernedTable, made_of
from hw.device.model import Demand, DeviceModel

TABLES = Path(__file__).with_name("tables")
"""Written by `python -m benchmarks.holds --tables`; names are `made_of`'s hashes."""


STEP = np.float32(0.002)
"""Of the logarithms in a file: factors are good to a thousandth."""


def open_table(device: DeviceModel, head: Demand, kept: Path | None = None) -> GovernedTable:
    """Find the table of a device and a network, or make it, which takes minutes.

    Args:
        device: of the boards.
        head: work of each route, arrays of shape (n_routes,).
        kept: a file where one may be kept; it need not be there.
    """
    name = made_of(device, head)
    shape = tuple(len(hz) for hz in (device.cpu_hz, device.gpu_hz, device.emc_hz))
    for path in (TABLES / f"{name}.npz", *([kept] if kept else [])):
        table = _read(path)
        if table is not None and table.made_of == name and table.rows.shape[2:5] == shape:
            return table
    # Not on stdout, which may be JSON.
    print(
        f"running {device.name} under its governors for every action, a few minutes",
        file=sys.stderr,
    )
    return GovernedTable.make(device, head)


_left: dict[tuple[str, Governing], GovernedTable] = {}


def left_table(device: DeviceModel, head: Demand, governing: Governing) -> GovernedTable:
    """What governors come to that no action caps; made within a minute, once in a process.

    Args:
        device: of the boards.
        head: work of each route, arrays of shape (n_routes,).
        governing: which clocks are left to them, and how they govern.
    """
    key = made_of(governing.device(device), head), governing
    if key not in _left:
        shipped = _read(TABLES / f"{key[0]}.npz") if governing == EVERY_CLOCK else None
        _left[key] = (
            GovernedTable(shipped.rows[:, :, -1:, -1:, -1:], shipped.made_of)
            if shipped is not None
            else GovernedTable.make(device, head, governing, capped=False)
        )
    return _left[key]


def keep(table: GovernedTable, path: Path) -> None:
    """Write a table, its logarithms in steps of `STEP`."""
    steps = np.round(table.rows / STEP).astype(np.int16)
    with path.open("wb") as stream:
        np.savez_compressed(stream, steps=steps, made_of=np.array(table.made_of))


def _read(path: Path) -> GovernedTable | None:
    """A table; None where there is none, or a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, name = STEP * file["steps"].astype(np.float32), str(file["made_of"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    is_table = rows.ndim == 6 and rows.shape[:2] == (N_ROWS, len(FIELDS))
    return GovernedTable(rows, name) if is_table else None
