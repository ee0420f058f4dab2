"""The rule that a policy of `advised` is saved as: portfolio, layers of the network, promise."""

from __future__ import annotations

import numpy as np

from agents.advised.policy import Advised, check_layers
from agents.advised.promised import Promised
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Parameters, Rule, RuleKind
from agents.policy.layers import Layers, from_named, named
from envs.plant import Indices


def build(known: NominalModel, parameters: Parameters) -> Advised | Promised:
    """Make the decider of an `advised_rule`, held to what it promises, if anything."""
    advised, promise = own_policy(known, parameters), parameters.get("promise")
    return advised if promise is None else Promised(known, advised, float(promise))


def own_policy(known: NominalModel, parameters: Parameters) -> Advised:
    """Make the decider of an `advised_rule`, whatever it promises."""
    return Advised(
        known,
        np.array(parameters["actions"], dtype=np.int64),
        from_named(parameters),
        offsets=parameters.get("offsets"),
    )


def _check(parameters: Parameters) -> None:
    check_layers(from_named(parameters))


ADVISED = RuleKind("advised", build, check=_check, takes_promise=True, reads_scaled=True)


def advised_rule(actions: Indices, layers: Layers) -> Rule:
    """The rule of a portfolio and of layers that fit it, as of `Advised`."""
    return Rule(ADVISED, {"actions": actions, **named(layers)})
