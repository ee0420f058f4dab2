"""`deploy.py status` and `deploy.py top`: a driven board in a terminal."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from agents.watch.asking import BoardSilentError, state_of
from agents.watch.screen import screen
from common import command

ADDRESS = "127.0.0.1:9101"
"""Of `--metrics` in docs/metrics.md and in the unit."""
PERIOD_S = 1.0
STATUS, TOP = "status", "top"


def run(argv: Sequence[str], sleep: Callable[[float], object] = time.sleep) -> int:
    """Show the board once, or until Ctrl-C.

    Args:
        argv: STATUS or TOP, and what follows.
        sleep: waits for a number of seconds.

    Raises:
        CloudError: the address has another form.
        BoardSilentError: no board answers there.
    """
    arguments = _parser(argv[0]).parse_args(argv[1:])
    state = state_of(arguments.address)  # one that never answered ends the command
    if argv[0] == TOP:
        _follow(arguments.address, state, sleep)
    elif arguments.json:
        print(json.dumps(state))
    else:
        Console().print(screen(state))
    return 0


def _follow(address: str, state: dict[str, Any], sleep: Callable[[float], object]) -> None:
    with Live(screen(state), screen=True, auto_refresh=False) as live:
        try:
            while True:
                sleep(PERIOD_S)
                live.update(_seen(address), refresh=True)
        except KeyboardInterrupt:
            return


def _seen(address: str) -> RenderableType:
    """The screen, or why there is none at present: a daemon may be started anew."""
    try:
        return screen(state_of(address))
    except BoardSilentError as error:
        return Text(str(error), "bold red")


def _parser(name: str) -> argparse.ArgumentParser:
    what = {
        STATUS: "Show what a board that deploy.py drives does, on one screen.",
        TOP: "The same as `status`, anew every second, until Ctrl-C.",
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
