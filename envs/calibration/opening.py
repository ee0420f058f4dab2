"""The board of a calibration: opened, named as a device file names things, and identified."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from envs.calibration.device_file import Identity
from envs.calibration.fitting.confidence import SENSOR_GAIN
from envs.calibration.samples import NOT_SET_HZ
from hw.base import Board, Hold
from hw.boards.clockless import ClocklessMachine
from hw.boards.device_view import DeviceView
from hw.boards.registry import is_machine, open_board
from hw.device.match import KINDS, of_kind
from hw.device.model import DeviceModel, DomainModel
from hw.doctor.survey import survey
from hw.errors import BoardNotFoundError
from hw.sysfs import Sysfs
from partition.model.runtime import SplitRuntime
from partition.providers.registry import Provider
from partition.security.tls import ClientSecurity

LINUX = "linux"


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """What is to be calibrated.

    Attributes:
        board: as `open_board` takes it.
        model: name or folder of the network.
        out: the device file to write.
        minutes: for the measurement.
        device: which device a modelled board models.
        cloud: HOST:PORT of a server; None measures none.
        security: certificates and token for it.
        providers: what the network runs on; None takes the best that work here.
        seed: of the plan, of what is held out and of the intervals.
        root: where a real board looks for /sys.
    """

    board: str
    model: str
    out: Path
    minutes: float
    device: str | None = None
    cloud: str | None = None
    security: ClientSecurity | None = None
    providers: tuple[Provider, ...] | None = None
    seed: int = 0
    root: Path = Path("/")


def opened(config: CalibrationConfig, show: Callable[[str], object]) -> Board:
    """The board, its clocks named as a device file names them."""
    try:
        board = open_board(config.board, device=config.device, root=config.root, hold=Hold.PIN)
    except BoardNotFoundError as error:
        if config.board != LINUX:
            raise
        show(
            f"no clock can be set here ({error}); where to cut the network can still be learned, "
            "and that alone is measured"
        )
        board = ClocklessMachine(Sysfs(config.root), hold=Hold.PIN)
        board.open()
        return board
    if set(board.domains) <= set(KINDS):
        return board
    merged = DeviceView(board, _provisional(board))
    merged.open()  # closes the board if anything fails
    return merged


def _provisional(board: Board) -> DeviceModel:
    """A device with the clocks of a board that has several of a kind."""
    domains = {}
    for kind in KINDS:
        mine = of_kind(kind, board.domains.values())
        fastest = max(mine, key=lambda domain: domain.available_hz[-1], default=None)
        points_hz = (NOT_SET_HZ,) if fastest is None else fastest.available_hz
        domains[kind] = DomainModel(kind, points_hz, 0.0)
    return replace(DeviceModel.load("tx2"), name=board.name, domains=domains)


def settable(board: Board) -> Iterator[str]:
    """Clocks that have more than one operating point."""
    return (
        kind
        for kind in KINDS
        if kind in board.domains and len(board.domains[kind].available_hz) > 1
    )


def unit(board: Board, runtime: SplitRuntime) -> str:
    """What the network runs on; a modelled board's GPU is played by this machine's processor."""
    plays_gpu = bool(board.modelled) and "gpu" in board.domains
    return "gpu" if plays_gpu or not runtime.is_on_processor else "cpu"


def identity(config: CalibrationConfig, board: Board, model: str, runtime: str) -> Identity:
    """What is measured, for people."""
    title, power_mode = f"board {board.name}", None
    if config.board == LINUX:
        with closing(Sysfs(config.root)) as sysfs:
            found = survey(sysfs)
        title, power_mode = found.machine, found.power_mode
    elif board.device is not None and not is_machine(config.board):
        title = f"{board.device.title}, modelled"
    return Identity(
        name=config.out.stem,
        board=config.board,
        title=title,
        kernel=platform.release(),
        power_mode=power_mode,
        model=model,
        runtime=runtime,
        modelled=board.modelled,
    )


def sensor_gain(board: Board) -> float:
    """Largest error of the gain that a sensor admits, or else the usual."""
    known = [getattr(sensor, "gain_error", SENSOR_GAIN) for sensor in board.power_sensors.values()]
    return float(max(known, default=SENSOR_GAIN))
