"""Runs of a network that come to an end, whatever its file says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from partition.prepare.samples import Feeds

LIMIT_S = 20.0
"""A loop whose number of rounds is damaged may go on for years, and fill the memory meanwhile."""
_ENDED = "terminate flag"
"""In ONNX Runtime's words for a run that was ended from outside."""


def run(
    session: ort.InferenceSession, names: Sequence[str] | None, feeds: Feeds
) -> list[npt.NDArray[Any]]:
    """Outputs of a session.

    Args:
        session: of the network.
        names: of the outputs; None for all.
        feeds: by name of the input.

    Raises:
        what `partition.providers.session.RUNTIME_ERRORS` lists: it does not run, or takes longer
        than `LIMIT_S`.
    """
    options = ort.RunOptions()
    timer = threading.Timer(LIMIT_S, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        outputs: list[npt.NDArray[Any]] = session.run(names, dict(feeds), options)
    finally:
        timer.cancel()
    return outputs


def is_endless(error: Exception) -> bool:
    """Whether a run was ended because it took too long."""
    return _ENDED in str(error)
