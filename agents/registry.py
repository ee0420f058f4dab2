"""Registry of every decider that does not learn, by name, with how it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agents.advised import untrained
from agents.advised.rule import ADVISED
from agents.baselines import bayes, best_static, coordinate_descent, front_search, tune_search
from agents.baselines.dynasplit import DYNASPLIT, PUBLISHED
from agents.baselines.model_search import MODEL_SEARCH
from agents.deciders.fitted import DeciderEntry, Deciders, FittedDecider
from agents.deciders.governor import FIXED_ROUTE, fit_route
from agents.deciders.oracle import Oracle
from agents.deciders.rule import Fitting, Rule, RuleKind
from agents.deciders.static import STATIC, fit_max_clocks
from agents.rules import KINDS
from envs.sim.sim_config import SimConfig


def _entry(kind: RuleKind, fit: Fitting, *, searched: bool = False) -> DeciderEntry:
    """A decider that is a rule."""

    def build(world: SimConfig, seed: int) -> FittedDecider:
        found = fit(world, seed)
        rule = Rule(kind, found.parameters)
        decider = rule.simulated(world)
        return FittedDecider(decider, fit_steps=found.n_steps, note=found.note, rule=rule)

    modules = (_module(kind.build), _module(fit))
    return DeciderEntry("searched" if searched else "rule", build, modules)


def _module(function: Callable[..., object]) -> str:
    """Where a function stands, or what a partial one calls."""
    return _module(function.func) if isinstance(function, partial) else function.__module__


UNLEARNED = Deciders(
    {
        "oracle": DeciderEntry(
            "privileged", lambda _world, _seed: FittedDecider(Oracle()), (Oracle.__module__,)
        ),
        "advice": _entry(ADVISED, untrained.fit, searched=True),
        "model-search": _entry(MODEL_SEARCH, tune_search.fit, searched=True),
        "dynasplit": _entry(DYNASPLIT, front_search.fit_seeded, searched=True),
        "dynasplit-published": _entry(PUBLISHED, front_search.fit_published, searched=True),
        "bayes": _entry(STATIC, partial(bayes.fit, bayes.N_TRIALS), searched=True),
        f"bayes-{bayes.N_FEW}": _entry(STATIC, partial(bayes.fit, bayes.N_FEW), searched=True),
        "coordinate-descent": _entry(STATIC, coordinate_descent.fit, searched=True),
        "best-static": _entry(STATIC, best_static.fit, searched=True),
        **{
            name: _entry(kind, kind.fit, searched=kind.searched)
            for name, kind in KINDS.items()
            if kind.fit
        },
        "governor": _entry(FIXED_ROUTE, fit_route(-1)),
        "edge-only": _entry(FIXED_ROUTE, fit_route(-1, ", as DVFO compares: the governor")),
        "cloud-only": _entry(FIXED_ROUTE, fit_route(0)),
        "max-edge": _entry(STATIC, fit_max_clocks(-1)),
        "max-cloud": _entry(STATIC, fit_max_clocks(0)),
    }
)
