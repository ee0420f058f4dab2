"""Raw log of a comparison: one row of CSV per control step."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from agents.comparison.totals import Totals
from agents.errors import RunFolderError


@dataclass(frozen=True, slots=True)
class Step:
    """One control step.

    Attributes:
        time_s: since the comparison began, s.
        round: that it belongs to, the first one 1.
        block: of the round, the first one 1.
        attempt: of the block, the first one 1; where it was run again, the last one counts.
        arm: name of the arm that had the board.
        is_counted: whether it is none of the washout after a switch.
        power_w: mean power, a modelled radio included, W.
        power_is_measured: whether the last measured power did not stand in.
        decision_s: time that the decision took, s.
        route: name of the route in force.
        link_bps: estimated rate of the uplink, bit/s.
        margin_c: distance to the board's temperature limit, degrees C.
    """

    time_s: float
    round: int
    block: int
    attempt: int
    arm: str
    is_counted: bool
    power_w: float
    power_is_measured: bool
    decision_s: float
    route: str
    link_bps: float
    margin_c: float


class StepLog:
    """A file that grows by a row per step; a context.

    Args:
        path: of the file, which must not exist.
        domains: names of the clocks.

    Raises:
        RunFolderError: it cannot be written.
    """

    def __init__(self, path: Path, domains: Sequence[str]) -> None:
        self.path = path
        names = [f.name for kind in (Step, Totals) for f in fields(kind)]
        try:
            self._file = path.open("x", newline="", encoding="utf-8")
        except OSError as error:
            raise unwritable(path, error) from None
        self._rows = csv.writer(self._file)
        self._rows.writerow([*names, *(f"{name}_hz" for name in domains)])

    def add(self, step: Step, totals: Totals, clocks_hz: Sequence[float]) -> None:
        """Write one step, what was done in it and its clocks, Hz."""
        self._rows.writerow([*asdict(step).values(), *asdict(totals).values(), *clocks_hz])

    def flush(self) -> None:
        """Let readers see all rows."""
        self._file.flush()

    def __enter__(self) -> StepLog:
        """Enter the context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()


def unwritable(path: Path, error: OSError) -> RunFolderError:
    """What is said of a file or folder that cannot be written."""
    return RunFolderError(
        f"{path} cannot be written ({error.strerror}); give another folder with --out"
    )
