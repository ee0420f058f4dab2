from __future__ import annotations

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from agents.deployed import transition_log
from agents.deployed.transition_log import TransitionLog, older, read_log
from agents.errors import AgentError
from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator


@pytest.fixture
def env(small_world) -> EdgeSplitEnv:
    return EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())


@pytest.fixture
def layout(small_world):
    return small_world.layout


@pytest.fixture
def written(env, layout, tmp_path):
    """Write some steps of an episode to a log; returns what they were."""

    def write(n, path=tmp_path / "log", **settings):
        seen = []
        env.action_space.seed(0)
        observation, _ = env.reset(seed=0)
        with TransitionLog(path, "ppo", layout, **settings) as log:
            for _ in range(n):
                action = env.action_space.sample()
                before = observation
                observation, reward, *_, info = env.step(action)
                log.add(before, action, info, is_measured=True)
                seen.append((before, action, -reward))
        return seen

    return write


def test_what_was_written_is_read(written, layout, tmp_path):
    seen = written(7)
    found = read_log(tmp_path / "log", layout)
    for k, column in enumerate((found.observations, found.actions, found.costs)):
        np.testing.assert_allclose(column, np.array([step[k] for step in seen]), atol=1e-5)
    assert found.begins.tolist() == [True] + [False] * 6
    assert found.counts.all()
    assert found.n_damaged == 0


def test_a_log_is_gone_on_with_and_says_where_it_was_cut(written, layout, tmp_path):
    written(3)
    with (tmp_path / "log").open("ab") as stream:
        stream.write(b'{"begins":false,"observ')  # killed while it wrote
    written(2)
    found = read_log(tmp_path / "log", layout)
    assert found.begins.tolist() == [True, False, False, True, False]
    assert found.n_damaged == 1


def test_the_latest_steps_are_kept_within_the_size(written, layout, tmp_path):
    path, size = tmp_path / "log", 12_000
    seen = written(40, largest_bytes=size)
    assert path.stat().st_size + older(path).stat().st_size <= size
    assert {file.name for file in tmp_path.iterdir()} == {"log", "log.1"}
    found = read_log(path, layout)
    n = len(found.costs)
    assert 10 < n < 40
    np.testing.assert_allclose(found.costs, [cost for _, _, cost in seen[-n:]], rtol=1e-6)


def test_steps_in_which_clocks_were_not_as_asked_do_not_count(env, layout, tmp_path):
    observation, _ = env.reset(seed=0)
    *_, info = env.step(np.zeros(4, np.int64))
    with TransitionLog(tmp_path / "log", "ppo", layout) as log:
        log.add(observation, np.zeros(4, np.int64), info, is_measured=True)
        log.add(observation, np.zeros(4, np.int64), info, is_measured=False)
        halved = {name: hz / 2 for name, hz in info["applied"].items()}
        log.add(observation, np.zeros(4, np.int64), info | {"applied": halved}, is_measured=True)
    assert read_log(tmp_path / "log", layout).counts.tolist() == [True, False, False]


def test_a_full_disk_costs_steps_of_the_log_and_nothing_else(
    written, layout, tmp_path, monkeypatch, caplog
):
    write, done = os.write, []

    def full(file, line):
        done.append(line)
        if 3 <= len(done) <= 5:
            if len(done) == 3:
                return write(file, line[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, line)

    monkeypatch.setattr(transition_log.os, "write", full)
    written(8)
    found = read_log(tmp_path / "log", layout)
    assert len(found.costs) == 8 - 3
    assert found.n_damaged == 1
    assert found.begins.tolist() == [True, True, False, False, False]
    assert "steps are missing from it" in caplog.text


def test_what_is_no_log_of_this_board_is_refused(written, layout, tmp_path):
    written(2)
    other = replace(layout, board="another")
    with pytest.raises(AgentError, match="another board, other clocks or another network"):
        read_log(tmp_path / "log", other)
    with pytest.raises(AgentError, match="another board, other clocks or another network"):
        TransitionLog(tmp_path / "log", "ppo", other)
    (tmp_path / "mine.txt").write_text("my notes\n")
    with pytest.raises(AgentError, match=r"is no log of deploy.py --log"):
        TransitionLog(tmp_path / "mine.txt", "ppo", layout)
    assert (tmp_path / "mine.txt").read_text() == "my notes\n"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AgentError, match="it is no regular file"):
        TransitionLog(tmp_path / "pipe", "ppo", layout)
    with pytest.raises(AgentError, match="No such file"):
        read_log(tmp_path / "nothing", layout)
    with pytest.raises(AgentError, match="cannot be written"):
        TransitionLog(tmp_path / "no" / "folder", "ppo", layout)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"counts":true', b'"counts":1'),
        (b'"observation":[', b'"observation":[7.0,'),
        (b'"observation":[', b'"observation":[1e999,'),
        (b'"action":[', b'"action":[-1,'),
        (b'"energy":', b'"energy":-'),
        (b'"begins"', b'"starts"'),
        (b"{", b"[" * 100_000),
    ],
)
def test_a_line_of_a_stranger_that_makes_no_sense_is_left_out(
    written, layout, tmp_path, before, after
):
    written(2)
    path = tmp_path / "log"
    header, first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + first.replace(before, after, 1) + second)
    found = read_log(path, layout)
    assert len(found.costs) == 1
    assert found.n_damaged >= 1
