"""Refit the device models to measured data: `python -m hw.calibrate --data DIR [--out FILE]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common import command
from hw.calibrate import sources
from hw.calibrate.fit import calibrate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when every bar is met, 1 when not, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m hw.calibrate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the measured data")
    parser.add_argument(
        "--out", type=Path, help="device file to write; without it the fit is only judged"
    )
    options = parser.parse_args(arguments)
    try:
        report = calibrate(options.data)
    except sources.DataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(report.table() + "\n")
    if not report.ok:
        sys.stderr.write("error: a bar is missed; no device file was written\n")
        return 1
    if options.out is None:
        return 0
    try:
        options.out.write_text(report.device_toml, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"error: {options.out} cannot be written: {error.strerror}; use --out\n")
        return 2
    sys.stdout.write(f"wrote {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
