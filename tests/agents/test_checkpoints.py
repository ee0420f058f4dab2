from __future__ import annotations

import errno
import io
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from agents.advised.full_information import advise
from agents.errors import RunFolderError
from agents.training.algorithms import ABLATIONS, ALGORITHMS
from agents.training.checkpoints import (
    CHECKPOINT,
    PICKLED,
    checkpoint_in,
    go_on,
    load_into,
    save_whole,
)
from agents.whole_file import written_whole
from tests.hostile import JSON

N_BOARDS, N_STEPS = 4, 48
NAMES = [*ALGORITHMS, *ABLATIONS]


def small(name):
    recipe = (ALGORITHMS | ABLATIONS)[name]
    settings = dict(recipe.settings)
    if "buffer_size" in settings:
        settings |= {"buffer_size": 200, "batch_size": 16, "learning_starts": 8}
    else:
        settings |= {"n_steps": 4, "batch_size": 16}
    few = {"wrapper": partial(advise, n_actions=4)} if recipe.wrapper is advise else {}
    return replace(recipe, n_envs=N_BOARDS, settings=settings, **few)


@pytest.fixture
def no_pickle(monkeypatch):
    """What reads a pickle fails."""

    def forbidden(*_, **__):
        raise AssertionError("a pickle is read")

    monkeypatch.setattr("cloudpickle.loads", forbidden)
    monkeypatch.setattr("pickle.loads", forbidden)
    monkeypatch.setattr("pickle.load", forbidden)
    monkeypatch.setattr("torch.load", forbidden)


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("no_pickle")
def test_a_loaded_agent_is_the_saved_one_and_learns_on(name, small_world, tmp_path):
    recipe = small(name)
    agent = recipe.build(recipe.boards(small_world), 0, None)
    agent.learn(N_STEPS)
    save_whole(agent, tmp_path / CHECKPOINT)
    again = recipe.build(recipe.boards(small_world), 0, None)
    go_on(again, tmp_path / CHECKPOINT, 0)
    loaded = flat(again.get_parameters())
    assert loaded == flat(agent.get_parameters())
    assert again.num_timesteps == agent.num_timesteps == N_STEPS
    assert again._n_updates == agent._n_updates > 0
    shape = (50, *agent.observation_space.shape)
    observations = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    expected, _ = agent.predict(observations, deterministic=True)
    np.testing.assert_array_equal(again.predict(observations, deterministic=True)[0], expected)
    again.learn(N_STEPS, reset_num_timesteps=False)
    assert again.num_timesteps == 2 * N_STEPS
    assert flat(again.get_parameters()) != loaded


def flat(value) -> object:
    """Comparable with ==."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    return list(map(flat, value)) if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def ppo(small_world):
    recipe = small("ppo")
    return recipe.build(recipe.boards(small_world), 0, None)


def pickled() -> bytes:
    return pickle.dumps({"policy": 1})


def other(header: str | bytes, **tensors: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    from safetensors.torch import save

    text = header if isinstance(header, str) else header.decode("latin-1")
    stream.write(save({"0": torch.zeros(3), **tensors}, {"agent": text}))
    return stream.getvalue()


@pytest.mark.usefixtures("no_pickle")
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"PK\x03\x04", pickled(), bytes(1000), b"\xff" * 100),
        *(other(text) for text in JSON.values()),
        other('{"states": {"table": []}, "variables": {"table": []}, "counters": {}}'),
        other('{"states": {"code": "x"}, "variables": {"table": []}, "counters": {}}'),
        other('{"states": {"table": [["policy", {"tensor": "7"}]]}, "variables": 1}'),
    ],
)
def test_what_is_no_checkpoint_is_refused(ppo, tmp_path, content):
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(RunFolderError, match="is damaged or of another agent"):
        load_into(ppo, tmp_path / CHECKPOINT)


def test_a_checkpoint_that_is_cut_anywhere_is_refused(ppo, tmp_path):
    save_whole(ppo, tmp_path / CHECKPOINT)
    blob = (tmp_path / CHECKPOINT).read_bytes()
    for share in (0.001, 0.01, 0.5, 0.999):
        (tmp_path / CHECKPOINT).write_bytes(blob[: int(share * len(blob))])
        with pytest.raises(RunFolderError, match="is damaged"):
            load_into(ppo, tmp_path / CHECKPOINT)


@pytest.mark.parametrize("name", ["dvfo", "sac"])
def test_the_checkpoint_of_another_agent_is_refused(ppo, small_world, tmp_path, name):
    save_whole(ppo, tmp_path / CHECKPOINT)
    recipe = small(name)
    agent = recipe.build(recipe.boards(small_world), 0, None)
    with torch.no_grad():
        next(agent.policy.parameters()).zero_()
    with pytest.raises(RunFolderError, match="of another agent"):
        load_into(agent, tmp_path / CHECKPOINT)


def test_tensors_without_a_header_are_refused(ppo, tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / CHECKPOINT)
    with pytest.raises(RunFolderError, match="is damaged"):
        load_into(ppo, tmp_path / CHECKPOINT)


def test_a_pickle_of_an_earlier_version_is_told_and_not_read(tmp_path):
    assert checkpoint_in(tmp_path) is None
    (tmp_path / PICKLED).write_bytes(pickled())
    with pytest.raises(RunFolderError, match=r"may hold code, which is not run; train again"):
        checkpoint_in(tmp_path)
    (tmp_path / CHECKPOINT).touch()
    assert checkpoint_in(tmp_path) == tmp_path / CHECKPOINT


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_beside(tmp_path, error):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"before")

    def write():
        with written_whole(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"
