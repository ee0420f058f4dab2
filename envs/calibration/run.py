"""One calibration: board, network and cloud measured, fitted, judged and written down."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import tomli_w

from common import command
from common.progress import Progress
from envs.calibration import cloud, picture, report
from envs.calibration.bench import Bench
from envs.calibration.campaign import Campaign, pieces
from envs.calibration.cloud import CloudFigures
from envs.calibration.device_file import Identity, device_model, provenance
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import Measured, Setting
from envs.calibration.fitting.misfits import misfits
from envs.calibration.network_runner import NetworkRunner
from envs.calibration.opening import (
    CalibrationConfig,
    identity,
    opened,
    sensor_gain,
    settable,
    unit,
)
from envs.calibration.record import Header, Record
from envs.errors import CalibrationError
from hw.base import Board
from hw.device.model import DeviceModel
from hw.device.written import device_document
from partition.data.example_inputs import camera_inputs, example_inputs
from partition.edge.client import CloudClient
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.providers.execution import Execution

Show = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is measured: a network on a board.

    Attributes:
        config: what was asked for.
        folder: the network.
        runtime_name: what runs it.
        board: open.
        runner: runs its pieces there.
        setting: what is to be fitted.
    """

    config: CalibrationConfig
    folder: ModelFolder
    runtime_name: str
    board: Board
    runner: NetworkRunner
    setting: Setting

    @property
    def identity(self) -> Identity:
        """For people."""
        return identity(self.config, self.board, self.folder.name, self.runtime_name)


def calibrate(
    config: CalibrationConfig,
    show: Show = print,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Measure, fit, judge, and write the device file.

    Args:
        config: what.
        show: takes each line for the user.
        clock: present time, s.
        sleep: waits for a number of seconds.

    Raises:
        CalibrationError: the file exists, or too little was measured.
        HardwareError: the board.
        PartitionError: the network, or the cloud.
    """
    _check(config.out)
    folder = ModelFolder.open(config.model)
    runtime = SplitRuntime(folder, execution=Execution.choose(config.providers))
    figures = None
    with ExitStack() as opening:
        client = None
        if config.cloud is not None:
            client = CloudClient(config.cloud, folder, security=config.security)
            opening.enter_context(client)
            client.connect()  # a wrong address is told before minutes have passed
        board = opening.enter_context(opened(config, show))
        takes = camera_inputs if board.prepares_inputs else example_inputs
        runner = NetworkRunner(folder, runtime, board, takes(folder, None))
        _warm_up(runner)
        setting = Setting(tuple(settable(board)), unit(board, runtime))
        name = f"onnxruntime-{runtime.execution.providers[0].name}"
        subject = _Subject(config, folder, name, board, runner, setting)
        if client is not None:
            figures = cloud.measure(client, folder, runner)
        write = _calibrated(subject, show, Bench(board, runner, clock=clock, sleep=sleep))
    write()
    scenario = "" if figures is None else f" --scenario {_scenario(config.out, figures, show)}"
    show(f"next: {command.call('train')} --device {config.out} --model {config.model}{scenario}")


def record_path(out: Path) -> Path:
    """Where the samples of a device file are."""
    return out.with_suffix(".jsonl")


def _check(out: Path) -> None:
    if out.suffix != ".toml":
        raise CalibrationError(f"--out is {out}; give a name that ends in .toml")
    if out.exists() and not record_path(out).exists():  # its own is written again
        raise CalibrationError(f"{out} exists; give another --out, or remove it")
    if not out.parent.is_dir():
        raise CalibrationError(f"there is no folder {out.parent}; make it, or give another --out")


def _calibrated(subject: _Subject, show: Show, bench: Bench) -> Callable[[], None]:
    """Measure and fit; returns what tells and writes the rest once the board is given back."""
    config, board, routes = subject.config, subject.board, subject.folder.routes
    record = Record(record_path(config.out), _header(subject))
    measurement = Campaign(
        bench,
        routes,
        subject.runner.kinds,
        subject.setting,
        record,
        minutes=config.minutes,
        seed=config.seed,
    )
    delays_s = measurement.delays_s()
    show(
        f"{measurement.planned()} measurements fit into {config.minutes:g} minutes; they are those "
        f"of {len(measurement.candidates)} combinations of clocks and pieces that tell most"
    )
    measurement.run()
    measured = Measured.of(record.samples, routes)
    gain = sensor_gain(board)
    confidence = Confidence.of(measured, subject.setting, sensor_gain=gain, seed=config.seed)
    day = datetime.date.today()
    device = device_model(subject.identity, confidence, measured, board, delays_s, day)
    document = device_document(device, provenance(device, board))
    told = [*report.errors(confidence, board), *report.delays(delays_s)]
    told += report.warnings(misfits(confidence, measured, record.samples, bench.available_hz))
    told.append(report.unknown(measurement, confidence, bench, routes))
    identified, is_modelled = subject.identity, bool(board.modelled)

    def write() -> None:
        for line in told:
            show(line)
        config.out.write_text(tomli_w.dumps(document), encoding="utf-8")
        DeviceModel.load(config.out)
        show(f"wrote {config.out}; its samples are in {record.path}")
        show(_drawn(config.out, identified, measured, confidence, is_modelled=is_modelled))

    return write


def _warm_up(runner: NetworkRunner) -> None:
    """Load everything, which compiles engines where those are used."""
    wanted = pieces(runner.options, runner.kinds)
    with Progress("loading the network", len(wanted)) as progress:
        for piece in wanted:
            progress.step()
            runner.prepared(piece)()


def _header(subject: _Subject) -> Header:
    folder, config = subject.folder, subject.config
    return Header(
        board=f"{config.board} {subject.board.fingerprint}",
        model=f"{folder.name} {folder.cut_list_fingerprint}",
        runtime=subject.runtime_name,
        seed=config.seed,
    )


def _scenario(out: Path, figures: CloudFigures, show: Show) -> Path:
    path = out.with_suffix(".scenario.toml")
    path.write_text(tomli_w.dumps(figures.scenario(out.stem)), encoding="utf-8")
    show(f"{figures.words}; wrote {path}")
    return path


def _drawn(
    out: Path,
    identified: Identity,
    measured: Measured,
    confidence: Confidence,
    *,
    is_modelled: bool,
) -> str:
    path = out.with_suffix(".png")
    if find_spec("matplotlib") is None:
        return "no picture was drawn, for matplotlib is not installed"
    note = " (modelled power)" if is_modelled else ""
    title = f"{identified.model} on {identified.title}, {identified.runtime}"
    picture.draw(path, title, measured, confidence.latency, confidence.energy, note)
    return f"drew {path}: measured against predicted"
