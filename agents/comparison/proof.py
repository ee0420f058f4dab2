"""Proof of a saving: a comparison with its folder of results."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path

from agents.comparison.arms import Arm
from agents.comparison.report import ComparisonReport
from agents.comparison.schedule import BlockLength
from agents.comparison.step_log import StepLog, unwritable
from agents.comparison.switchback import Record, Switchback, planned
from agents.whole_file import written_whole
from common import extras
from envs.edge_env import EdgeSplitEnv
from envs.live.plant import STEP_S, LivePlant

STEPS_FILE, RESULT_FILE, PICTURE_FILE = "steps.csv", "result.json", "result.png"


class Proof:
    """A comparison of two arms on one board.

    Args:
        arms: the first is judged against the second.
        minutes: that it may take.
        parent: folder in which that of its results is made.
        scenario: the requests.

    Attributes:
        length: of a block.
        folder: of the results.

    Raises:
        AgentError: too few minutes.
    """

    def __init__(self, arms: tuple[Arm, Arm], minutes: float, parent: Path, scenario: str) -> None:
        self.length = BlockLength()
        self._rule = planned(minutes, self.length, STEP_S)
        self._arms, self._scenario = arms, scenario
        self._seed = secrets.randbits(32)
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        self.folder = parent / f"against-{arms[1].name}-{now}"

    def run(
        self,
        env: EdgeSplitEnv,
        is_stopped: Callable[[], bool],
        show: Callable[[str], object],
    ) -> ComparisonReport:
        """Compare on an open board.

        Args:
            env: with episodes of `length.n_steps` steps.
            is_stopped: asked at every step.
            show: takes a line for people.

        Raises:
            RunFolderError: the folder cannot be made.
            HardwareError: the clocks cannot be given back to the board's governors.
            OSError: there is no room for the steps any more.
        """
        plant = env.plant
        if not isinstance(plant, LivePlant):
            raise TypeError(f"a comparison needs a live plant, got {type(plant).__name__}")
        first, second = (arm.title for arm in self._arms)
        seconds = self.length.counted * plant.step_s
        show(f"{plant.layout.model} runs on {plant.placement}")
        for address in plant.addresses:
            show(f"answers applications at {address}")
        show(f"{first} against {second} in turns of {seconds:g} s; steps go to {self.folder}")
        self._make_folder()
        with StepLog(self.folder / STEPS_FILE, plant.layout.domains) as log:
            turns = Switchback(
                env, self._arms, self._rule, log, length=self.length, seed=self._seed
            )
            report = ComparisonReport(
                self._arms,
                plant,
                self._rule,
                self.length,
                self._seed,
                self._scenario,
                self.folder,
                turns.record,
            )

            def tell(_: Record) -> None:
                show(report.line())

            turns.run(is_stopped, tell)
        return report

    def keep(self, report: ComparisonReport, show: Callable[[str], object]) -> None:
        """Write what it came to, and draw it; the board need not be open any more.

        Raises:
            OSError: it cannot be written.
        """
        with written_whole(self.folder / RESULT_FILE) as stream:
            stream.write((json.dumps(report.document(), indent=2) + "\n").encode())
        if not report.record.rounds:
            return
        if find_spec("matplotlib") is None:
            show(
                "no picture was drawn: the package matplotlib is not installed; "
                f"{extras.install('train')} brings it"
            )
            return
        from agents.comparison.picture import draw  # noqa: PLC0415 - boards do without matplotlib

        draw(report, self.folder / PICTURE_FILE)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise unwritable(self.folder, error) from None
