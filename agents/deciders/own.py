"""Deciders of a user's own, in a module anywhere on the path: `--algo MODULE:CLASS`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from agents.deciders.base import Decider
from agents.deciders.fitted import DeciderEntry, FittedDecider, Kind
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Parameters, Rule, RuleKind
from agents.errors import OwnCodeError
from envs.errors import ActionError
from envs.plant import Indices, Plant, Readings
from envs.sim.sim_config import SimConfig
from envs.spaces import ActionDecoder, ObservationEncoder, Observations, observation_fields


class OwnDecider(ABC):
    """Base of what decides by code of your own; only `decide` has to be written.

    It is built as `CLASS(known, **parameters)` of what `fit` returned, after training as on a
    board, where neither torch nor the simulator need be installed.

    Attributes:
        known: what is public about board, network and cost.
        looks_into_the_simulation: whether it decides by what no sensor shows, and drives no board.
    """

    looks_into_the_simulation: ClassVar[bool] = False

    def __init__(self, known: NominalModel) -> None:
        """Keep what is known; a class with parameters takes them as keywords besides."""
        self.known = known
        self._encoder = ObservationEncoder(observation_fields(known.layout))

    @classmethod
    def fit(cls, world: SimConfig, seed: int) -> Parameters:  # noqa: ARG003 - for subclasses
        """Learn or search in a simulated world.

        Args:
            world: for `envs.vec_env.EdgeSplitVecEnv`, `envs.sim.batched_simulator` and others.
            seed: of everything random.

        Returns:
            Keywords of the constructor: plain values as JSON holds them, and arrays of numbers.
        """
        return {}

    def begin(self, plant: Plant, n: int) -> None:  # noqa: B027 - many remember nothing
        """Forget what was; an episode of `n` boards begins."""

    @abstractmethod
    def decide(self, observations: Observations) -> Indices:
        """Choose actions, shape (n, n_axes), by observations of shape (n, n_fields)."""

    def readings(self, observations: Observations) -> Readings:
        """Physical values of observations, arrays of shape (n,)."""
        return self._encoder.decode(observations)


class _Checked:
    """A decider whose actions are checked before anything carries them out."""

    def __init__(self, name: str, decider: OwnDecider) -> None:
        """Watch over `decider`."""
        self._name, self._decider = name, decider
        self._axes = ActionDecoder(decider.known.layout.axes)

    def begin(self, plant: Plant, n: int) -> None:
        """Start it over."""
        self._decider.begin(plant, n)

    def decide(self, observations: Observations) -> Indices:
        """Decide.

        Raises:
            OwnCodeError: what was chosen are no actions.
        """
        chosen = np.asarray(self._decider.decide(observations))
        try:
            actions = self._axes.from_indices(chosen)
        except ActionError as error:
            raise OwnCodeError(f"{self._name} decided wrongly: {error}") from None
        if len(actions) != len(observations):
            raise OwnCodeError(
                f"{self._name} decided for {len(actions)} boards of {len(observations)}; return a "
                f"row for each"
            )
        return actions


def is_own(name: str) -> bool:
    """Whether a name is one of a user's own code."""
    return ":" in name


def find(name: str) -> Any:
    """Import what `MODULE:NAME` names; modules in the working directory are found, too.

    Raises:
        OwnCodeError: there is no such module, or nothing of that name in it.
    """
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, ValueError) as error:
        raise OwnCodeError(
            f"{name} cannot be imported ({error}); start from the folder that {module_name!r} lies "
            f"in, or put that on PYTHONPATH"
        ) from None
    except AttributeError as error:
        raise OwnCodeError(f"{name} cannot be imported ({error}); correct the name") from None


def own_entry(name: str, found: Any) -> DeciderEntry:
    """How to get a decider of a user's own.

    Args:
        name: `MODULE:CLASS`.
        found: the class.

    Raises:
        OwnCodeError: it is none.
    """
    cls = _checked_class(name, found)

    def build(world: SimConfig, seed: int) -> FittedDecider:
        rule = Rule(own_kind(name), checked_parameters(name, cls.fit(world, seed)))
        decider = rule.build(NominalModel.of(world))
        return FittedDecider(decider, rule=None if cls.looks_into_the_simulation else rule)

    fits = any("fit" in vars(base) for base in cls.__mro__[: cls.__mro__.index(OwnDecider)])
    kind: Kind = "learned" if fits else "rule"
    return DeciderEntry("privileged" if cls.looks_into_the_simulation else kind, build)


def own_kind(name: str) -> RuleKind:
    """The kind of rule that a class of a user's own is, saved under its name.

    Raises:
        OwnCodeError: it cannot be imported, or is none.
    """
    cls = _checked_class(name, find(name))

    def build(known: NominalModel, parameters: Parameters) -> Decider:
        return _Checked(name, cls(known, **parameters))

    return RuleKind(name, build, reads_scaled=True)


def checked_parameters(name: str, parameters: Any) -> Parameters:
    """Refuse what cannot be saved.

    Raises:
        OwnCodeError: a value is neither plain nor an array of finite numbers.
    """
    if not isinstance(parameters, dict):
        raise OwnCodeError(f"fit of {name} returned {type(parameters).__name__}; return a dict")
    for key, value in parameters.items():
        try:
            if not isinstance(value, np.ndarray):
                read_back = json.loads(json.dumps({key: value}, allow_nan=False))
                if read_back != {key: value}:  # what was judged is what has to be deployed
                    raise ValueError(f"it would be read back as {read_back}")
            elif value.dtype.kind not in "biuf" or not np.isfinite(value).all():
                raise ValueError(f"an array of {value.dtype} with values that are no numbers")
        except (TypeError, ValueError) as error:
            raise OwnCodeError(
                f"parameter {key} of {name} cannot be saved ({error}); fit must return numbers, "
                f"texts, lists, dicts by text and arrays of finite numbers"
            ) from None
    return dict(parameters)


def _checked_class(name: str, found: Any) -> type[OwnDecider]:
    if not (isinstance(found, type) and issubclass(found, OwnDecider)):
        raise OwnCodeError(
            f"{name} is no class that decides: derive it from agents.deciders.own.OwnDecider"
        )
    missing = ", ".join(sorted(found.__abstractmethods__))
    if missing:
        raise OwnCodeError(f"{name} lacks {missing}")
    return found
