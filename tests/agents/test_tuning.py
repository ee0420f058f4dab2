"""Search for a learner's settings: `train.py --tune N`."""

from __future__ import annotations

import csv
import errno
import json
import re
import shlex
from dataclasses import replace

import pytest
from optuna.distributions import FloatDistribution

import train
from agents.errors import AgentError, RunFolderError
from agents.learners.search_space import Multiples, Span
from agents.training import validation
from agents.training.algorithms import ABLATIONS, ALGORITHMS
from agents.training.hyperparams import with_hyperparams
from agents.training.learn import train as train_once
from agents.training.run import TrainConfig
from agents.tuning import outcome, tuner
from agents.tuning import training as one_training
from agents.tuning.space import Space
from agents.tuning.study_file import Training, read
from agents.tuning.tuner import tune


@pytest.fixture(scope="module")
def options(tiny, small_device) -> list[str]:
    world = ["--device", str(small_device), "--model", str(tiny.path), "--scenario", "steady-wifi"]
    return ["--algo", "ppo", *world, "--total-timesteps", "480"]


@pytest.fixture(scope="module")
def config(tiny, small_device) -> TrainConfig:
    return TrainConfig(
        board="sim",
        device=str(small_device),
        model=str(tiny.path),
        scenario=("steady-wifi",),
        algo="ppo",
        total_timesteps=480,
        seed=0,
    )


@pytest.fixture
def scored(monkeypatch):
    """Trainings that take no time; what ships costs 2, and the higher a learning rate the less."""
    done = []

    def run(training, config, world, is_hopeless=lambda *_: False):
        shipped = training.trial == 0
        training.cost = 2.0 if shipped else 2.0 - training.settings["learning_rate"]
        training.costs, training.cpu_s = [training.cost], 10.0
        if is_hopeless(1, training.cost):
            training.state, training.cost = "pruned", None
        else:
            training.state = "done"
        done.append((training.trial, training.seed))
        return 18

    monkeypatch.setattr(tuner, "run_training", run)
    return done


@pytest.mark.parametrize("name", ALGORITHMS | ABLATIONS)
@pytest.mark.parametrize("steps", [None, 5_000])
def test_what_ships_lies_in_its_space_and_all_of_it_can_be_given(name, steps):
    recipe = (ALGORITHMS | ABLATIONS)[name]
    space = Space.of(name, recipe, {}, steps)
    left_out = set(space.distributions) - set(space.known(space.shipped))
    assert left_out <= {"target_entropy", "batch_size", "buffer_size"}
    lowest = {
        key: d.low if isinstance(d, FloatDistribution) else d.choices[0]
        for key, d in space.distributions.items()
    }
    with_hyperparams(name, recipe, lowest)


def test_sizes_are_multiples_of_what_fits_the_steps():
    recipe = replace(
        ALGORITHMS["ppo"], search={"n_envs": Multiples((0.5, 1.0)), "gamma": Span(0.0, 1.0)}
    )
    many, few = (Space.of("ppo", recipe, {}, steps) for steps in (None, 20_000))
    assert many.distributions["n_envs"].choices == (recipe.n_envs // 2, recipe.n_envs)
    assert few.distributions["n_envs"].choices == (10, 20)
    assert list(Space.of("ppo", recipe, {"gamma": 0.0}, None).distributions) == ["n_envs"]
    with pytest.raises(AgentError, match="gives all of ppo that could be searched"):
        Space.of("ppo", recipe, {"gamma": 0.0, "n_envs": 4}, None)
    with pytest.raises(AgentError, match="where to look for the settings of mine"):
        Space.of("mine", replace(recipe, search={}), {}, None)


def test_the_best_are_trained_again_with_other_seeds_and_the_winner_is_told(
    config, scored, tmp_path
):
    said = tune(config, 6, tmp_path / "search")
    study = read(tmp_path / "search")
    assert [pair for pair in scored if pair[1] == 0] == [(k, 0) for k in range(6)]
    best = min((t for t in study.trials if t.state == "done"), key=lambda t: t.cost)
    assert {pair for pair in scored if pair[0] in (0, best.trial)} == {
        (trial, seed) for trial in (0, best.trial) for seed in (0, 1, 2)
    }
    assert len(scored) == 6 + 4 * 2
    assert f"trial {best.trial} costs {best.cost:.4f}, what ships 2.0000, on 18 validation" in said
    command = said.splitlines()[-1].removeprefix("next: python train.py ")
    given = train._parser().parse_args(shlex.split(command)).hyperparams
    found = train.parsed(given)
    assert found == best.settings
    with (tmp_path / "search" / "tuning.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(scored)
    assert rows[0]["learning_rate"] == "0.003"
    assert (tmp_path / "search" / "tuning.md").read_text().count("\n| ") == len(scored) + 2


def test_nothing_better_than_what_ships_is_said(config, scored, tmp_path, monkeypatch):
    run = tuner.run_training

    def worse(training, *arguments):
        n = run(training, *arguments)
        training.cost = 2.0 if training.trial == 0 else 3.0
        return n

    monkeypatch.setattr(tuner, "run_training", worse)
    said = tune(config, 3, tmp_path / "search")
    assert "nothing costs less than what ships, 2.0000 on 18" in said
    assert "next:" not in said


def test_a_search_that_was_cut_goes_on_where_it_was(config, scored, tmp_path, monkeypatch):
    run = tuner.run_training

    def cut(training, *arguments):
        if training.trial == 3:
            raise KeyboardInterrupt
        return run(training, *arguments)

    monkeypatch.setattr(tuner, "run_training", cut)
    with pytest.raises(KeyboardInterrupt):
        tune(config, 5, tmp_path)
    begun = read(tmp_path).trainings[3]
    assert begun.state == "begun"
    monkeypatch.setattr(tuner, "run_training", run)
    tune(config, 5, tmp_path)
    after = read(tmp_path)
    assert [t.trial for t in after.trials] == [0, 1, 2, 3, 4]
    assert after.trainings[3].settings == begun.settings
    assert len({json.dumps(t.settings) for t in after.trials}) == 5
    assert len(scored) == len(set(scored))
    n_done = len(scored)
    said = tune(config, 5, tmp_path)  # all is done: it is only told again
    assert len(scored) == n_done
    assert "tables are in" in said


def test_another_search_is_not_gone_on_with(config, scored, tmp_path):
    tune(config, 2, tmp_path / "search")
    with pytest.raises(RunFolderError, match=r"begun with total_timesteps 480, now it is 96"):
        tune(replace(config, total_timesteps=96), 2, tmp_path / "search")
    (tmp_path / "search" / "tuning.json").write_text("{")
    with pytest.raises(RunFolderError, match="is damaged"):
        tune(config, 2, tmp_path / "search")
    with pytest.raises(RunFolderError, match="is not empty and holds no search"):
        tune(config, 2, tmp_path)


def fail(training, *_):
    training.state, training.reason = "failed", "it diverged"
    return 0


def test_what_fails_is_written_down_and_the_others_go_on(config, scored, tmp_path, monkeypatch):
    run = tuner.run_training
    monkeypatch.setattr(tuner, "run_training", lambda t, *_: (fail if t.trial == 1 else run)(t, *_))
    said = tune(config, 3, tmp_path / "some")
    assert "trial 2 costs" in said
    assert "| it diverged |" in (tmp_path / "some" / "tuning.md").read_text()
    monkeypatch.setattr(tuner, "run_training", fail)
    with pytest.raises(AgentError, match="no training came to its end, the first for this: it div"):
        tune(config, 2, tmp_path / "none")


def test_what_takes_much_longer_than_what_ships_ends(config, tmp_path, monkeypatch):
    now_s = [0.0]

    def run(training, _config, _world, is_hopeless=lambda *_: False):
        for n in range(1, 5):
            now_s[0] += 2.0 if training.trial == 0 else 10.0
            if is_hopeless(n, 1.0):
                training.state = "pruned"
                return 18
        training.state, training.cost, training.cpu_s = "done", 1.0, 8.0
        return 18

    monkeypatch.setattr(tuner.time, "process_time", lambda: now_s[0])
    monkeypatch.setattr(tuner, "run_training", run)
    tune(config, 2, tmp_path)
    assert now_s[0] == 8.0 + 30.0 + 2 * 8.0
    _, slow, *_ = read(tmp_path).trainings
    assert (slow.state, slow.reason) == ("pruned", "takes more than 3 times as long as what ships")


def test_two_processes_do_not_search_in_one_folder(config, scored, tmp_path, monkeypatch):
    def again(training, *_):
        with pytest.raises(RunFolderError, match="another process searches in"):
            tune(config, 2, tmp_path)
        return fail(training)

    monkeypatch.setattr(tuner, "run_training", again)
    with pytest.raises(AgentError, match="no training came to its end"):
        tune(config, 2, tmp_path)


@pytest.fixture
def quick(monkeypatch) -> None:
    """Few validations, and trainings on few boards, whatever is searched."""
    monkeypatch.setattr(validation, "N_VALIDATIONS", 2)
    monkeypatch.setattr(validation, "N_EPISODES", 2)
    ppo = ALGORITHMS["ppo"]
    settings = ppo.settings | {"n_steps": 10, "batch_size": 40}
    search = {"learning_rate": Span(1e-4, 1e-2, log=True)}
    small = replace(ppo, n_envs=4, settings=settings, search=search)
    monkeypatch.setitem(ALGORITHMS, "ppo", small)


@pytest.mark.usefixtures("quick")
def test_the_command_searches_goes_on_and_names_the_one_to_train_with(
    options, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(tuner, "N_SEEDS", 1)
    monkeypatch.setattr(outcome, "N_AGAIN", 1)
    folder = tmp_path / "search"
    assert train.main([*options, "--tune", "2", "--out", str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"searching in {folder}, where --resume goes on: learning_rate" in told
    assert re.search(r"trial 1, seed 0: costs \d\.\d{4}, \d+ s; about \d+ s left", told)
    study = read(folder)
    first = study.trainings[0]
    assert first.costs[-1] >= first.cost > 0.0
    assert first.cost == pytest.approx(min(first.costs), rel=0.2)  # the last policy counts, too
    assert train.main(["--resume", str(folder), "--tune", "3"]) == 0
    assert [t.trial for t in read(folder).trials] == [0, 1, 2]
    assert "tables are in" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_a_trial_is_the_training_that_its_settings_name(config, world, tmp_path):
    settings = {"learning_rate": 2e-3}
    found = Training(trial=1, seed=5, settings=settings)
    one_training.run_training(found, config, world)
    validations = []
    train_once(
        "ppo",
        world,
        5,
        total_timesteps=480,
        hyperparams=settings,
        watchers=lambda _, validation: validations.append(validation) or (),
    )
    assert (found.state, found.cost) == ("done", validations[0].best_cost)
    shipped = Training(trial=0, seed=5, settings=settings)
    one_training.run_training(shipped, config, world)
    assert shipped.cost != found.cost


@pytest.mark.usefixtures("quick")
def test_a_hopeless_training_ends_early(config, world):
    found = Training(trial=1, seed=0, settings={})
    one_training.run_training(found, config, world, lambda n, _cost: n == 2)
    assert (found.state, found.cost, len(found.costs)) == ("pruned", None, 2)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"learning_rate": 1e30}, ""), ({"n_steps": 1, "n_envs": 1}, "ppo cannot be built with")],
)
def test_what_diverges_or_cannot_be_built_has_failed_for_a_reason(config, world, settings, reason):
    found = Training(trial=1, seed=0, settings=settings)
    one_training.run_training(found, config, world)
    assert (found.state, found.cost) == ("failed", None)
    assert found.reason
    assert reason in found.reason
    assert len(found.reason) <= 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--algo", "best-static"], "best-static does not learn; leave --tune out"),
        (["--algo", "pop"], "unknown algorithm 'pop'"),
        (["--tune", "1"], "tries nothing but what ships; give 2 or more"),
        (["--hyperparams", "lerning_rate=1"], "did you mean learning_rate?"),
        (["--target", "0.5"], "leave --target out"),
        (["--sweep", "x.toml"], "leave --sweep out"),
        (["--init", "x"], "leave --init out"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(options, tmp_path, capsys, given, said):
    assert train.main([*options, "--tune", "3", "--out", str(tmp_path / "new"), *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_one_sentence_and_the_record_stays_whole(
    options, tmp_path, capsys, scored, monkeypatch
):
    run, folder = tuner.run_training, tmp_path / "search"

    def fill(training, *arguments):
        if training.trial == 2:
            monkeypatch.setattr("os.fsync", full)
        return run(training, *arguments)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tuner, "run_training", fill)
    assert train.main([*options, "--tune", "4", "--out", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"error: cannot write {folder} (No space left on device); free space" in error
    assert f"train.py --resume {folder} goes on" in error
    monkeypatch.undo()
    assert [t.state for t in read(folder).trainings] == ["done", "done", "begun"]
