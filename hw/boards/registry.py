"""Boards by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hw.base import Board, Hold
from hw.boards.device_view import TakenAs
from hw.boards.emulated import EmulatedBoard
from hw.boards.linux import LinuxBoard
from hw.boards.sim import SimBoard
from hw.device.match import KINDS
from hw.device.model import DeviceModel
from hw.errors import BoardNotFoundError
from hw.sysfs import Sysfs

DEFAULT_DEVICE = "tx2"


def board_names() -> tuple[str, ...]:
    """Names that `open_board` takes."""
    return ("sim", "emulated", "linux")


def open_board(
    name: str,
    *,
    device: str | Path | None = None,
    root: Path = Path("/"),
    hold: Hold = Hold.CAP,
    domains: Sequence[str] | None = None,
    lock_nvidia: bool = False,
    dry_run: Callable[[str], object] | None = None,
) -> Board:
    """Open a board by name; use it as a context manager or close it.

    Args:
        name: "sim" for a modelled device, "emulated" for this machine slowed down to the clocks of
            a device, "linux" for this machine's own clocks.
        device: which device "sim" and "emulated" model, by name or as a `.toml` file, the TX2 if
            not given; which device "linux" is taken for, itself if not given.
        root: where "linux" looks for /sys.
        hold: how "linux" holds clocks.
        domains: clocks that "linux" drives; all that are found if not given.
        lock_nvidia: whether "linux" drives NVIDIA cards by locked ranges.
        dry_run: set no clock, and tell this one sentence for each write that "linux" would make.

    Raises:
        BoardNotFoundError: unknown name, or this machine has no clocks to set.
        DeviceFileError: the device is unknown or its file malformed.
        UnsupportedError: this machine is not like the device.
        HardwareError: this machine cannot be driven; the message says why.
    """
    board: Board
    if name == "sim":
        board = SimBoard(DeviceModel.load(device or DEFAULT_DEVICE), dry_run=dry_run is not None)
    elif name == "emulated":
        board = EmulatedBoard(DeviceModel.load(device or DEFAULT_DEVICE), Sysfs(root))
    elif name == "linux":
        model = DeviceModel.load(device) if device is not None else None
        if model and domains is None:
            domains = [KINDS[kind] for kind in model.settable]
        board = LinuxBoard(
            Sysfs(root), hold=hold, domains=domains, lock_nvidia=lock_nvidia, tell=dry_run
        )
        if model:
            board = TakenAs(board, model)
    else:
        raise BoardNotFoundError(
            f"board {name!r} is unknown; use one of {', '.join(board_names())}"
        )
    board.open()
    return board
