"""Boards by name; a new one needs its class and an entry in `BOARDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.base import Board, Hold
from hw.boards.device_view import DeviceView
from hw.boards.emulated import EmulatedBoard
from hw.boards.linux import LinuxBoard
from hw.boards.replay import ReplayBoard
from hw.boards.sim import SimBoard
from hw.device.match import KINDS
from hw.device.model import DeviceModel
from hw.errors import BoardNotFoundError
from hw.sysfs import Sysfs

SIMULATED = "sim"
DEFAULT_DEVICE = "tx2"


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardOptions:
    """How a board is to be driven, as `open_board` takes it; each kind heeds what concerns it."""

    device: str | Path | None
    root: Path
    hold: Hold
    domains: Sequence[str] | None
    lock_nvidia: bool
    dry_run: Callable[[str], object] | None

    def model(self) -> DeviceModel:
        """Device of a board that is nothing by itself."""
        return DeviceModel.load(self.device or DEFAULT_DEVICE)

    def taken_for(self) -> DeviceModel | None:
        """Device that a machine is taken for; None if it stands for itself."""
        return None if self.device is None else DeviceModel.load(self.device)


@dataclass(frozen=True, slots=True)
class BoardKind:
    """An entry of the table of boards.

    Attributes:
        summary: what it is, for people.
        build: makes one that is not open yet.
        is_machine: whether it is a machine of its own, real or emulated, so that it needs no device
            model.
    """

    summary: str
    build: Callable[[BoardOptions], Board]
    is_machine: bool = False


def _simulated(options: BoardOptions) -> Board:
    is_governed = options.hold is Hold.CAP
    return SimBoard(options.model(), dry_run=options.dry_run is not None, is_governed=is_governed)


def _replayed(options: BoardOptions) -> Board:
    return ReplayBoard(options.model(), dry_run=options.dry_run is not None)


def _emulated(options: BoardOptions) -> Board:
    machine = EmulatedBoard(
        domains=options.domains,
        caps_only=options.hold is Hold.CAP,
        dry_run=options.dry_run is not None,
    )
    model = options.taken_for()
    return DeviceView(machine, model) if model else machine


def _machine(options: BoardOptions) -> Board:
    model = options.taken_for()
    domains = options.domains
    if model and domains is None:
        domains = [KINDS[kind] for kind in model.settable]
    machine = LinuxBoard(
        Sysfs(options.root),
        hold=options.hold,
        domains=domains,
        lock_nvidia=options.lock_nvidia,
        tell=options.dry_run,
    )
    return DeviceView(machine, model) if model else machine


BOARDS: Mapping[str, BoardKind] = {
    SIMULATED: BoardKind("modelled clocks and power", _simulated),
    "emulated": BoardKind(
        "an invented machine that this one plays at its speed", _emulated, is_machine=True
    ),
    "replay": BoardKind("a measured table, see hw.replay", _replayed),
    "linux": BoardKind("this machine's own clocks", _machine, is_machine=True),
}


def board_names() -> tuple[str, ...]:
    """Names that `open_board` takes."""
    return tuple(BOARDS)


def describe_boards() -> str:
    """Names and what they stand for, as the help of a command shows them."""
    return ", ".join(f"{name} ({kind.summary})" for name, kind in BOARDS.items())


def is_machine(name: str) -> bool:
    """Whether a board drives the machine that it runs on; False for a name that is unknown."""
    return name in BOARDS and BOARDS[name].is_machine


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
        name: a key of `BOARDS`.
        device: which device "sim" and "replay" model, by name or as a `.toml` file, the TX2 if not
            given; which device "linux" and "emulated" are taken for, themselves if not given.
        root: where the machine's /sys is looked for.
        hold: how "linux", "sim" and "emulated" hold clocks.
        domains: clocks that "linux" and "emulated" drive; all that are found if not given.
        lock_nvidia: whether "linux" drives NVIDIA cards by locked ranges.
        dry_run: set no clock; called with one sentence for each write that "linux" would make.

    Raises:
        BoardNotFoundError: unknown name, or this machine has no clocks to set.
        DeviceFileError: the device is unknown or its file malformed.
        UnsupportedError: this machine is not like the device.
        HardwareError: this machine cannot be driven; the message says why.
    """
    if name not in BOARDS:
        raise BoardNotFoundError(
            f"board {name!r} is unknown; use one of {', '.join(board_names())}"
        )
    options = BoardOptions(
        device=device,
        root=root,
        hold=hold,
        domains=domains,
        lock_nvidia=lock_nvidia,
        dry_run=dry_run,
    )
    board = BOARDS[name].build(options)
    board.open()
    return board
