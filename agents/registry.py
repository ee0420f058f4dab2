"""Every decider that does not learn, by name, with what it takes to fit it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from agents.baselines.appealnet import ASSUMED_SHARE
from agents.baselines.bayes import bayes
from agents.baselines.best_static import best_static, search_steps
from agents.baselines.front_search import published_front, seeded_front
from agents.baselines.rollout import mean_cost
from agents.baselines.tune_search import tune_search
from agents.deciders.base import axis_sizes
from agents.deciders.fitted import Deciders, Entry, Fitted
from agents.deciders.nominal import Known
from agents.deciders.oracle import Oracle
from agents.deciders.rule import Parameters
from agents.rules import make_rule
from agents.seeds import search_seeds
from envs.sim.world import World

N_EPISODES = 8
"""Search episodes on which a setting is tried."""


def _rule(
    world: World, name: str, parameters: Parameters, steps: int = 0, note: str = ""
) -> Fitted:
    rule = make_rule(name, parameters)
    return Fitted(rule.build(Known.of(world)), fit_steps=steps, note=note, rule=rule)


def _fixed_route(route: int, note: str) -> Callable[[World, int], Fitted]:
    """Stock governors at a route; negative ones count from the end."""

    def build(world: World, _seed: int) -> Fitted:
        n_routes = axis_sizes(world.layout)[-1]
        return _rule(world, "fixed-route", {"route": route % n_routes}, note=note)

    return build


def _max_clocks(route: int) -> Callable[[World, int], Fitted]:
    def build(world: World, _seed: int) -> Fitted:
        *clocks, n_routes = axis_sizes(world.layout)
        action = [*(size - 1 for size in clocks), route % n_routes]
        return _rule(world, "static", {"action": action})

    return build


def _neurosurgeon(world: World, seed: int) -> Fitted:
    """Take the goal that costs less on search episodes."""
    seeds, known = search_seeds(seed, N_EPISODES), Known.of(world)
    options: Sequence[Parameters] = [{"goal": "latency"}, {"goal": "energy"}]
    costs = [mean_cost(world, make_rule("neurosurgeon", p).build(known), seeds) for p in options]
    best = options[costs.index(min(costs))]
    steps = len(options) * len(seeds) * world.n_steps
    return _rule(world, "neurosurgeon", best, steps, f"its goal is {best['goal']}")


def _appealnet(world: World, _seed: int) -> Fitted:
    measured = world.appeal_share
    share = ASSUMED_SHARE if measured is None else measured
    edge_route = axis_sizes(world.layout)[-1] - 1
    parameters = {"edge_route": edge_route, "appeal_route": 0, "share": share}
    note = f"{share:.0%} of the steps appeal, {'assumed' if measured is None else 'as measured'}"
    return _rule(world, "appealnet", parameters, note=note)


def _best_static(world: World, seed: int) -> Fitted:
    seeds = search_seeds(seed)
    action = list(best_static(world, seeds).action)
    return _rule(world, "static", {"action": action}, search_steps(world, len(seeds)))


def _bayes(world: World, seed: int) -> Fitted:
    action, steps = bayes(world, search_seeds(seed, N_EPISODES), seed)
    return _rule(world, "static", {"action": list(action)}, steps)


def _dynasplit(world: World, seed: int) -> Fitted:
    front = seeded_front(world, search_seeds(seed, N_EPISODES), seed)
    return _rule(world, "dynasplit", {"front": front.actions.tolist()}, front.n_steps)


def _published_dynasplit(world: World, seed: int) -> Fitted:
    front = published_front(world, search_seeds(seed, N_EPISODES), seed)
    parameters = {"front": front.actions.tolist(), "latency_s": front.latency_s.tolist()}
    return _rule(world, "dynasplit-published", parameters, front.n_steps)


def _model_search(world: World, seed: int) -> Fitted:
    settings, steps = tune_search(world, search_seeds(seed, N_EPISODES))
    return _rule(world, "model-search", asdict(settings), steps)


_GOVERNED = "clocks by modelled stock governors"

_ENTRIES: dict[str, Entry] = {
    "oracle": Entry("privileged", lambda _world, _seed: Fitted(Oracle())),
    "model-search": Entry("searched", _model_search),
    "dynasplit": Entry("searched", _dynasplit),
    "dynasplit-published": Entry("searched", _published_dynasplit),
    "bayes": Entry("searched", _bayes),
    "best-static": Entry("searched", _best_static),
    "neurosurgeon": Entry("searched", _neurosurgeon),
    "dynamic-split": Entry("rule", lambda world, _seed: _rule(world, "dynamic-split", {})),
    "appealnet": Entry("rule", _appealnet),
    "governor": Entry("rule", _fixed_route(-1, _GOVERNED)),
    "edge-only": Entry("rule", _fixed_route(-1, f"{_GOVERNED}, as DVFO compares: the governor")),
    "cloud-only": Entry("rule", _fixed_route(0, _GOVERNED)),
    "max-edge": Entry("rule", _max_clocks(-1)),
    "max-cloud": Entry("rule", _max_clocks(0)),
    "random": Entry("rule", lambda world, seed: _rule(world, "random", {"seed": seed})),
}
UNLEARNED = Deciders(_ENTRIES)
