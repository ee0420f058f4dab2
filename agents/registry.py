"""Registry of every decider that does not learn, by name, with how it is fitted."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from agents.advised.policy import ADVISED
from agents.advised.portfolio import collect_states
from agents.advised.untrained import advice_rule
from agents.baselines.bayes import N_FEW, N_TRIALS, bayes
from agents.baselines.best_static import best_static, search_steps
from agents.baselines.coordinate_descent import coordinate_descent
from agents.baselines.dynasplit import DYNASPLIT, PUBLISHED
from agents.baselines.front_search import published_front, seeded_front
from agents.baselines.model_search import MODEL_SEARCH
from agents.baselines.tune_search import tune_search
from agents.deciders.fitted import DeciderEntry, Deciders, FittedDecider
from agents.deciders.governor import FIXED_ROUTE, fit_route
from agents.deciders.nominal import NominalModel
from agents.deciders.oracle import Oracle
from agents.deciders.rule import Fit, Fitting, Rule, RuleKind
from agents.deciders.static import STATIC, fit_max_clocks
from agents.rules import KINDS
from agents.seeds import N_TRIED, search_seeds
from envs.sim.sim_config import SimConfig


def _best_static(world: SimConfig, seed: int) -> Fit:
    seeds = search_seeds(seed)
    action = list(best_static(world, seeds).action)
    return Fit({"action": action}, search_steps(world, len(seeds)))


def _coordinate_descent(world: SimConfig, seed: int) -> Fit:
    action, steps = coordinate_descent(world, search_seeds(seed, N_TRIED))
    return Fit({"action": list(action)}, steps)


def _bayes(n_trials: int, world: SimConfig, seed: int) -> Fit:
    action, steps = bayes(world, search_seeds(seed, N_TRIED), seed, n_trials)
    return Fit({"action": list(action)}, steps)


def _dynasplit(world: SimConfig, seed: int) -> Fit:
    front = seeded_front(world, search_seeds(seed, N_TRIED), seed)
    return Fit({"front": front.actions.tolist()}, front.n_steps)


def _published_dynasplit(world: SimConfig, seed: int) -> Fit:
    front = published_front(world, search_seeds(seed, N_TRIED), seed)
    parameters = {"front": front.actions.tolist(), "latency_s": front.latency_s.tolist()}
    return Fit(parameters, front.n_steps)


def _advice(world: SimConfig, seed: int) -> Fit:
    states = collect_states(world, search_seeds(seed))
    rule = advice_rule(NominalModel.of(world), states)
    return Fit(rule.parameters, len(search_seeds(seed)) * world.n_steps, "nothing is learned")


def _model_search(world: SimConfig, seed: int) -> Fit:
    settings, steps = tune_search(world, search_seeds(seed, N_TRIED))
    return Fit(asdict(settings), steps)


def _entry(kind: RuleKind, fit: Fitting, *, searched: bool = False) -> DeciderEntry:
    """A decider that is a rule."""

    def build(world: SimConfig, seed: int) -> FittedDecider:
        found = fit(world, seed)
        rule = Rule(kind, found.parameters)
        decider = rule.simulated(world)
        return FittedDecider(decider, fit_steps=found.n_steps, note=found.note, rule=rule)

    return DeciderEntry("searched" if searched else "rule", build)


UNLEARNED = Deciders(
    {
        "oracle": DeciderEntry("privileged", lambda _world, _seed: FittedDecider(Oracle())),
        "advice": _entry(ADVISED, _advice, searched=True),
        "model-search": _entry(MODEL_SEARCH, _model_search, searched=True),
        "dynasplit": _entry(DYNASPLIT, _dynasplit, searched=True),
        "dynasplit-published": _entry(PUBLISHED, _published_dynasplit, searched=True),
        "bayes": _entry(STATIC, partial(_bayes, N_TRIALS), searched=True),
        f"bayes-{N_FEW}": _entry(STATIC, partial(_bayes, N_FEW), searched=True),
        "coordinate-descent": _entry(STATIC, _coordinate_descent, searched=True),
        "best-static": _entry(STATIC, _best_static, searched=True),
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
