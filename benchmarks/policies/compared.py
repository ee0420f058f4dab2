"""What a comparison can compare: everything that decides, and run folders that are finished."""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from pathlib import Path

from agents.deciders.fitted import DeciderEntry, Deciders, FittedDecider
from agents.deciders.governor import FIXED_ROUTE, fit_route
from agents.deciders.nominal import NominalModel
from agents.deciders.own import find, is_own
from agents.deciders.rule import Rule
from agents.deciders.under_governors import UnderGovernors
from agents.deployed.run_folder import RunFolder
from agents.training.algorithms import ALGORITHMS
from agents.training.all_deciders import DECIDERS
from agents.training.learn import fit_learned, simulated_decider
from envs.governed.governing import Governing
from envs.sim.sim_config import SimConfig

REFITTED = "best-static-refitted"
"""The best fixed setting of each scenario and of the server that it is judged with; whatever else
is fitted to a scenario is fitted to the usual server."""


GOVERNOR_BAND = {
    "governor-ondemand": Governing(cpu="ondemand"),
    "governor-blocking": Governing(host_spins=False),
}
"""Whole networks on the board under other governors than `governor`'s: how much rests on what is
assumed of them. Only simulated boards have them."""


GOVERNED_BY = ("agents.deciders.governor", "agents.deciders.under_governors")


ADVISED, UNTRAINED = "advised", "advice"
BUDGET = "@"
"""Before the control steps of a learner that takes others than its own."""


class ComparedDeciders(Deciders):
    """Deciders by name, learners by `NAME@STEPS`, too, or by the run folder that holds a policy."""

    def entry(self, name: str) -> DeciderEntry:
        """Look one up.

        Raises:
            AgentError: unknown name, code that cannot be imported, or a folder without a policy.
        """
        if name == REFITTED:
            return DECIDERS.entry("best-static")
        learner, at, steps = name.partition(BUDGET)
        if at and learner in ALGORITHMS and steps.isdecimal():
            if int(steps) == 0 and learner == ADVISED:
                # Fitted like the trained ones: once, to all scenarios together.
                untrained = DECIDERS.entry(UNTRAINED)
                return DeciderEntry("learned", untrained.build, untrained.modules)
            fit = partial(fit_learned, learner, total_timesteps=int(steps))
            return DeciderEntry("learned", fit)
        if name in GOVERNOR_BAND:
            return DeciderEntry("rule", partial(_under, GOVERNOR_BAND[name]), GOVERNED_BY)
        if not _is_run(name):
            return DECIDERS.entry(name)
        policy = RunFolder.load(Path(name)).policy

        def build(world: SimConfig, _seed: int) -> FittedDecider:
            policy.check_layout(world.layout)
            return FittedDecider(simulated_decider(policy, world), note=f"as it is in {name}")

        return DeciderEntry("frozen", build)


COMPARED = ComparedDeciders(DECIDERS.entries)


def _under(governing: Governing, world: SimConfig, seed: int) -> FittedDecider:
    """The whole network on the board, clocks left to governors."""
    rule = Rule(FIXED_ROUTE, fit_route(-1)(world, seed).parameters)
    decider = UnderGovernors(rule.build(NominalModel.of(world)), governing)
    return FittedDecider(decider, note="clocks by modelled governors, as assumed of them")


def fingerprint(name: str) -> str:
    """Hash of the files of a policy, or of a user's own class; empty where there are none.

    Of such a class it is the module that names it and the one that holds it, and the whole package
    that either is of; what those import from elsewhere is not seen.
    """
    if _is_run(name):
        files = [path for path in sorted((Path(name) / "policy").iterdir()) if path.is_file()]
    elif is_own(name):
        files = _own_files({name.partition(":")[0], find(name).__module__})
    else:
        return ""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _own_files(modules: set[str]) -> list[Path]:
    """Files of modules, or of the packages that they are of."""
    files: set[Path] = set()
    for module in modules:
        top = sys.modules[module.partition(".")[0]]
        for folder in getattr(top, "__path__", ()):
            files.update(Path(folder).rglob("*.py"))
        if file := sys.modules[module].__file__:
            files.add(Path(file))
    return sorted(files)


def file_name(name: str) -> str:
    """A decider's name as part of a file's: a path gives its whole identity."""
    if not _is_run(name):
        return name.replace("/", "_")
    path = Path(name).resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _is_run(name: str) -> bool:
    return not is_own(name) and (Path(name) / "policy").is_dir()
