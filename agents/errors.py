"""Errors of the agents package."""

from __future__ import annotations


class AgentError(Exception):
    """Base of all errors raised by `agents`; the message ends with the remedy."""


class PolicyError(AgentError):
    """A frozen policy is missing, damaged, of another schema, or made for something else."""


class RunFolderError(AgentError):
    """A run folder is missing, incomplete or cannot be written."""


class OwnCodeError(AgentError):
    """A user's own decider cannot be imported, or does not do what one must."""


class NotSimulatedError(AgentError):
    """A privileged decider was given a plant that has no model to look into."""
