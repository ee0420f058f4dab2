"""What holds for the repository as a whole."""

from __future__ import annotations

import ast
import graphlib
import importlib
from pathlib import Path

import grimp
import pytest

from tests.conftest import LEARNING_PACKAGES, REPOSITORY

PACKAGES = ("agents", "envs", "hw", "partition")
SERIALISERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def imported(path: Path) -> set[str]:
    """Top-level names of all imports of a file, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_the_repository_s_own(package):
    """An installed namesake would be tested, or run, in its place."""
    assert importlib.import_module(package).__file__ == str(REPOSITORY / package / "__init__.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_can_unpickle(package):
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    assert {path.name: imported(path) & SERIALISERS for path in files} == {
        path.name: set() for path in files
    }


@pytest.mark.parametrize(("script", "option"), [("calibrate.py", "--out"), ("deploy.py", "--run")])
def test_what_runs_on_a_board_starts_without_any_learning_package(run_script, script, option):
    result = run_script(script, "--help", block=(*LEARNING_PACKAGES, "onnxscript", "scipy"))
    assert result.returncode == 0, result.stderr
    assert option in result.stdout


def test_no_module_imports_itself_in_a_circle():
    """Also not inside a room, which the contracts of import-linter leave open."""
    packages = ("common", "hw", "partition", "envs", "agents", "benchmarks")
    graph = grimp.build_graph(*packages, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError with the circle
    assert len(imports) > 300
