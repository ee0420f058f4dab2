"""Every example runs as its first lines say, with few steps."""

from __future__ import annotations

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.deciders.static import Random
from agents.deployed.run_folder import RunFolder
from agents.evaluation import evaluate as evaluation
from agents.evaluation.episodes import run_episodes
from agents.seeds import held_out_seeds
from agents.training import judge
from agents.training.all_deciders import DECIDERS
from tests.conftest import REPOSITORY

EXAMPLES = sorted(p for p in (REPOSITORY / "examples").glob("*.py") if p.stem != "__init__")
DECIDE = {"own_rule": "FastestCut", "own_learner": "LinearPolicy"}
LEAVE_A_RUN = {"sb3_ppo": 2048, "sb3_sac": 120, "vectorised": 640}
PRINT = {
    "own_reward": (128, "of 120 at most"),
    "own_wrapper": (0, "return of the episode"),
    "plain_torch": (10, "step 128: cost"),
}
LONGEST = 40


@pytest.fixture
def example(tiny, tmp_path, monkeypatch, kept_signals):
    """Run an example in this process, which saves the start-up, on the small network."""
    monkeypatch.setattr(judge, "evaluate", partial(evaluation.evaluate, n_episodes=2))
    monkeypatch.setattr(judge, "N_DRAWN", 2)
    rivals = {name: Random(0) for name in ("oracle", "best-static", "random")}  # searches take long
    monkeypatch.setattr(evaluation, "rivals", lambda *_: rivals)
    monkeypatch.setattr(judge, "Oracle", lambda: Random(0))
    monkeypatch.setattr("sys.argv", ["example"])
    monkeypatch.setenv("MODEL", str(tiny.path))
    monkeypatch.setenv("OUT", str(tmp_path / "run"))

    def run(name: str, steps: int) -> Path:
        monkeypatch.setenv("STEPS", str(steps))
        runpy.run_module(f"examples.{name}", run_name="__main__")
        return tmp_path / "run"

    return run


def test_every_example_is_tried():
    assert {path.stem for path in EXAMPLES} == {*DECIDE, *LEAVE_A_RUN, *PRINT, "live"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_short_and_says_how_it_is_started(path):
    lines = path.read_text().splitlines()
    assert len(lines) < LONGEST
    assert f"examples.{path.stem}" in "\n".join(lines[:12])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", LEAVE_A_RUN)
def test_what_learns_leaves_a_run_that_deploys(example, name, capsys):
    run = example(name, LEAVE_A_RUN[name])
    printed = capsys.readouterr().out
    assert f"deploy.py --run {run}" in printed or "is not worth deploying" in printed
    assert RunFolder.load(run).policy.algorithm == "run"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", PRINT)
def test_what_only_prints_prints(example, name, capsys):
    steps, said = PRINT[name]
    example(name, steps)
    assert said in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_learning_on_a_live_board_is_seen_in_tensorboard(example):
    folders = sorted(path for path in example("live", 8).iterdir() if path.is_dir())
    assert [path.name for path in folders] == ["PPO_1", "SAC_1"]
    for folder in folders:
        events = EventAccumulator(str(folder))
        events.Reload()
        shown = {"clocks/cpu_hz", "board/power_w", "split/point", "board/deadline_hit_rate"}
        assert shown <= set(events.Tags()["scalars"])
        assert events.Scalars("board/power_w")[-1].value > 0.0


@pytest.mark.parametrize("name", DECIDE)
def test_what_decides_is_better_than_chance(name, small_world, monkeypatch):
    decider = f"examples.{name}:{DECIDE[name]}"
    kind = DECIDERS.entry(decider).kind
    assert kind == ("rule" if name == "own_rule" else "learned")
    if kind == "learned":
        monkeypatch.setattr(sys.modules["examples.own_learner"], "ROUNDS", 4)
    fitted = DECIDERS.fit(decider, small_world, 0)
    seeds = held_out_seeds(0, 8)
    mine, random = (
        float(run_episodes(small_world, each, seeds).cost.mean())
        for each in (fitted.decider, Random(0))
    )
    assert mine < 0.9 * random
