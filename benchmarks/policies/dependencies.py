"""What a row of the comparison rests on, as a hash: a row is kept as long as that is unchanged.

Of the code it is the modules that its decider reaches by imports, and those in which everybody is
judged; of the data the device, the routes of the network, the scenarios and recordings.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from agents.deciders.fitted import DeciderEntry
from agents.training.algorithms import ABLATIONS, ALGORITHMS
from benchmarks.policies.compared import BUDGET, COMPARED, fingerprint
from benchmarks.policies.measured_table import measured_grid
from benchmarks.policies.plan import BenchmarkJob
from benchmarks.policies.world import job_world
from envs.scenarios.scenario import Scenario
from envs.sim.sim_config import SimConfig

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "common", "envs", "hw", "partition")
JUDGING = ("agents.evaluation.episodes", "agents.seeds", "envs.sim.build")
"""Modules in which everybody is fitted and judged."""
LEARNING = ("agents.training.learn",)
DATA = "envs/**/*.csv"
"""Files that code reads besides what describes a world."""
HUBS = (
    "agents.training.algorithms",
    "agents.training.all_deciders",
    "agents.registry",
    "agents.rules",
)
"""Lists of all deciders: who is found by them rests on none of the others."""


def version(job: BenchmarkJob, recorded: Sequence[Scenario]) -> str:
    """Hash of everything that the result of a job rests on but its own settings."""
    world = job_world(job)
    roots = (*JUDGING, *_modules(job.decider))
    files = (*reached(roots), *sorted(ROOT.glob(DATA)))
    code = [part for path in files for part in (_name(path), path.read_bytes())]
    mine = Path(__file__).with_name("run.py").read_bytes()
    judged = (*map(_all_of, recorded), *_measured(job, world))
    return digest(*code, mine, *_described(world), *judged) + fingerprint(job.decider)


def _measured(job: BenchmarkJob, world: SimConfig) -> Iterator[bytes]:
    """What boards are judged by, where that is a table."""
    if job.table:
        grid = measured_grid(world, job.table)
        yield from (grid.work.tobytes(), grid.busy_power.tobytes())


def digest(*parts: bytes) -> str:
    """Hash of parts, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()[:16]


def _described(world: SimConfig) -> Iterator[bytes]:
    """What a world is, but for its code."""
    yield repr(world.device).encode()
    yield world.costs.rows().tobytes()
    yield repr((world.route_names, world.appeal_share, world.n_steps)).encode()
    yield from map(_all_of, world.scenarios)


def _all_of(scenario: Scenario) -> bytes:
    """A scenario with its signals, which its own text leaves out."""
    return repr((scenario, sorted(scenario.signals.items()))).encode()


def _modules(decider: str) -> tuple[str, ...]:
    """Modules that a decider's code begins in."""
    entry: DeciderEntry = COMPARED.entry(decider)
    recipe = (ALGORITHMS | ABLATIONS).get(decider.partition(BUDGET)[0])
    if recipe is None:
        return entry.modules
    return (*LEARNING, _standing_in(recipe))


def _standing_in(recipe: Any) -> str:
    """The module of a recipe, which is a constant there."""
    for name, module in sorted(sys.modules.items()):
        is_mine = name.partition(".")[0] in PACKAGES and name not in HUBS
        if is_mine and any(value is recipe for value in vars(module).values()):
            return name
    raise LookupError("a recipe stands in no module")


@lru_cache(maxsize=64)
def reached(roots: tuple[str, ...]) -> tuple[Path, ...]:
    """Files of modules and of everything of this project that they import, hubs left out."""
    found: set[Path] = set()
    open_names = list(roots)
    seen: set[str] = set()
    while open_names:
        name = open_names.pop()
        if name in seen or name in HUBS:
            continue
        seen.add(name)
        if (path := _file(name)) is None:
            continue
        found.add(path)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        parents = package.split(".")
        open_names += [".".join(parents[: k + 1]) for k in range(len(parents))]
        open_names += _imports(path)
    return tuple(sorted(found))


@lru_cache(maxsize=1024)
def _imports(path: Path) -> tuple[str, ...]:
    """Names that a file imports, wherever it does; of `from a import b` both a and a.b."""
    return tuple(_imported(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(name: str) -> Path | None:
    """The file of a module of this project."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    path = ROOT / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _name(path: Path) -> bytes:
    return path.relative_to(ROOT).as_posix().encode()
