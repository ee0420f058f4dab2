"""What the last comparison on a board found, as `deploy.py --against` left it in its run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec

from agents.comparison.arms import GOVERNOR
from agents.comparison.proof import RESULT_FILE
from envs.plant import Layout
from partition import json_file

logger = logging.getLogger(__name__)


class _Saving(msgspec.Struct):
    value: float | None
    low: float | None
    high: float | None


class _Result(msgspec.Struct):
    """Of `ComparisonReport.document`, what stands on a page."""

    against: str
    board: str
    model: str
    board_is_modelled: bool
    scenario: str
    is_shown: bool
    answer: str
    energy_saving: _Saving | None


def last_saving(run: Path, layout: Layout, *, is_modelled: bool) -> dict[str, Any] | None:
    """What the newest comparison of a policy with the board's governors found.

    Where there is none with the governors, the newest with anything else.

    Args:
        run: folder of the run.
        layout: of the board and the network; a comparison on others does not count.
        is_modelled: whether the board is; one on a real board of that name is another one.

    Returns:
        Plain values, keys as in `ComparisonReport.document`, and `measured`, when; None if there
        was no such comparison, or it found nothing.
    """
    results = [
        (folder.name.rpartition("-")[2], result)
        for folder in run.glob("against-*")
        if (result := _read(folder)) is not None
        and result.energy_saving is not None
        and result.energy_saving.value is not None
        and (result.board, result.model) == (layout.board, layout.model)
        and result.board_is_modelled == is_modelled
    ]
    if not results:
        return None
    measured, newest = max(results, key=lambda each: (each[1].against == GOVERNOR, each[0]))
    return {**msgspec.to_builtins(newest), "measured": measured}


def _read(folder: Path) -> _Result | None:
    """What a comparison found; None where it did not get so far, or cannot be read."""
    file = folder / RESULT_FILE
    try:
        return msgspec.convert(json_file.read(file), _Result)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("what was saved is not shown: %s cannot be read (%s)", file, error)
        return None
