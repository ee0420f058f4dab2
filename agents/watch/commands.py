"""`deploy.py status` and `deploy.py top`: a driven board in a terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from agents.errors import AgentError
from agents.watch.asking import BoardSilentError, printable, state_of, stranger
from agents.watch.protocol import STATUS, TOP
from agents.watch.screen import screen
from common import command
from partition.errors import PartitionError

ADDRESS = "127.0.0.1:9101"
"""Of `--metrics` in docs/metrics.md."""
PERIOD_S = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2.

    Args:
        argv: one of `COMMANDS` and what follows it.
    """
    name, *rest = sys.argv[1:] if argv is None else argv
    arguments = _parser(name).parse_args(rest)
    try:
        if name == TOP:
            top(arguments.address, Console())
        else:
            status(arguments.address, as_json=arguments.json)
    except (AgentError, PartitionError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return command.USER_ERROR_EXIT_CODE
    return 0


def status(address: str, *, as_json: bool) -> None:
    """Show the board once.

    Raises:
        CloudError: the address has another form.
        BoardSilentError: no board answers there.
    """
    if as_json:
        print(json.dumps(state_of(address)))
    else:
        Console().print(_screen(address))


def top(address: str, console: Console, sleep: Callable[[float], object] = time.sleep) -> None:
    """Show the board until Ctrl-C.

    Args:
        address: HOST:PORT.
        console: a terminal.
        sleep: waits for a number of seconds.

    Raises:
        CloudError: the address has another form.
        BoardSilentError: no board answers there in the beginning, or there is no terminal.
    """
    if not console.is_terminal:
        raise BoardSilentError("top needs a terminal: ask for status where there is none")
    first = _screen(address)
    with Live(first, console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                sleep(PERIOD_S)
                live.update(_seen(address), refresh=True)
        except KeyboardInterrupt:
            return


def _seen(address: str) -> RenderableType:
    """The screen, or why there is none at present: a daemon may be started anew."""
    try:
        return _screen(address)
    except BoardSilentError as error:
        return Text(str(error), "bold red")


def _screen(address: str) -> RenderableType:
    """The board's screen.

    Raises:
        CloudError: the address has another form.
        BoardSilentError: no board of this version answers there.
    """
    state: dict[str, Any] = printable(state_of(address))
    try:
        return screen(state)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise stranger(address) from None


def _parser(name: str) -> argparse.ArgumentParser:
    what = {
        STATUS: "Show what a board that deploy.py drives does, on one screen.",
        TOP: "Show what a board that deploy.py drives does, anew every second, until Ctrl-C.",
    }
    parser = argparse.ArgumentParser(f"{command.program('deploy')} {name}", description=what[name])
    parser.add_argument(
        "address",
        nargs="?",
        default=ADDRESS,
        metavar="HOST:PORT",
        help="what deploy.py was given as --metrics (default %(default)s)",
    )
    if name == STATUS:
        parser.add_argument("--json", action="store_true", help="one line of JSON instead")
    return parser
