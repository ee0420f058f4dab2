"""Settings of a learner that a user gives instead of its recipe's: `--hyperparams KEY=VALUE`."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from agents.errors import AgentError
from agents.learners.algorithm import Algorithm, linear_to_zero
from common.names import meant

Value = bool | int | float | str
Hyperparams = Mapping[str, Value]

_OURS = {
    *("policy", "env", "seed", "device", "tensorboard_log", "verbose", "monitor_wrapper"),
    *("support_multi_env", "supported_action_spaces", "policy_base", "stats_window_size"),
    *("action_noise", "optimize_memory_usage", "use_sde", "use_sde_at_warmup", "sde_sample_freq"),
}
"""Arguments that training itself gives, or that its boards do not know."""
_COUNTS = {"n_envs", "n_steps", "n_epochs", "batch_size", "buffer_size", "target_update_interval"}
"""What trains nothing, without a word, where there is none of it."""
_NO_SETTING = re.compile(r"_.*|self|.*_(class|kwargs|support)")


def parsed(pairs: Sequence[str]) -> dict[str, Value]:
    """Read `KEY=VALUE`, where a value is a number, true, false, or else a text.

    Raises:
        AgentError: one is not of that form.
    """
    found: dict[str, Value] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals or not text:
            raise AgentError(f"hyperparameter {pair!r} has no value; give KEY=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found[name] = value if isinstance(value, bool | int | float | str) else text
    return found


def with_hyperparams(name: str, recipe: Algorithm, given: Hyperparams) -> Algorithm:
    """A recipe with some settings changed.

    A learning rate that falls to zero goes on to do so, from what is given.

    Args:
        name: of the algorithm.
        recipe: as it ships.
        given: settings by name.

    Raises:
        AgentError: it has no such setting, or one of another type.
    """
    settings = dict(recipe.settings)
    of_recipe = ("n_envs",) if recipe.ent_coef is None else ("n_envs", "ent_coef")
    known = sorted({*_arguments(recipe.agent_class), *of_recipe})
    for key, value in given.items():
        if key not in known:
            raise AgentError(f"{name} has no hyperparameter {key!r}{meant(key, known)}")
        shipped = getattr(recipe, key) if key in of_recipe else settings.get(key)
        is_rate = key == "learning_rate"
        if (is_rate or isinstance(shipped, int | float)) and isinstance(value, bool | str):
            raise AgentError(f"hyperparameter {key} of {name} is {value!r}; give a number")
        if isinstance(shipped, int) and not isinstance(value, int):
            raise AgentError(f"hyperparameter {key} of {name} is {value!r}; give a whole number")
        if isinstance(value, float) and not math.isfinite(value):
            raise AgentError(f"hyperparameter {key} of {name} is {value!r}; give a finite number")
        if key in _COUNTS and isinstance(value, int) and value < 1:
            raise AgentError(f"hyperparameter {key} of {name} is {value!r}; give 1 or more")
        if key in of_recipe:
            changed: dict[str, Any] = {key: value}
            recipe = replace(recipe, **changed)
        else:
            settings[key] = linear_to_zero(float(value)) if is_rate and callable(shipped) else value
    return replace(recipe, settings=settings)


def _arguments(agent_class: type[BaseAlgorithm]) -> set[str]:
    """Constructor arguments of a class and of those it is derived from, if one value sets them."""
    found = [
        parameter
        for parent in agent_class.__mro__
        if "__init__" in vars(parent)
        for parameter in inspect.signature(vars(parent)["__init__"]).parameters.values()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    several = {each.name for each in found if isinstance(each.default, tuple)}
    names = {each.name for each in found if not _NO_SETTING.fullmatch(each.name)}
    return names - _OURS - several
