"""Arguments of environments as users give them, checked: each wrong one ends in a sentence."""

from __future__ import annotations

import importlib.util
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from common.names import meant
from envs.errors import EnvError

P = ParamSpec("P")
EnvT = TypeVar("EnvT")

WEIGHTS = {
    "deadline": "deadline_weight",
    "accuracy": "accuracy_weight",
    "switching": "switching_weight",
    "thermal": "thermal_weight_per_c",
}
"""Weights of the cost by its terms, as `envs.objective.Objective` calls them; energy and time are
weighed by eta."""
RENDER_MODES = ("ansi", "rgb_array")


def only_known(env_id: str) -> Callable[[Callable[P, EnvT]], Callable[P, EnvT]]:
    """A decorator of what makes an environment: a keyword that it does not have is an EnvError.

    Args:
        env_id: that `gymnasium.make` is given.
    """

    def decorate(make: Callable[P, EnvT]) -> Callable[P, EnvT]:
        known = inspect.signature(make).parameters

        @wraps(make)
        def checked(*values: P.args, **options: P.kwargs) -> EnvT:
            for name in options:
                if name not in known:
                    raise EnvError(f"{env_id} has no argument {name!r}{meant(name, known)}")
            return make(*values, **options)

        return checked

    return decorate


def name_or_file(argument: str, value: object) -> str:
    """A name or a path as text.

    Raises:
        EnvError: it is neither.
    """
    if isinstance(value, str | os.PathLike):
        return str(os.fspath(value))
    meant = "HOST:PORT" if argument == "cloud" else "a name or a file"
    raise EnvError(f"{argument} is {value!r}; give {meant}")


def names_or_files(argument: str, value: object) -> list[str]:
    """One or several names or paths, as texts.

    Raises:
        EnvError: there is none, or one is something else.
    """
    if isinstance(value, str | os.PathLike):
        return [name_or_file(argument, value)]
    if not isinstance(value, Sequence) or not value:
        raise EnvError(f"{argument} is {value!r}; give a name, a file, or a list of them")
    return [name_or_file(argument, each) for each in value]


def one_name_or_file(argument: str, value: object) -> str:
    """The same where several make no sense.

    Raises:
        EnvError: there is not exactly one.
    """
    names = names_or_files(argument, value)
    if len(names) != 1:
        raise EnvError(f"{argument} is {value!r}; give one, a live board has one at a time")
    return names[0]


def folder(argument: str, value: object) -> Path | None:
    """A path, or None.

    Raises:
        EnvError: it is neither.
    """
    return None if value is None else Path(name_or_file(argument, value))


def share(argument: str, value: object) -> float:
    """A number within 0 and 1.

    Raises:
        EnvError: it is none.
    """
    if isinstance(value, int | float) and 0.0 <= value <= 1.0:
        return float(value)
    raise EnvError(f"{argument} is {value!r}; give a number within 0 and 1")


def count(argument: str, value: object) -> int:
    """A whole number of 1 or more.

    Raises:
        EnvError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise EnvError(f"{argument} is {value!r}; give a whole number of 1 or more")


def cost_weights(value: Mapping[str, float] | None) -> dict[str, float]:
    """Weights of the cost, as keywords of `envs.objective.Objective`.

    Raises:
        EnvError: an unknown term, or a weight that is negative or no number.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise EnvError(f"weights are {value!r}; give a dict of {', '.join(WEIGHTS)}")
    for term, weight in value.items():
        if term not in WEIGHTS:
            raise EnvError(
                f"weights name {term!r}; choose among {', '.join(WEIGHTS)} (eta weighs energy "
                f"against time)"
            )
        if not isinstance(weight, int | float) or not 0.0 <= weight < math.inf:
            raise EnvError(f"weight {term} is {weight!r}; give a finite number of 0 or more")
    return {WEIGHTS[term]: float(weight) for term, weight in value.items()}


def render_mode(value: str | None) -> str | None:
    """How an environment shows itself, if at all.

    Raises:
        EnvError: an unknown way, or one whose package is missing.
    """
    if value is not None and value not in RENDER_MODES:
        raise EnvError(f"render_mode is {value!r}; choose among {', '.join(RENDER_MODES)}")
    if value == "rgb_array" and importlib.util.find_spec("matplotlib") is None:
        raise EnvError(
            "render_mode 'rgb_array' draws with matplotlib, which is missing: pip install "
            "matplotlib"
        )
    return value
