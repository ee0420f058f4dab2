"""Registry of the learning algorithms by name; each recipe stands in the file of its learner."""

from __future__ import annotations

from agents.advised import full_information
from agents.deciders.own import find, is_own
from agents.errors import AgentError
from agents.learners import branching, dqn, fast_ppo, sac, sac_discrete
from agents.learners.algorithm import Algorithm

ALGORITHMS = {
    "advised": full_information.RECIPE,
    "amortised": fast_ppo.AMORTISED,
    "dvfo": branching.RECIPE,
    "drldo": dqn.DRLDO,
    "sac-discrete": sac_discrete.RECIPE,
    "dqn": dqn.RECIPE,
    "ppo": fast_ppo.RECIPE,
    "sac": sac.RECIPE,
}
ABLATIONS = {
    "dvfo-unaware": branching.UNAWARE,
    "dvfo-foreseeing": branching.FORESEEING,
    "dvfo-selection-discount": branching.SELECTION_DISCOUNT,
}
"""Ablations of `dvfo`; one more, synchronous decisions, is a flag of the simulator: `SimConfig`'s
`blocking`."""


def algorithm(name: str) -> Algorithm:
    """Look an algorithm up, a listed one or `MODULE:RECIPE` of a user's own.

    Raises:
        AgentError: unknown name, or code that cannot be imported.
    """
    known = ALGORITHMS | ABLATIONS
    recipe = find(name) if is_own(name) else known.get(name)
    if not isinstance(recipe, Algorithm):
        raise AgentError(f"unknown algorithm {name!r}; choose one of {', '.join(known)}")
    return recipe


def learns(name: str) -> bool:
    """Whether a name is that of a learner: a listed one, or `MODULE:RECIPE` of a user's own.

    Raises:
        OwnCodeError: it is a user's own and cannot be imported.
    """
    if is_own(name):
        return isinstance(find(name), Algorithm)
    return name in ALGORITHMS | ABLATIONS
