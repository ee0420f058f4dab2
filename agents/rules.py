"""Every kind of rule by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.advised.policy import ADVISED
from agents.baselines.appealnet import AppealNet
from agents.baselines.dynamic_split import DynamicSplitting
from agents.baselines.dynasplit import DynaSplit, PublishedDynaSplit
from agents.baselines.model_search import ModelSearch, SearchSettings
from agents.baselines.neurosurgeon import Neurosurgeon
from agents.deciders.governor import FixedRoute, Governed, Router
from agents.deciders.nominal import Known
from agents.deciders.rule import Parameters, Rule, RuleKind
from agents.deciders.static import Random, Static
from envs.plant import Indices


def make_rule(name: str, parameters: Parameters) -> Rule:
    """Make a rule by the name of its kind.

    Raises:
        KeyError: unknown name.
    """
    return Rule(KINDS[name], parameters)


def _router(name: str, router: Callable[[Known, Parameters], Router]) -> RuleKind:
    """A kind of rule that chooses routes alone."""
    return RuleKind(name, lambda known, p: Governed(known, router(known, p)), leaves_clocks=True)


def _actions(rows: list[list[int]]) -> Indices:
    return np.array(rows, dtype=np.int64)


_KINDS = (
    _router("fixed-route", lambda _known, p: FixedRoute(int(p["route"]))),
    _router("neurosurgeon", lambda known, p: Neurosurgeon(known, p["goal"])),
    _router("dynamic-split", lambda known, _p: DynamicSplitting(known)),
    _router(
        "appealnet",
        lambda _known, p: AppealNet(
            int(p["edge_route"]), int(p["appeal_route"]), float(p["share"])
        ),
    ),
    RuleKind("static", lambda _known, p: Static(tuple(int(i) for i in p["action"]))),
    RuleKind("random", lambda _known, p: Random(int(p["seed"]))),
    RuleKind("dynasplit", lambda known, p: DynaSplit(known, _actions(p["front"]))),
    RuleKind(
        "dynasplit-published",
        lambda known, p: PublishedDynaSplit(known, _actions(p["front"]), np.array(p["latency_s"])),
    ),
    ADVISED,
    RuleKind("model-search", lambda known, p: ModelSearch(known, SearchSettings(**p))),
)
KINDS = {kind.name: kind for kind in _KINDS}
