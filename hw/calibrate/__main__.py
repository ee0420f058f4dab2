"""Refit the device models to measured data: `python -m hw.calibrate --data DIR`.

`--out hw/devices` writes the device files, `--page results` the page that says how far each board
and run-time can be believed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import command
from hw.calibrate import sources
from hw.calibrate.boards import device_toml, read_table
from hw.calibrate.fit import calibrate
from hw.calibrate.measured.found import BoardFit
from hw.calibrate.measured.refit import refit
from hw.calibrate.page import PICTURE, page
from hw.calibrate.picture import draw
from hw.calibrate.report import CalibrationReport
from hw.device.model import DeviceModel
from hw.errors import HardwareError

PAGE = "devices.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when every bar is met or known why not, 1 when not, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m hw.calibrate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the measured data")
    parser.add_argument(
        "--out", type=Path, help="folder to write device files to; without it fits are only judged"
    )
    parser.add_argument("--page", type=Path, help=f"folder to write {PAGE} and {PICTURE} to")
    options = parser.parse_args(arguments)
    try:
        tx2, fits = calibrate(options.data), refit(options.data)
        report = CalibrationReport(
            (*tx2.rows, *(row for fit in fits.values() for row in fit.bars)), tx2.device_toml
        )
        sys.stdout.write(report.table() + "\n")
        if not report.ok:
            sys.stderr.write("error: a bar is missed; nothing was written\n")
            return 1
        written = _write(options.out, options.page, tx2, fits)
    except (sources.DataError, HardwareError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"error: {error.filename} cannot be written: {error.strerror}; give another folder\n"
        )
        return 2
    sys.stdout.write("".join(f"wrote {path}\n" for path in written))
    return 0


def _write(
    out: Path | None, to_page: Path | None, tx2: CalibrationReport, fits: Mapping[str, BoardFit]
) -> list[Path]:
    """Write what was asked for; returns the files."""
    written = []
    if out is not None:
        texts = {"tx2": tx2.device_toml}
        boards, scaled = read_table(), DeviceModel.load("tx2")
        for name, fit in fits.items():
            texts[name] = device_toml(name, boards, scaled, fit.parts())
        for name, text in texts.items():
            written.append(out / f"{name}.toml")
            written[-1].write_text(text, encoding="utf-8")
    if to_page is not None:
        written += [to_page / PAGE, to_page / PICTURE]
        (to_page / PAGE).write_text(page(tx2.rows, fits), encoding="utf-8")
        draw(fits, to_page / PICTURE)
    return written


if __name__ == "__main__":
    sys.exit(command.run(main))
