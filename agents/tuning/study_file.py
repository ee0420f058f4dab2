"""Record of a search: `tuning.json`, written whole after each training, and its tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from agents.errors import RunFolderError
from agents.training.hyperparams import Value
from agents.training.run import TrainConfig, write_json
from agents.whole_file import written_whole
from common.schema import convert
from partition import json_file

STUDY_FILE = "tuning.json"
CSV_FILE, PAGE_FILE = "tuning.csv", "tuning.md"
State = Literal["begun", "done", "pruned", "failed"]


@dataclass(kw_only=True, slots=True)
class Training:
    """One training of a search.

    Attributes:
        trial: number of its settings; 0 has what ships.
        seed: of everything random.
        settings: those that are searched, by name.
        state: "begun" is begun again where the search was cut.
        cost: of the best policy on the validation episodes; None unless it is done.
        costs: of each validation.
        cpu_s: processor time.
        reason: why it failed.
    """

    trial: int
    seed: int
    settings: dict[str, Value]
    state: State = "begun"
    cost: float | None = None
    costs: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    reason: str = ""


@dataclass(kw_only=True, slots=True)
class Study:
    """A search.

    Attributes:
        config: of its trainings, but for their seeds and settings.
        n_trials: settings to try.
        trainings: in the order in which they were begun.
        n_validation_episodes: that each policy was judged by.
    """

    config: TrainConfig
    n_trials: int
    trainings: list[Training] = field(default_factory=list)
    n_validation_episodes: int = 0

    @property
    def trials(self) -> list[Training]:
        """Those of the search itself, one for each of the settings."""
        return [each for each in self.trainings if each.seed == self.config.seed]

    def again(self, trial: int) -> list[Training]:
        """Those of one trial's settings with other seeds."""
        return [
            each for each in self.trainings if each.trial == trial and each.seed != self.config.seed
        ]

    def save(self, folder: Path) -> None:
        """Write the record and both tables.

        Raises:
            OSError: they cannot be written; what was there before is left.
        """
        write_json(folder / STUDY_FILE, asdict(self))
        header, rows = _table(self.trainings)
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        _write(folder / CSV_FILE, text.getvalue())
        _write(folder / PAGE_FILE, _page(self, header, rows))


def read(folder: Path) -> Study:
    """Read the record of a search.

    Raises:
        RunFolderError: there is none, or it is damaged.
    """
    path = folder / STUDY_FILE
    try:
        return convert(json_file.read(path), Study)
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no search; give the folder of one") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged ({error}); search in another folder") from None


def shown(value: Value | None) -> str:
    """A setting as `--hyperparams` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(trainings: Sequence[Training]) -> tuple[list[str], list[list[str]]]:
    names = list(trainings[0].settings) if trainings else []
    header = ["trial", "seed", "state", "validation cost", "processor s", *names, "reason"]
    rows = [
        [
            *(str(each.trial), str(each.seed), each.state),
            "" if each.cost is None else f"{each.cost:.4f}",
            f"{each.cpu_s:.0f}",
            *(shown(each.settings.get(name)) for name in names),
            each.reason,
        ]
        for each in trainings
    ]
    return header, rows


def _page(study: Study, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    config = study.config
    lines = [
        f"# Settings of {config.algo}, searched",
        "",
        f"{config.device}, {config.model}, {', '.join(config.scenario)}; modelled. Trial 0 has "
        f"what ships. A cost is that of a training's best policy on {study.n_validation_episodes} "
        f"validation episodes; the best trials were trained again with other seeds.",
        "",
        *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header))),
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    with written_whole(path) as stream:
        stream.write(text.encode())
