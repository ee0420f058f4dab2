"""Device models of boards but the TX2: `python -m hw.calibrate.write_boards`.

Checks that the files in `hw/devices` are those of the table and near what is published; `--out DIR`
writes them. What was fitted to measurements is taken over from them; `hw.calibrate` fits it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import command
from common.regular_file import read_text
from hw.calibrate.boards import Fitted, device_toml, quantity, read_table
from hw.device.file import DEVICES
from hw.device.model import DeviceModel
from hw.errors import DeviceFileError, HardwareError


@dataclass(frozen=True, slots=True)
class AnchorCheck:
    """A published figure next to the model's.

    Attributes:
        board: name.
        what: the figure is.
        published: its value, W or s.
        modelled: the model's.
        tolerance: relative difference that is accepted.
    """

    board: str
    what: str
    published: float
    modelled: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the model is close enough."""
        return abs(self.modelled / self.published - 1.0) <= self.tolerance


def check_anchors(device: DeviceModel) -> Iterator[AnchorCheck]:
    """Compare a model with the figures published about its board."""
    for anchor in read_table()[device.name].get("anchors", []):
        modelled = _modelled(device, anchor)
        yield AnchorCheck(
            device.name, anchor["what"], anchor["value"], modelled, anchor["tolerance"]
        )


def _modelled(device: DeviceModel, anchor: dict[str, Any]) -> float:
    """The model's value; clocks that the anchor does not name are at their maximum."""
    clocks_hz = [
        anchor[f"{name}_mhz"] * 1e6 if f"{name}_mhz" in anchor else domain.available_hz[-1]
        for name, domain in device.domains.items()
    ]
    if anchor["quantity"] == "latency_s":
        return float(device.latency_s(device.workloads[anchor["workload"]], *clocks_hz))
    rails = device.power.rails_w(
        *clocks_hz,
        cpu_util=anchor.get("cpu_util", 0.0),
        gpu_util=anchor.get("gpu_util", 0.0),
        traffic_bytes_per_s=anchor.get("traffic_gb_per_s", 0.0) * 1e9,
    )
    return float(quantity(rails, anchor["quantity"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when every figure is met, 1 when not, 2 without a file that it needs."""
    parser = argparse.ArgumentParser(
        prog="python -m hw.calibrate.write_boards", description=__doc__
    )
    parser.add_argument("--out", type=Path, help="folder to write the device files to")
    try:
        return _run(parser.parse_args(arguments).out)
    except HardwareError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _run(out: Path | None) -> int:
    boards, tx2 = read_table(), DeviceModel.load("tx2")
    missed = 0
    for name in boards:
        path = (out or DEVICES) / f"{name}.toml"
        text = device_toml(name, boards, tx2, Fitted.shipped(name, boards[name]))
        if out is not None:
            _write(path, text)
        elif _read(path) != text:
            sys.stderr.write(f"error: {path} is not what the table says; write it by --out\n")
            return 1
        for check in check_anchors(DeviceModel.load(path)):
            missed += not check.ok
            sys.stdout.write(
                f"{'ok  ' if check.ok else 'MISS'} {name}: {check.what}: {check.modelled:.3g} "
                f"(published {check.published:g}, tolerance {100 * check.tolerance:g} %)\n"
            )
    return 1 if missed else 0


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceFileError(
            f"{path} cannot be read: {error}; write it by --out {path.parent}"
        ) from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DeviceFileError(f"{path} cannot be written: {error.strerror}; use --out") from error


if __name__ == "__main__":
    sys.exit(command.run(main))
