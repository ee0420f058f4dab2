"""Plan of a comparison: devices, networks, scenarios, deciders and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.training.all_deciders import DECIDERS
from benchmarks.policies.compared import COMPARED, GOVERNOR_BAND, file_name

VALIDATED_DEVICE = "tx2"
OTHER_DEVICES = ("nano", "xavier-nx", "orin-nano", "agx-orin", "pi4")
NETWORK = "efficientnet-lite0"
OTHER_NETWORKS = ("efficientnet-lite2", "fashion-resnet", "fashion-mobilenet")
WITH_ACCURACY = ("fashion-resnet", "fashion-mobilenet")
"""Of which it is known how many answers are right, by cut, share of channels and bits."""
N_SEEDS_ELSEWHERE = 3
OURS = "advised"
PUBLISHED = (
    "dvfo",
    "drldo",
    "appealnet",
    "neurosurgeon",
    "dynamic-split",
    "dynasplit-published",
    "sac-discrete",
    "edge-only",
    "cloud-only",
)
"""As their authors describe them; the strongest of them is the one with the lowest mean cost."""
ELSEWHERE = (
    "oracle",
    "best-static",
    "governor",
    "max-edge",
    "edge-only",
    "cloud-only",
    "dynasplit-published",
    "model-search",
    OURS,
)
"""Compared on the other devices and networks."""
SHORT = (
    "oracle",
    OURS,
    "advice",
    "ppo",
    "dvfo",
    "sac",
    "model-search",
    "best-static",
    "coordinate-descent",
    "two-points",
    "closed-form",
    "bayes",
    "bayes-15",
    "dynasplit",
    "dynasplit-published",
    "max-neurosurgeon",
    "max-edge",
    "max-cloud",
    "governor",
    "cloud-only",
)
"""Compared in about half an hour of two cores with three seeds."""
DRAWN = ("learned", "searched")
"""Kinds whose fits depend on their seed, and are fitted again for each."""
QUICK_LEARNERS = (OURS, "dvfo", "ppo", "sac")
QUICK_SCENARIOS = ("lte-driving", "server-rush", "steady-wifi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One device with one network.

    Attributes:
        device: name.
        model: name.
        deciders: to compare; the oracle and `best-static` must be among them.
        scenarios: names; "all" stands for every shipped one.
        n_seeds: of learning, searching and held-out episodes.
        n_episodes: held out, for each seed and scenario.
        server_factors: on the speed of the servers, which nobody is told; each is judged apart.
        weights: of the cost's terms that are not as usual, by name.
        server_gflop_per_s: of all servers; 0 where they are as the scenarios say.
        table: measured network whose figures judge what was fitted to the device's model, see
            `benchmarks.policies.measured`.
    """

    device: str
    model: str
    deciders: tuple[str, ...]
    scenarios: tuple[str, ...] = ("all",)
    n_seeds: int = 10
    n_episodes: int = 6
    server_factors: tuple[float, ...] = (1.0,)
    weights: tuple[tuple[str, float], ...] = ()
    server_gflop_per_s: float = 0.0
    table: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkJob:
    """One fit of a decider of a case, run in every scenario.

    Attributes:
        fit_seed: of learning or searching.
        episode_seeds: of the held-out episodes, `n_episodes` each.
        server_factors, weights, server_gflop_per_s, table: see `Case`.
    """

    device: str
    model: str
    scenarios: tuple[str, ...]
    decider: str
    fit_seed: int
    episode_seeds: tuple[int, ...]
    n_episodes: int
    server_factors: tuple[float, ...] = (1.0,)
    weights: tuple[tuple[str, float], ...] = ()
    server_gflop_per_s: float = 0.0
    table: str = ""

    @property
    def name(self) -> str:
        """Name of its file."""
        device, model = Path(self.device).stem, Path(self.model).name
        return f"{device}__{model}__{file_name(self.decider)}__{self.fit_seed}"


def full_plan(n_seeds: int, added: Sequence[str] = ()) -> list[Case]:
    """Everything on the validated device, the most telling deciders on the others.

    Args:
        n_seeds: of each fit.
        added: deciders of a user's own and run folders, on the validated device.
    """
    deciders = (*DECIDERS.names(), *GOVERNOR_BAND, *added)
    main = Case(device=VALIDATED_DEVICE, model=NETWORK, deciders=deciders, n_seeds=n_seeds)
    elsewhere = [
        *((device, NETWORK) for device in OTHER_DEVICES),
        *((VALIDATED_DEVICE, model) for model in OTHER_NETWORKS),
    ]
    others = [
        Case(
            device=device,
            model=model,
            deciders=ELSEWHERE,
            n_seeds=min(n_seeds, N_SEEDS_ELSEWHERE),
        )
        for device, model in elsewhere
    ]
    return [main, *others]


def short_plan(n_seeds: int, added: Sequence[str] = ()) -> list[Case]:
    """All scenarios of the validated device, and whom a reader asks for first.

    Args:
        n_seeds: of each fit.
        added: deciders of a user's own and run folders.
    """
    deciders = (*SHORT, *added)
    return [Case(device=VALIDATED_DEVICE, model=NETWORK, deciders=deciders, n_seeds=n_seeds)]


def quick_plan(added: Sequence[str] = ()) -> list[Case]:
    """A few minutes: three scenarios, one seed, four of the agents.

    Args:
        added: deciders of a user's own and run folders.
    """
    deciders = (*QUICK_LEARNERS, *DECIDERS.names("privileged", "searched", "rule"), *added)
    return [
        Case(
            device=VALIDATED_DEVICE,
            model=NETWORK,
            deciders=deciders,
            scenarios=QUICK_SCENARIOS,
            n_seeds=1,
            n_episodes=12,
        )
    ]


def jobs(cases: Sequence[Case]) -> list[BenchmarkJob]:
    """All jobs, case by case and seed by seed: who stops early has all rows, of fewer seeds.

    Whatever is learned or searched is fitted again for each seed, and run on that seed's episodes;
    a rule, for which no chance plays a part, is fitted once and run on the episodes of all seeds.
    """
    return [job for case in cases for job in sorted(_jobs(case), key=lambda job: job.fit_seed)]


def _jobs(case: Case) -> list[BenchmarkJob]:
    return [
        BenchmarkJob(
            device=case.device,
            model=case.model,
            scenarios=case.scenarios,
            decider=decider,
            fit_seed=fit_seed,
            episode_seeds=tuple(range(fit_seed, case.n_seeds, n_fits)),
            n_episodes=case.n_episodes,
            server_factors=case.server_factors,
            weights=case.weights,
            server_gflop_per_s=case.server_gflop_per_s,
            table=case.table,
        )
        for decider in case.deciders
        for n_fits in (case.n_seeds if COMPARED.entry(decider).kind in DRAWN else 1,)
        for fit_seed in range(n_fits)
    ]
