"""A rule as a policy: its name and parameters, and the plant it was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from agents.deciders.base import Decider
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Rule, RuleKind
from agents.errors import PolicyError
from agents.policy.folder import PRIVILEGED, Stored, promises_nothing, write
from agents.policy.remedy import CLOCKS, RETRAIN, other_observations, refuse_another
from common import command
from envs.governed.governing import Governing
from envs.plant import Layout
from envs.spaces import observation_fields

RULE = "rule"


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

    @property
    def kind(self) -> str:
        """Name of the rule."""
        return self.rule.name

    @property
    def leaves_clocks(self) -> bool:
        """Whether the clocks are the stock governors' business."""
        return self.rule.leaves_clocks

    @property
    def governing(self) -> Governing | None:
        """Governors of the clocks, where it leaves them alone, as simulated boards have them."""
        return self.rule.kind.governing

    def check_layout(self, layout: Layout) -> None:
        """Refuse to drive anything but what the rule was made for.

        A rule that leaves the clocks to a board's governors may run on any board.

        Raises:
            PolicyError: another model or other routes; another board or other clocks.
        """
        mine = self.layout
        compared = [
            ("model", mine.model, layout.model),
            ("routes of the model", mine.cut_list_fingerprint, layout.cut_list_fingerprint),
            ("routes of the model", mine.axes[-1].values, layout.axes[-1].values),
        ]
        if not self.leaves_clocks:
            compared += [
                ("board", mine.board, layout.board),
                ("clock tables of the board", mine.board_fingerprint, layout.board_fingerprint),
                (CLOCKS, mine.domains, layout.domains),
            ]
        refuse_another(f"{self.algorithm} was fitted to", compared, layout)
        if not self.leaves_clocks and mine.axes != layout.axes:
            raise PolicyError(f"{self.algorithm} was fitted to other clock points; {RETRAIN}")

    def promising(self, promise: float) -> SavedRule:
        """The same, held to this share of requests in time.

        Raises:
            PolicyError: the rule weighs no actions by what they are expected to do.
        """
        if not self.rule.kind.takes_promise:
            raise promises_nothing(self.algorithm)
        return replace(self, rule=self.rule.with_parameters(promise=promise))

    def decider(self, known: Callable[[], NominalModel]) -> Decider:
        """Build the rule for boards of which `known` holds what is public."""
        return self.rule.build(known())

    def save(self, folder: Path) -> None:
        """Write the folder; parameters that are arrays go to the weights."""
        parameters = self.rule.parameters
        tensors = {k: v for k, v in parameters.items() if isinstance(v, np.ndarray)}
        plain = {k: v for k, v in parameters.items() if k not in tensors}
        content: dict[str, object] = {"name": self.rule.name, "parameters": plain}
        if self.rule.kind.reads_scaled:
            content["fields"] = [asdict(f) for f in observation_fields(self.layout)]
        write(folder, Stored(RULE, self.algorithm, self.layout, content, tensors))

    @classmethod
    def restored(cls, stored: Stored, kinds: Mapping[str, RuleKind]) -> SavedRule:
        """Build what a folder holds, a rule of one of `kinds`.

        Raises:
            PolicyError: there is no such kind, or it reads observations of other bounds.
            KeyError, TypeError, ValueError: what it holds is nonsense.
        """
        name = str(stored.content["name"])
        if name not in kinds:
            raise PolicyError(
                f"the policy is a rule {name!r}, which this version does not have; train another "
                f"one with {command.program('train')} --algo"
            )
        kind = kinds[name]
        expected = [asdict(f) for f in observation_fields(stored.layout)]
        if kind.reads_scaled and stored.content.get("fields") != expected:
            raise other_observations()
        rule = Rule(kind, {**stored.content["parameters"], **stored.tensors})
        rule.check()
        return cls(stored.algorithm, rule, stored.layout)


def save_privileged(algorithm: str, layout: Layout, folder: Path) -> None:
    """Write a folder that says why there is nothing to deploy."""
    write(folder, Stored(PRIVILEGED, algorithm, layout, {}, {}))
