"""Run folders of those that decide in live runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agents.deployed.run_folder import RunFolder
from agents.errors import AgentError
from agents.policy.saved_rule import SavedRule
from agents.training.all_deciders import DECIDERS
from agents.training.run import CONFIG_FILE, is_finished, write_json
from benchmarks.live.course import Course
from benchmarks.live.figures import world_of
from partition.model.folder import ModelFolder

LEARNED = ("advised", "ppo", "dvfo")
FITTED = ("model-search", "best-static", "max-edge", "max-cloud")
PROMISE = 0.95
PROMISING = f"advised --promise {PROMISE:g}"
"""The run of advised, held to a share of requests in time."""
NAMES = (*LEARNED, PROMISING, *FITTED)
_MINUTES = 20
"""That a training takes at most, with its judgement, on two quiet cores."""
_REPOSITORY = Path(__file__).parents[2]


def learned(
    name: str, device: str, folder: ModelFolder, runs: Path, report: Callable[[str], object]
) -> Path:
    """Run folder of a learner, trained in all scenarios if it is not there; one cut goes on.

    Raises:
        AgentError: the training failed.
    """
    run = runs / f"live-{name}"
    if is_finished(run):
        return run
    report(f"no {run} yet: training {name}, up to {_MINUTES} minutes; it is kept")
    given = ["--algo", name, "--device", device, "--model", str(folder.path), "--out", str(run)]
    options = ["--resume", str(run)] if (run / CONFIG_FILE).is_file() else given
    done = subprocess.run(
        [sys.executable, "train.py", *options], cwd=_REPOSITORY, stdout=sys.stderr, check=False
    )
    if done.returncode:
        raise AgentError(f"training {name} failed; the same command goes on")
    return run


def promising(advised: Path, runs: Path) -> Path:
    """Run folder of `PROMISING`, made of that of advised."""
    run = runs / "live-promise"
    run.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(advised / CONFIG_FILE, run / CONFIG_FILE)
    RunFolder.load(advised).policy.promising(PROMISE).save(run / "policy")
    return run


def fitted(
    name: str, device: str, folder: ModelFolder, course: Course, gflop_per_s: float, runs: Path
) -> Path:
    """Run folder of a rule, fitted to a course if it is not there."""
    words = re.sub(r"[^a-z0-9.]+", "-", course.name.lower())
    run = runs / f"live-{name}-{words}"
    if is_finished(run):
        return run
    world = world_of(device, folder, course, gflop_per_s, changing=True)
    found = DECIDERS.fit(name, world, 0)
    assert found.rule is not None, f"{name} is no rule"
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / CONFIG_FILE, {"device": device, "model": str(folder.path)})
    SavedRule(name, found.rule, world.layout).save(run / "policy")
    return run
