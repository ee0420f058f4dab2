"""Errors of the environment package."""

from __future__ import annotations


class EnvError(Exception):
    """Base of all errors raised by `envs`; the message ends with the remedy."""


class ScenarioError(EnvError):
    """A scenario, or a link trace that it names, is missing or malformed."""


class ActionError(EnvError):
    """An action does not belong to the action space."""


class CalibrationError(EnvError):
    """A board cannot be measured, or what was measured does not tell enough."""
