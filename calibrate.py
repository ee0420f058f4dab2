"""Measure a board with a network, fit the device model that policies are trained on, and judge it.

python calibrate.py --board linux|emulated [--model M] [--cloud HOST:PORT] --out mine.toml

The same command goes on with a measurement that was cut. Next: train.py --device mine.toml.
"""

from __future__ import annotations

from common import command

if __name__ == "__main__":
    command.begin()  # before what takes long to import

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from envs.calibration.opening import CalibrationConfig
from envs.calibration.run import calibrate
from envs.errors import EnvError
from hw.boards.registry import describe_boards
from hw.errors import HardwareError
from partition.cli import add_providers_option, positive_number, seed
from partition.errors import PartitionError
from partition.security.link_options import add_link_options, link_security

USER_ERRORS = (EnvError, HardwareError, PartitionError)
MINUTES = 10.0


def main(argv: Sequence[str] | None = None, root: Path = Path("/")) -> int:
    """Run the command; user errors end in one sentence and exit code 2.

    Args:
        argv: command line without the program's name.
        root: where a real board looks for /sys.
    """
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    config = CalibrationConfig(
        board=arguments.board,
        model=arguments.model,
        out=arguments.out,
        minutes=arguments.minutes,
        device=arguments.device,
        cloud=arguments.cloud,
        security=link_security(arguments),
        providers=arguments.providers,
        seed=arguments.seed,
        root=root,
    )
    try:
        calibrate(config)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print("stopped; the board is as it was, and the same command goes on", file=sys.stderr)
        return command.exit_code(stopped)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        command.program("calibrate"), description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--board", required=True, help=describe_boards())
    parser.add_argument(
        "--device", default=None, help="which device sim and replay model, name or .toml file"
    )
    parser.add_argument("--model", default="efficientnet-lite0", help="name or model folder")
    parser.add_argument("--out", type=Path, required=True, help="the .toml file to write")
    parser.add_argument(
        "--minutes", type=positive_number, default=MINUTES, help="to measure (%(default)g)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of the order of the points (%(default)s)"
    )
    add_providers_option(parser)
    add_link_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main))
