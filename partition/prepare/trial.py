"""Trial of a graph in a process of its own: loading a damaged one may end the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from partition.errors import ModelExportError
from partition.providers.session import RUNTIME_ERRORS, make_session

_TRIAL = ("-c", "from partition.prepare import trial; trial.load()")
_LIMIT_S = 60.0
_LONGEST = 200
"""Characters of what the process said last."""


def cannot_load(name: str, model: onnx.ModelProto) -> str | None:
    """Why ONNX Runtime does not load a graph; None if it does.

    Args:
        name: of the network.
        model: the graph.

    Raises:
        ModelExportError: the process that loads it does not survive that, fails, or does not end.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            done = subprocess.run(
                [sys.executable, *_TRIAL, str(path)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _damaged(name, f"is not loaded within {_LIMIT_S:.0f} s") from None
    if done.returncode:
        raise _damaged(name, f"ends the process that loads it ({_how_it_ended(done)})")
    return done.stdout or None


def _how_it_ended(done: subprocess.CompletedProcess[str]) -> str:
    """By a signal, or the last thing that it said."""
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return said[-1][:_LONGEST] if said else f"exit code {done.returncode}"


def _damaged(name: str, what: str) -> ModelExportError:
    return ModelExportError(
        f"model {name!r} {what}: it is damaged, or ONNX Runtime {ort.__version__} has a fault; "
        "fetch or export it again"
    )


def load() -> None:
    """Load the graph that the command line names; print why it is refused, if it is."""
    try:
        make_session(Path(sys.argv[1]))
    except RUNTIME_ERRORS as error:
        sys.stdout.write(str(error))
