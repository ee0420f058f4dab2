"""Registry of the learning algorithms by name; each recipe stands in the file of its learner."""

from __future__ import annotations

from agents.advised import full_information
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
    """Look an algorithm up.

    Raises:
        AgentError: unknown name.
    """
    known = ALGORITHMS | ABLATIONS
    if name not in known:
        raise AgentError(f"unknown algorithm {name!r}; choose one of {', '.join(known)}")
    return known[name]
