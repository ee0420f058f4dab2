"""Log of what a deployed policy saw, did and paid, step by step, for learning off-line.

A file of lines of JSON: first what they are of, then one control step in each. Its size is bounded:
when it is half full it becomes FILE.1, in the place of the one before, and a new one is begun. It
holds numbers of the board, and nothing of the requests but their rate and times.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.errors import AgentError
from common.regular_file import IrregularFileError, open_regular
from common.schema import Table, shown
from envs.arrays import Floats
from envs.edge_env import was_obeyed
from envs.plant import Indices, Layout
from envs.spaces import Observations, observation_fields
from hw.outage import Outage

SCHEMA_VERSION = 2
LARGEST_BYTES = 64 * 2**20
"""Of both files together: about 28 hours of a board with three clocks."""
LONGEST_LINE = 2**16
MAX_STEPS = 400_000
"""Latest steps that are learned from, 28 hours."""
_DIGITS = 5
"""Of an observation in [-1, 1]: a hundredth of the finest that a policy tells apart."""


class LoggedStep(Table, frozen=True):
    """One control step.

    Attributes:
        begins: whether it is the first after a reset, or after steps that are not there.
        observation: that the action was taken on, shape (n_fields,).
        action: an index per axis.
        terms: of the cost, by name.
        counts: whether the clocks were those that were asked for, and power was measured.
        late_s: time by which the step began after it was due.
    """

    begins: bool
    observation: tuple[float, ...]
    action: tuple[int, ...]
    terms: dict[str, float]
    counts: bool
    late_s: float


@dataclass(frozen=True, slots=True)
class LoggedSteps:
    """What is left of a log, oldest first; n steps.

    Attributes:
        begins: whether a step is the first of an unbroken row, shape (n,).
        observations: shape (n, n_fields).
        actions: shape (n, n_axes).
        costs: the plain cost of each, shape (n,).
        switching: the part of it that changes of the action cost, shape (n,).
        counts: whether a step may be learned from, shape (n,).
        n_damaged: lines that could not be read.
    """

    begins: NDArray[np.bool_]
    observations: Observations
    actions: Indices
    costs: Floats
    switching: Floats
    counts: NDArray[np.bool_]
    n_damaged: int


class TransitionLog:
    """Writes a log; a disk that is full or gone costs steps of it, and nothing else."""

    def __init__(
        self, path: Path, algorithm: str, layout: Layout, largest_bytes: int = LARGEST_BYTES
    ) -> None:
        """Begin a file, or go on with one of the same board and network.

        Args:
            path: of the file.
            algorithm: what decides.
            layout: of the board and the network.
            largest_bytes: of the file and the one before it together.

        Raises:
            AgentError: it cannot be written, or is something else.
        """
        self._path, self._half = path, largest_bytes // 2
        self._header = _header(algorithm, layout)
        self._begins = True
        self._is_torn = False
        self._outage = Outage(f"writing {path}", "steps are missing from it until that works again")
        try:
            if path.exists() and not path.is_file():
                raise IrregularFileError
            if path.exists() and path.stat().st_size:
                _check_header(path, layout)
            self._open()
        except OSError as error:
            reason = error.strerror or error
            raise AgentError(
                f"the log {path} cannot be written ({reason}); give another --log"
            ) from None

    def __enter__(self) -> TransitionLog:
        """Enter the context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._file)

    def begin(self) -> None:
        """The next step is the first after a reset."""
        self._begins = True

    def add(
        self,
        observation: NDArray[np.float32],
        action: Indices,
        info: Mapping[str, Any],
        *,
        is_measured: bool,
    ) -> None:
        """Write a step.

        Args:
            observation: that was decided on.
            action: that was taken.
            info: what the step told.
            is_measured: whether its power was.
        """
        step = LoggedStep(
            begins=self._begins,
            observation=tuple(np.round(observation.astype(np.float64), _DIGITS).tolist()),
            action=tuple(action.tolist()),
            terms=info["reward_terms"],
            counts=is_measured and was_obeyed(info),
            late_s=round(info["late_s"], 4),
        )
        try:
            self._write(msgspec.json.encode(step) + b"\n")
        except OSError as error:
            self._outage.failed(error.strerror or error)
            self._begins = self._is_torn = True
        else:
            self._outage.worked()
            self._begins = False

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.open(self._path, flags, 0o644)
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._file)
            raise IrregularFileError
        self._size = found.st_size
        self._is_torn = self._size > 0  # by a process that was killed, for all that is known
        if not self._size:
            self._write(self._header)

    def _write(self, line: bytes) -> None:
        if self._size + len(line) > self._half and self._size > len(self._header):
            self._path.replace(older(self._path))
            os.close(self._file)
            self._open()
        whole = b"\n" + line if self._is_torn else line
        written = os.write(self._file, whole)
        self._size += written
        if written < len(whole):
            raise OSError(0, "no space left")
        self._is_torn = False


def older(path: Path) -> Path:
    """The file that a log's earlier steps are in."""
    return path.with_name(f"{path.name}.1")


def read_log(path: Path, layout: Layout) -> LoggedSteps:
    """Read the latest steps of a log, which somebody else may have written.

    Args:
        path: of the file; what is in FILE.1 comes before it.
        layout: of the board and the network that it must be of.

    Raises:
        AgentError: it cannot be read, is of another board or network, or holds no step.
    """
    steps: deque[LoggedStep] = deque(maxlen=MAX_STEPS)
    n_damaged = 0
    files = [file for file in (older(path), path) if file.is_file()] or [path]
    for file in files:
        try:
            _check_header(file, layout)
            with open_regular(file) as stream:
                is_torn = True
                for line in _lines(stream):
                    step = _step(line, layout)
                    if step is None:
                        n_damaged += 1
                        is_torn = True
                        continue
                    steps.append(msgspec.structs.replace(step, begins=step.begins or is_torn))
                    is_torn = False
        except OSError as error:
            raise AgentError(
                f"the log {file} cannot be read ({error.strerror or error}); name the FILE of "
                f"deploy.py --log FILE"
            ) from None
    if not steps:
        raise AgentError(f"the log {path} holds no step; deploy longer with --log {path}")
    return LoggedSteps(
        begins=np.array([step.begins for step in steps]),
        observations=np.array([step.observation for step in steps], np.float32),
        actions=np.array([step.action for step in steps], np.int64),
        costs=np.array([sum(step.terms.values()) for step in steps]),
        switching=np.array([step.terms.get("switching", 0.0) for step in steps]),
        counts=np.array([step.counts for step in steps]),
        n_damaged=n_damaged,
    )


def _header(algorithm: str, layout: Layout) -> bytes:
    """The first line."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "policy": algorithm,
        "layout": asdict(layout),
        "fields": [asdict(f) for f in observation_fields(layout)],
    }
    return msgspec.json.encode(document) + b"\n"


def _check_header(path: Path, layout: Layout) -> None:
    """Refuse what is no log of a board and network.

    Raises:
        AgentError: it is not.
        OSError: it cannot be read.
    """
    with open_regular(path) as stream:
        line = stream.readline(LONGEST_LINE)
    expected = msgspec.json.decode(_header("", layout))
    try:
        found = msgspec.json.decode(line)
        names = {key: found[key] for key in expected}
    except (msgspec.DecodeError, LookupError, TypeError, RecursionError):
        raise AgentError(
            f"{path} is no log of deploy.py --log; name one, or a file that does not exist yet"
        ) from None
    for key in ("schema_version", "fields"):
        if names[key] != expected[key]:
            raise AgentError(
                f"the log {path} was written by another version ({key} is {shown(names[key])}); "
                f"begin another file"
            )
    if names["layout"] != expected["layout"]:
        raise AgentError(
            f"the log {path} is of another board, other clocks or another network than "
            f"{layout.board} with {layout.model}; name another file"
        )


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines behind the first one, blank ones left out; one that is too long comes in pieces."""
    stream.readline(LONGEST_LINE)
    while line := stream.readline(LONGEST_LINE):
        if line.strip():
            yield line


_DECODER = msgspec.json.Decoder(LoggedStep)


def _step(line: bytes, layout: Layout) -> LoggedStep | None:
    """A line as a step; None where it is none of this board, as the last one of a killed process.

    An observation lies within -1 and 1, and indices within their axes.
    """
    step = None
    with suppress(msgspec.DecodeError, RecursionError):
        step = _DECODER.decode(line)
    if step is None:
        return None
    n_fields, sizes = len(observation_fields(layout)), [len(axis.values) for axis in layout.axes]
    is_whole = len(step.observation) == n_fields and len(step.action) == len(sizes)
    if not is_whole or not all(abs(value) <= 1.0 for value in step.observation):
        return None
    if not all(0 <= index < size for index, size in zip(step.action, sizes, strict=True)):
        return None
    return step if all(0.0 <= term < np.inf for term in step.terms.values()) else None
