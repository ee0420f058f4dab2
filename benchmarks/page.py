"""Common end of the commands that write a page of results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.errors import AgentError
from agents.training.machine import describe_machine
from envs.errors import EnvError
from hw.errors import HardwareError
from partition.errors import PartitionError


def write_page(make: Callable[[], str], page: Path) -> int:
    """Make a page and write it; 2 with one sentence on bad input or a full disk.

    Args:
        make: does the work, writes pictures next to the page into its folder, and returns its text.
        page: the file; its folder is there when `make` is called.
    """
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(make(), encoding="utf-8")
    except (AgentError, EnvError, HardwareError, PartitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write the page ({error}); free space or give --out", file=sys.stderr)
        return 2
    print(f"written to {page}")
    return 0


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table, its head in the first line."""
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rest])


def machine() -> str:
    """What the figures were made on, as a list."""
    return "\n".join(f"- {key}: {value}" for key, value in describe_machine().items())
