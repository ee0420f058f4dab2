"""Shared by all packages: models and worlds built once, and the scripts run as a user does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from common import command
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from hw.device import file
from partition.model.folder import ModelFolder
from partition.prepare.build import prepare
from tests.ports import unused_port

os.environ.setdefault("OMP_NUM_THREADS", "1")
if find_spec("hypothesis") is not None:  # a machine without it runs the tests that need less
    from hypothesis import settings

    settings.register_profile("any machine", deadline=None)  # a slow one is no fault of the code
    settings.load_profile("any machine")

REPOSITORY = Path(__file__).parents[1]
LEARNING_PACKAGES = ("torch", "stable_baselines3", "tensorboard", "matplotlib", "rich", "tqdm")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> ModelFolder:
    return prepare("tiny-cnn", tmp_path_factory.mktemp("models") / "tiny-cnn")


@pytest.fixture(scope="session")
def lite0(tmp_path_factory) -> ModelFolder:
    pytest.importorskip("efficientnet_lite_pytorch")
    out = tmp_path_factory.mktemp("models") / "efficientnet-lite0"
    return prepare("efficientnet-lite0", out)


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody listens at."""
    return unused_port()


@pytest.fixture(scope="session")
def world(tiny) -> SimConfig:
    """A TX2 with a tiny network on a quiet link; a tenth of the usual episode."""
    return replace(build_sim_config("tx2", tiny, ["steady-wifi"]), n_steps=24)


@pytest.fixture(scope="session")
def small_device(tmp_path_factory) -> Path:
    """The TX2 with three points per clock, so that exhaustive search is quick."""
    text = (file.DEVICES / "tx2.toml").read_text()
    path = tmp_path_factory.mktemp("devices") / "small-tx2.toml"
    path.write_text(re.sub(r"available_hz = \[([^\]]*)\]", _three_points, text))
    return path


def _three_points(table: re.Match[str]) -> str:
    hz = table.group(1).replace(",", " ").split()
    return f"available_hz = [{hz[0]}, {hz[len(hz) // 2]}, {hz[-1]}]"


@pytest.fixture(scope="session")
def small_world(tiny, small_device) -> SimConfig:
    """Two scenarios on the device with three points per clock, episodes of 10 s."""
    scenarios = ["steady-wifi", "lte-driving"]
    return replace(build_sim_config(str(small_device), tiny, scenarios), n_steps=40)


@pytest.fixture
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of the repository; `block` names packages that must not be imported."""

    def run(*arguments: object, block: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            script_command(*arguments, block=block),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def script_command(*arguments: object, block: tuple[str, ...] = ()) -> list[str]:
    script, *rest = map(str, arguments)
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({block!r})); "
        f"sys.argv = [{script!r}, *sys.argv[1:]]; runpy.run_path({script!r}, run_name='__main__')"
    )
    if block:
        return [sys.executable, "-c", code, *rest]
    return [sys.executable, script, *rest]


@pytest.fixture
def script_error(run_script) -> Callable[..., str]:
    """Run a script that must fail with one sentence; returns the sentence."""

    def check(*arguments: object) -> str:
        return one_sentence(run_script(*arguments))

    return check


def one_sentence(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def kept_signals():
    """This process's signals stay as they were: a test runner's own, and what a child inherits."""
    before = {number: signal.getsignal(number) for number in command.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
