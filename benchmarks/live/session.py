"""One exact link with a server at its end, and the live runs over it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.live.cell import BEGUN, LiveRun
from benchmarks.live.course import Course
from benchmarks.live.link import ExactLink, exact_link
from envs.errors import EnvError
from partition.model.folder import ModelFolder

START_S = 12.0
"""That a run and its server take to start, about."""
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class LiveSession:
    """Runs over one link.

    Attributes:
        folder: the network.
        directory: for scenarios.
    """

    folder: ModelFolder
    directory: Path
    link: ExactLink
    address: str

    def run(
        self,
        course: Course,
        seconds: float,
        seed: int,
        *,
        board: str,
        device: str,
        gflop_per_s: float,
        run: Path | None = None,
        action: tuple[int, ...] = (),
        control_s: float = 0.0,
    ) -> dict[str, Any]:
        """Serve the requests of a course over the link, which follows it.

        Args:
            course: link and requests.
            seconds: how long.
            seed: of the requests.
            board: name.
            device: that it is.
            gflop_per_s: that the server is taken to have before it answers.
            run: folder of the policy that decides; else a fixed action does.
            action: the fixed one.
            control_s: of a control before, on the board alone.

        Raises:
            EnvError: the run failed.
        """
        what = LiveRun(
            board=board,
            device=device,
            model=str(self.folder.path),
            scenario=str(course.scenario(self.directory, gflop_per_s)),
            cloud=self.address,
            seconds=seconds,
            seed=seed,
            run=None if run is None else str(run),
            action=action,
            control_s=control_s,
        )
        schedule = course.schedule(seconds)
        self.link.follow(schedule[:1])
        process = self.link.edge("benchmarks.live.cell", json.dumps(asdict(what)))
        assert process.stdout is not None
        begun = process.stdout.readline().strip() == BEGUN
        if begun:
            self.link.follow(schedule)
        try:
            printed, errors = process.communicate(timeout=seconds + _PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise EnvError("a live run did not end in time") from None
        if process.returncode or not begun:
            last = errors.strip().splitlines()[-1:] or ["it said nothing"]
            raise EnvError(f"a live run failed: {last[0]}")
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return found


@contextmanager
def live_session(folder: ModelFolder, course: Course) -> Iterator[LiveSession]:
    """A link as a course begins, and a server of a network behind it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        exact_link(float(course.rates_mbps[0]) * 1e6, course.rtt_ms / 1e3) as link,
    ):
        yield LiveSession(folder, Path(directory), link, link.serve(str(folder.path)))
