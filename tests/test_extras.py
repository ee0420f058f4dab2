"""The table of optional packages, held to `pyproject.toml`."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions

import pytest

from common import extras
from tests.conftest import REPOSITORY
from tests.test_layout import imported

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
BROUGHT_ALONG = {"google": "onnx"}
"""Packages that another one's requirements bring."""


def plain(name: str) -> str:
    return re.split(r"[\s\[<>=;]", name)[0].lower().replace("_", "-")


@pytest.mark.parametrize("package", extras.EXTRAS)
def test_the_named_extra_brings_the_package(package):
    found = packages_distributions().get(package)
    if found is None:
        pytest.skip(f"{package} is not installed")
    extra = extras.EXTRAS[package]
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    wanted = {BROUGHT_ALONG.get(package, plain(name)) for name in found}
    assert wanted & {plain(name) for name in listed}


def test_every_extra_brings_something_that_is_in_the_table():
    known = set(PROJECT["optional-dependencies"]) | {extras.BASE}
    assert known - {"docs"} == set(extras.EXTRAS.values())  # commands of others build the pages


def test_everything_that_is_installed_imports_what_is_in_the_table():
    ours = {"agents", "calibrate", "common", "deploy", "envs", "hw", "partition", "train"}
    known = ours | sys.stdlib_module_names | {"tomllib"} | extras.EXTRAS.keys()
    files = [
        *(path for name in ours for path in (REPOSITORY / name).rglob("*.py")),
        *(REPOSITORY / name for name in ("calibrate.py", "deploy.py", "train.py")),
    ]
    strange = {
        str(path.relative_to(REPOSITORY)): names
        for path in files
        if (names := imported(path) - known)
    }
    assert strange == {}


def test_a_checkout_that_is_not_installed_does_not_ask_a_registry_for_its_name(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert extras.install("edge") == "pip install --editable '.[edge]'"
    assert extras.install(extras.BASE) == "pip install --editable ."


def test_a_package_of_no_extra_has_no_remedy():
    assert extras.remedy(ModuleNotFoundError("no", name="mistyped")) is None
    assert extras.remedy(ValueError("no")) is None
    assert "[edge]" in extras.remedy(ModuleNotFoundError("no", name="onnxruntime.capi"))


def test_a_python_with_nothing_in_it_is_told_what_to_install():
    result = subprocess.run(
        [sys.executable, "-S", "train.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert re.fullmatch(r"error: .* is not installed; pip install .*\n", result.stderr)


def test_distributions_that_bring_one_package_are_found_and_clash(tmp_path, monkeypatch):
    files = {
        "onnxruntime-1.32.0": "onnxruntime/__init__.py,sha256=x,1\n",
        "onnxruntime_gpu-1.31.1": "onnxruntime/LICENSE,,\nonnxruntime/__init__.py,,\n",
        "onnxruntime_genai-0.5": "onnxruntime_genai/__init__.py,,\n",
    }
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/nowhere"])
    for name, text in files.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "RECORD").write_text(text)
    assert extras.brought_by("onnxruntime") == ("onnxruntime 1.32.0", "onnxruntime-gpu 1.31.1")
    assert "onnxruntime-gpu 1.31.1 overwrite each other's files" in extras.clash("onnxruntime")
    assert extras.clash("onnxruntime_genai") is None
    assert extras.clash("nothing") is None
