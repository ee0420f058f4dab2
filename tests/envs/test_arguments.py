"""Arguments of `gymnasium.make`: what they change, and the sentences that wrong ones end in."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs  # noqa: F401  # registers the environments
from envs import arguments
from envs.errors import EnvError
from envs.sim.build import build_sim_config


@pytest.fixture
def make(tiny):
    def one(**options):
        return gymnasium.make(
            "EdgeSplitSim-v0", model=str(tiny.path), **{"scenario": "lte-driving", **options}
        )

    return one


def run(env, n_steps: int):
    """Step through an episode by actions that are the same every time."""
    env.reset(seed=3)
    env.action_space.seed(0)
    return [env.step(env.action_space.sample()) for _ in range(n_steps)]


def test_eta_weighs_energy_against_time(make):
    terms = {}
    for eta in (0.0, 0.5, 1.0):
        env = make(eta=eta)
        observation, _ = env.reset(seed=0)
        names = [f.name for f in env.unwrapped.encoder.fields]
        assert observation[names.index("eta")] == pytest.approx(2.0 * eta - 1.0)
        terms[eta] = run(env, 1)[0][4]["reward_terms"]
    assert terms[0.0]["energy"] == terms[1.0]["time"] == 0.0
    assert terms[1.0]["energy"] == pytest.approx(2.0 * terms[0.5]["energy"])


def test_weights_multiply_their_terms(make):
    weights = {"deadline": 3.0, "switching": 0.0}
    before, after = (
        [info["reward_terms"] for *_, info in run(env, 10)]
        for env in (make(), make(weights=weights))
    )
    for old, new in zip(before, after, strict=True):
        assert new["deadline"] == pytest.approx(3.0 * old["deadline"])
        assert new["switching"] == 0.0
        assert new["energy"] == old["energy"]
    assert sum(terms["deadline"] + terms["switching"] for terms in before) > 0.0


def test_episodes_have_as_many_steps_as_asked(make):
    assert [step[3] for step in run(make(n_steps=5), 5)] == [False] * 4 + [True]


def test_worlds_take_the_same_arguments(tiny):
    weights = {"deadline": 2.0, "accuracy": 3.0, "switching": 0.5, "thermal": 0.25}
    world = build_sim_config("tx2", tiny, ["lte-driving"], eta=0.3, weights=weights, n_steps=7)
    assert {scenario.eta for scenario in world.scenarios} == {0.3}
    objective = world.objective()
    assert (objective.deadline_weight, objective.accuracy_weight) == (2.0, 3.0)
    assert (objective.switching_weight, objective.thermal_weight_per_c) == (0.5, 0.25)
    assert world.n_steps == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": 3}, "device is 3; give a name or a file"),
        ({"scenario": []}, "scenario is []"),
        ({"scenario": [1]}, "scenario is 1; give a name or a file"),
        ({"eta": 2}, "eta is 2; give a number within 0 and 1"),
        ({"eta": float("nan")}, "eta is nan"),
        ({"weights": {"energy": 1.0}}, "weights name 'energy'; choose among deadline"),
        ({"weights": {"deadline": -1.0}}, "weight deadline is -1.0"),
        ({"weights": [1.0]}, "weights are [1.0]; give a dict"),
        ({"n_steps": 0}, "n_steps is 0"),
        ({"n_steps": True}, "n_steps is True"),
        ({"render_mode": "human"}, "render_mode is 'human'; choose among ansi, rgb_array"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(make, options, said):
    with pytest.raises(EnvError) as refused:
        make(**options)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scenario": ["steady-wifi", "lte-driving"]}, "a live board has one at a time"),
        ({"source": 3}, "source is 3; give a name or a file"),
        ({"board": 3}, "board is 3; give a name or a file"),
        ({"device": 3}, "device is 3; give a name or a file"),
        ({"cloud": 50051}, "cloud is 50051; give HOST:PORT"),
        ({"n_steps": 1.5}, "n_steps is 1.5"),
        ({"eta": "high"}, "eta is 'high'"),
        ({"weights": {"x": 1}}, "weights name 'x'"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ],
)
def test_wrong_arguments_of_a_live_board_do_so_too(tiny, options, said):
    with pytest.raises(EnvError) as refused:
        gymnasium.make("EdgeSplit-v0", model=str(tiny.path), **options)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scenarios": ["lte-driving"]}, "has no argument 'scenarios'; did you mean scenario?"),
        ({"n_step": 5}, "has no argument 'n_step'; did you mean n_steps?"),
        ({"xyzzy": 1}, "no argument 'xyzzy'; remove it or correct its name \\(.*device, model"),
    ],
)
@pytest.mark.parametrize("env_id", ["EdgeSplitSim-v0", "EdgeSplit-v0"])
def test_an_unknown_argument_ends_in_a_sentence_however_it_comes(tiny, env_id, options, said):
    known = {"model": str(tiny.path)}
    with pytest.raises(EnvError, match=f"{env_id} .*{said}|{env_id} {said}"):
        gymnasium.make(env_id, **known, **options)
    with pytest.raises(EnvError, match=said):
        gymnasium.make_vec(env_id, 2, vectorization_mode="sync", **known, **options)


def test_what_gymnasium_passes_by_itself_is_known(tiny):
    options = {"model": str(tiny.path), "scenario": "lte-driving", "render_mode": "ansi"}
    env = gymnasium.make(
        "EdgeSplitSim-v0", max_episode_steps=3, disable_env_checker=True, **options
    )
    assert sum(step[3] for step in run(env, 3)) == 1
    check_env(env.unwrapped)
    assert gymnasium.make(env.spec).render_mode == "ansi"
    boards = gymnasium.make_vec(
        "EdgeSplitSim-v0",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"copy": False},
        **options,
    )
    assert boards.reset(seed=0)[0].shape[0] == 2
    boards.close()


def test_a_picture_without_matplotlib_names_what_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert arguments.render_mode("ansi") == "ansi"
    with pytest.raises(EnvError, match="pip install matplotlib"):
        arguments.render_mode("rgb_array")


def test_paths_are_taken_as_well_as_texts(make, small_device):
    assert make(device=Path(small_device)).unwrapped.plant.layout.board == "tx2"


def test_text_shows_the_last_steps(make):
    env = make(render_mode="ansi")
    last = run(env, 30)[-1][4]
    head, *lines = env.render().splitlines()
    assert [line.split()[0] for line in lines] == [str(step) for step in range(19, 31)]
    assert "cpu MHz" in head
    columns = lines[-1].split()
    assert columns[1] == f"{last['applied']['cpu'] / 1e6:.0f}"
    assert columns[4] == env.unwrapped._history._names[last["route"]]
    assert float(columns[-1]) == pytest.approx(sum(last["reward_terms"].values()), abs=1e-3)
    env.reset(seed=0)
    assert len(env.render().splitlines()) == 1


def test_pictures_change_with_the_steps(make):
    env = make(render_mode="rgb_array")
    run(env, 20)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.shape == (480, 640, 3)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    env.step(env.action_space.sample())
    assert (env.render() != first).any()


def test_nothing_is_shown_where_nothing_was_asked_for(make):
    env = make().unwrapped
    env.reset(seed=0)
    assert env.render() is None
