"""The wheel outside the checkout: with no extra, with each of them, and on other Pythons."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from envs.sim.build import build_sim_config
from tests.conftest import REPOSITORY, one_sentence
from tests.installed.environments import build, environment
from tests.runs import constant_policy, write_run

SIMULATED = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
LIVE = "import gymnasium, envs\ngymnasium.make('EdgeSplit-v0')"
SCRIPTS = ("dvfo-calibrate", "dvfo-train", "dvfo-deploy")
NEEDS = {
    **dict.fromkeys(("hw.doctor", "hw.restore", "hw.selftest", "envs.scenarios.link_trace")),
    **dict.fromkeys(("hw.describe", "hw.replay")),
    **dict.fromkeys(("partition.placement", "partition.placement.run")),
    **dict.fromkeys(("hw.calibrate", "hw.calibrate.write_boards"), "calibrate"),
    **dict.fromkeys(("partition.prepare", "partition.profile", "partition.stages"), "edge"),
    **{"partition.engines": "cloud", "agents.freeze": "train"},
    **dict.fromkeys(("partition.server", "partition.certificates"), "cloud"),
    **dict.fromkeys(("partition.train_attention", "partition.train_classifier"), "prepare"),
    **{"dvfo-calibrate": "edge", "dvfo-train": "train", "dvfo-deploy": "edge"},
}
"""Every command that is installed, and the extra without which not even its help is there."""
FURTHER = {
    "hw.describe": ("edge", ("--out", "x.toml")),
    "partition.placement.run": (
        "cluster",
        ("--model", "M", "--cluster", REPOSITORY / "docs/clusters/shelf.toml", "--ray", "local"),
    ),
}
"""Of commands whose help needs none: the extra that their work needs."""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    sdist, wheel = build(tmp_path_factory.mktemp("built"))
    return SimpleNamespace(sdist=sdist, wheel=wheel)


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory):
    """A function that runs a command in an environment with some extras, away from here."""
    made: dict[tuple[str, ...], Path] = {}

    def run(extras: tuple[str, ...], command: str, *options: object):
        if extras not in made:
            folder = tmp_path_factory.mktemp("-".join(("env", *extras)))
            try:
                made[extras] = environment(folder, built.wheel, *extras)
            except PackageNotFoundError as error:
                pytest.skip(f"this environment lacks {error.name}")
        python = made[extras]
        is_script = command in SCRIPTS
        words = [python.with_name(command)] if is_script else [python, "-m", command]
        if command == "-c":
            words = [python, "-c"]
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        (elsewhere / "train.py").write_text("raise SystemExit('a namesake')")
        return subprocess.run(
            [*words, *map(str, options)],
            cwd=elsewhere,
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_wheel_and_sdist_hold_scripts_and_data(built):
    data = {
        *("partition/model/shipped/efficientnet-lite0.json", "envs/scenarios/steady-wifi.toml"),
        *("hw/devices/tx2.toml", "partition/prepare/weights/fashion-resnet.safetensors"),
    }
    with zipfile.ZipFile(built.wheel) as wheel, tarfile.open(built.sdist) as sdist:
        wheel_names = set(wheel.namelist())
        sdist_names = {name.partition("/")[2] for name in sdist.getnames()}
    for names in (wheel_names, sdist_names):
        assert data | {"calibrate.py", "train.py", "deploy.py"} <= names
    sources = {
        str(path.relative_to(REPOSITORY))
        for package in ("agents", "common", "envs", "hw", "partition")
        for path in (REPOSITORY / package).rglob("*.py")
    }
    assert sources <= wheel_names


def test_every_command_is_in_the_table():
    found = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__main__")
        for package in ("agents", "common", "envs", "hw", "partition")
        for path in (REPOSITORY / package).rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text()
    }
    assert found | set(SCRIPTS) == set(NEEDS)


def test_the_base_install_makes_the_environment_of_the_readme(installed):
    result = installed((), "-c", SIMULATED)
    assert result.returncode == 0, result.stderr
    assert "'energy'" in result.stdout


def test_the_live_environment_names_its_extra(installed):
    result = installed((), "-c", LIVE)
    last = result.stderr.splitlines()[-1]
    assert last == (
        "ModuleNotFoundError: a live board needs the package grpc; pip install 'dvfo[edge]' "
        "brings it"
    )


@pytest.mark.parametrize("command", NEEDS)
def test_a_command_without_its_extra_names_it(installed, command):
    result = installed((), command, "--help")
    needed = NEEDS[command]
    if needed is None:
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("usage: ")
    else:
        assert f"; pip install 'dvfo[{needed}]' brings it" in one_sentence(result)


@pytest.mark.parametrize("command", FURTHER)
def test_work_without_its_extra_names_it(installed, command):
    extra, options = FURTHER[command]
    assert f"; pip install 'dvfo[{extra}]' brings it" in one_sentence(
        installed((), command, *options)
    )


@pytest.mark.parametrize(
    ("extra", "command"), [(extra, name) for name, extra in NEEDS.items() if extra]
)
def test_the_extra_that_is_named_is_enough(installed, extra, command):
    result = installed((extra,), command, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: {command if command in SCRIPTS else ''}")


def test_sentences_name_the_commands_of_an_installation(installed, tmp_path):
    assert one_sentence(installed(("edge",), "dvfo-deploy", "--run", tmp_path)).endswith(
        "does not exist; give a run of dvfo-train"
    )
    code = "from agents.policy.remedy import RETRAIN; print(RETRAIN)"
    assert installed(("edge",), "-c", code).stdout.endswith("with dvfo-train\n")


def test_a_board_with_the_edge_extra_deploys(installed, tiny, small_device, tmp_path):
    from PIL import Image

    Image.new("RGB", (80, 80), "green").save(tmp_path / "green.png")
    world = build_sim_config(str(small_device), tiny, ["steady-wifi"])
    policy = constant_policy(world.layout, (-1, -1, -1, -1))
    run = write_run(tmp_path / "run", policy, small_device, tiny.path)
    options = ("--run", run, "--duration", 0.5, "--json")
    result = installed(("edge",), "dvfo-deploy", *options, "--source", tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])
    error = one_sentence(installed(("edge",), "dvfo-deploy", *options))
    assert "pip install 'dvfo[photos]'" in error


def test_a_sweep_trains_where_it_is_installed(installed, tiny, small_device, tmp_path):
    sweep = tmp_path / "sweep.toml"
    names = {"algo": "max-edge", "scenario": "steady-wifi", "device": small_device}
    lines = [f'{key} = ["{value}"]' for key, value in {**names, "model": tiny.path}.items()]
    sweep.write_text("\n".join(lines))
    result = installed(("train",), "dvfo-train", "--sweep", sweep)
    assert result.returncode == 0, result.stdout
    assert ": done" in result.stdout


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_the_oldest_and_the_newest_python_make_the_environment(built, tmp_path, version):
    """Where such a Python is installed and the base packages can be had for it."""
    name = f"python{version}"
    environ = os.environ | {"PYENV_VERSION": version}  # pyenv's stands there for all and asks
    python = shutil.which(name)
    if not python or subprocess.run([python, "--version"], env=environ, check=False).returncode:
        pytest.skip(f"no {name}")
    subprocess.run([python, "-m", "venv", tmp_path / "env"], env=environ, check=True)
    inside = tmp_path / "env" / "bin" / "python"
    options = ("install", "--quiet", "--disable-pip-version-check", built.wheel)
    fetched = subprocess.run(
        [inside, "-m", "pip", *options], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"{name} gets no packages: {fetched.stderr.splitlines()[-1]}")
    result = subprocess.run(
        [inside, "-c", SIMULATED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
