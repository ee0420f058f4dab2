"""Boards by name."""

from __future__ import annotations

from pathlib import Path

from hw.base import Board
from hw.boards.linux import LinuxBoard
from hw.boards.sim import SimBoard
from hw.device import DeviceModel
from hw.errors import BoardNotFoundError, UnsupportedError
from hw.sysfs import Sysfs

DEFAULT_DEVICE = "tx2"


def board_names() -> tuple[str, ...]:
    """Names that `open_board` takes."""
    return ("sim", "linux")


def open_board(name: str, *, device: str | Path | None = None, root: Path = Path("/")) -> Board:
    """Open a board by name; use it as a context manager or close it.

    Args:
        name: "sim" for a modelled device, "linux" for this machine.
        device: which device "sim" models, by name or as a `.toml` file; the TX2 if not given.
        root: where "linux" looks for /sys.

    Raises:
        BoardNotFoundError: unknown name, or this machine has no clocks to set.
        DeviceFileError: the device is unknown or its file malformed.
        UnsupportedError: a device was named for a board that is not modelled.
    """
    board: Board
    if name == "sim":
        board = SimBoard(DeviceModel.load(device or DEFAULT_DEVICE))
    elif name == "linux":
        if device is not None:
            raise UnsupportedError(
                f"board linux is this machine and takes no device, got {str(device)!r}; leave it "
                "out or use the board sim"
            )
        board = LinuxBoard(Sysfs(root))
    else:
        raise BoardNotFoundError(
            f"board {name!r} is unknown; use one of {', '.join(board_names())}"
        )
    board.open()
    return board
