from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.baselines.appealnet import ASSUMED_SHARE
from agents.baselines.rollout import mean_cost
from agents.deployed.run_folder import load_policy
from agents.errors import AgentError
from agents.policy.saved_rule import SavedRule
from agents.registry import UNLEARNED
from agents.seeds import seeds_for
from agents.training.all_deciders import DECIDERS
from agents.training.learn import simulated_decider
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.spaces import ObservationEncoder, observation_fields

SEEDS = seeds_for(99, 0, 4)


@pytest.fixture(scope="module", params=UNLEARNED.names())
def fitted(request, swinging):
    return request.param, UNLEARNED.fit(request.param, swinging, 0)


def test_every_decider_fits_and_decides_for_many_boards(swinging, fitted):
    name, found = fitted
    assert found.fit_s >= 0.0
    assert (found.fit_steps > 0) == (UNLEARNED.entry(name).kind == "searched")
    assert np.isfinite(mean_cost(swinging, found.decider, SEEDS))


def test_what_can_be_saved_decides_the_same_when_it_is_built_again(swinging, fitted, tmp_path):
    name, found = fitted
    if UNLEARNED.entry(name).kind == "privileged":
        assert found.rule is None
        return
    SavedRule(name, found.rule, swinging.layout).save(tmp_path)
    again = simulated_decider(load_policy(tmp_path), swinging)
    first, second = (mean_cost(swinging, decider, SEEDS) for decider in (found.decider, again))
    assert first == second


def test_deciders_forget_between_episodes(swinging, fitted):
    _, found = fitted
    first, again = (mean_cost(swinging, found.decider, SEEDS) for _ in range(2))
    assert first == again


@pytest.fixture(scope="module")
def board_without_gpu_clocks(tiny):
    return replace(build_sim_config("pi4", tiny, ["lte-driving"]), n_steps=8)


@pytest.mark.parametrize("name", UNLEARNED.names())
def test_axes_that_a_board_lacks_are_nobody_s_business(board_without_gpu_clocks, name):
    world = board_without_gpu_clocks
    sizes = [len(axis.values) for axis in world.layout.axes]
    assert len(sizes) == 2
    decider = UNLEARNED.fit(name, world, 0).decider
    fleet, encoder = (
        BatchedSimulator(world, 3),
        ObservationEncoder(observation_fields(world.layout)),
    )
    observations = encoder.encode(fleet.reset(SEEDS[:3]))
    decider.begin(fleet, 3)
    for _ in range(3):
        actions = decider.decide(observations)
        assert actions.shape == (3, 2)
        assert actions.dtype == np.int64
        assert ((actions >= 0) & (actions < sizes)).all()
        fleet.step(actions)
        observations = encoder.encode(fleet.readings())


@pytest.mark.parametrize(("measured", "share"), [(None, ASSUMED_SHARE), (0.25, 0.25)])
def test_appeals_are_as_measured_or_else_as_assumed(calm, measured, share):
    fitted = UNLEARNED.fit("appealnet", replace(calm, appeal_share=measured), 0)
    assert fitted.rule.parameters["share"] == share
    assert ("assumed" in fitted.note) == (measured is None)


def test_names_are_listed_by_kind():
    assert set(UNLEARNED.names()) == set(DECIDERS.names()) - set(DECIDERS.names("learned"))
    assert DECIDERS.names("privileged") == ("oracle",)


def test_unknown_decider_is_refused_with_those_there_are(calm):
    with pytest.raises(AgentError, match=r"unknown algorithm 'nonsense'.*oracle"):
        UNLEARNED.fit("nonsense", calm, 0)
