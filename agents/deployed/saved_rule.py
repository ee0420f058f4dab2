"""A rule in a policy folder: `policy.json` alone, with its name and parameters."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.deciders.rule import Rule
from agents.errors import PolicyError
from agents.policy import checksum
from agents.policy.frozen import METADATA_FILE
from agents.policy.remedy import CLOCKS, RETRAIN, shown, train_for
from agents.rules import KINDS, make_rule
from envs.plant import Axis, Layout
from partition import json_file

SCHEMA_VERSION = 2
WITHOUT_CHECKSUM = 1
"""The version before there was a checksum, which is read, too."""
KIND, PRIVILEGED = "rule", "privileged"


@dataclass(frozen=True, slots=True)
class SavedRule:
    """A rule and the plant it was made for.

    Attributes:
        algorithm: name of the decider, as `train.py --algo` takes it.
        rule: how to build it.
        layout: of the plant.
    """

    algorithm: str
    rule: Rule
    layout: Layout

    def check_layout(self, layout: Layout) -> None:
        """Refuse to drive anything but what the rule was made for.

        Whoever leaves the clocks to a board's governors may run on any board.

        Raises:
            PolicyError: another model or other routes; another board or other clocks.
        """
        mine = self.layout
        compared = [
            ("model", mine.model, layout.model),
            ("routes of the model", mine.cut_list_fingerprint, layout.cut_list_fingerprint),
            ("routes of the model", mine.axes[-1].values, layout.axes[-1].values),
        ]
        if not self.rule.leaves_clocks:
            compared += [
                ("board", mine.board, layout.board),
                ("clock tables of the board", mine.board_fingerprint, layout.board_fingerprint),
                (CLOCKS, mine.domains, layout.domains),
            ]
        for what, fitted, found in compared:
            if fitted != found:
                told = f" ({shown(fitted)}, here {shown(found)})"
                remedy = train_for(layout) if what == CLOCKS else RETRAIN
                raise PolicyError(f"{self.algorithm} was fitted to another {what}{told}; {remedy}")
        if not self.rule.leaves_clocks and mine.axes != layout.axes:
            raise PolicyError(f"{self.algorithm} was fitted to other clock points; {RETRAIN}")

    def save(self, folder: Path) -> None:
        """Write `policy.json`."""
        rule = {"name": self.rule.name, "parameters": self.rule.parameters}
        document = {"kind": KIND, "algorithm": self.algorithm, **rule}
        _write(folder, document | {"layout": asdict(self.layout)})

    @classmethod
    def from_document(cls, document: dict[str, Any], folder: Path) -> SavedRule:
        """Take what `read_document` read.

        Raises:
            PolicyError: an older or newer version wrote it, or it is damaged.
        """
        version = document.get("schema_version")
        if version not in (WITHOUT_CHECKSUM, SCHEMA_VERSION):
            raise PolicyError(
                f"{folder / METADATA_FILE} has schema version {version!r} of a rule, this program "
                f"reads {WITHOUT_CHECKSUM} and {SCHEMA_VERSION}; fit it again with this version"
            )
        if document["kind"] == PRIVILEGED:
            raise PolicyError(
                f"{document.get('algorithm')} looks into the simulation and cannot drive a board; "
                f"deploy a learned policy or a rule"
            )
        try:
            if version != WITHOUT_CHECKSUM:
                checksum.check(document)
            if document["name"] not in KINDS:
                raise PolicyError(
                    f"{folder / METADATA_FILE} holds a rule {str(document['name'])!r}, which this "
                    f"version does not have; train another one with train.py --algo"
                )
            rule = make_rule(str(document["name"]), dict(document["parameters"]))
            rule.check()
            return cls(str(document["algorithm"]), rule, _layout(document["layout"]))
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise PolicyError(
                f"{folder} is damaged ({type(error).__name__}: {error}); copy or fit it again"
            ) from None


def save_privileged(algorithm: str, folder: Path) -> None:
    """Write a `policy.json` that says why there is nothing to deploy."""
    _write(folder, {"kind": PRIVILEGED, "algorithm": algorithm})


def read_document(folder: Path) -> dict[str, Any] | None:
    """Read `policy.json` if it is a rule's; None leaves it to `FrozenPolicy`."""
    try:
        document = json_file.read(folder / METADATA_FILE)
    except (OSError, ValueError):
        return None
    is_rule = isinstance(document, dict) and document.get("kind") in {KIND, PRIVILEGED}
    return document if is_rule else None


def _write(folder: Path, document: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = checksum.sealed({"schema_version": SCHEMA_VERSION, **document})
    text = json.dumps(document, indent=1, allow_nan=False)
    (folder / METADATA_FILE).write_text(text + "\n", encoding="utf-8")


def _layout(document: dict[str, Any]) -> Layout:
    axes = tuple(Axis(a["name"], tuple(a["values"])) for a in document["axes"])
    if not 0.0 < document["max_power_w"] < float("inf"):
        raise ValueError(f"max_power_w is {document['max_power_w']!r}")
    return Layout(**{**document, "axes": axes})
