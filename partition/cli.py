"""Ends of this package's commands when the user or the machine is at fault."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

from common import command
from partition.errors import PartitionError, ProviderError
from partition.providers import registry


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def positive_number(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def seed(text: str) -> int:
    """A seed of NumPy and of torch, for argparse."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def share(text: str) -> float:
    """A number above 0 and up to 1, for argparse."""
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a share within 0 and 1, got {text}")
    return value


def inner_share(text: str) -> float:
    """A number between 0 and 1, for argparse."""
    value = float(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"must be a share between 0 and 1, got {text}")
    return value


def add_providers_option(parser: argparse._ActionsContainer) -> None:
    """Add `--providers`, which leaves an `Execution`'s providers or None."""
    parser.add_argument(
        "--providers",
        type=_providers,
        metavar="NAME[,NAME]",
        help="what the network runs on, the preferred one first; of "
        f"{', '.join(registry.PROVIDERS)} (default: the best that works here)",
    )


def _providers(text: str) -> tuple[registry.Provider, ...]:
    try:
        return registry.parse(text)
    except ProviderError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(main: Callable[[], None], kept: str = "") -> int:
    """Run a command; say what is wrong in one sentence on stderr and return the exit code.

    Args:
        main: the command.
        kept: what there is of its work when a signal ends it.
    """

    def checked() -> int:
        try:
            main()
        except PartitionError as error:
            sentence = " ".join(str(error).split())  # messages of libraries come with line breaks
            sys.stderr.write(f"error: {sentence}\n")
            return command.USER_ERROR_EXIT_CODE
        return 0

    return command.run(checked, kept)
