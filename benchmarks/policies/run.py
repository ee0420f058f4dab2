"""Resumable runs of a plan: every decider fitted and evaluated, two at a time."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.deciders.base import Decider
from agents.deciders.fitted import FittedDecider
from agents.evaluation.episodes import Episodes, run_episodes
from agents.evaluation.rows import ALL
from agents.seeds import held_out_seeds
from agents.training.workers import fresh_processes
from agents.whole_file import written_whole
from benchmarks.policies.compared import COMPARED, REFITTED
from benchmarks.policies.dependencies import version
from benchmarks.policies.measured_table import measured_grid
from benchmarks.policies.plan import BenchmarkJob
from benchmarks.policies.world import job_world
from envs.arrays import Floats
from envs.scenarios.randomisation import Randomisation
from envs.scenarios.scenario import Scenario
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields
from partition import json_file

PER_EPISODE = ("energy_j", "latency_s", "deadline_hit_rate", "accuracy", "cost")
_N_TIMED = 200


@dataclass(frozen=True, slots=True)
class MeasuredDecider:
    """What one job found.

    Attributes:
        job: that was done.
        kind: of decider.
        fit_s: time that fitting took; of a decider fitted for each scenario, all of them.
        fit_cpu_s: processor time that it took in this process.
        fit_steps: simulated control steps it took.
        decision_s: median time of one decision for one board; None where the truth is looked at.
        note: from the decider.
        episodes: by scenario and entry of `PER_EPISODE`, for each seed one value per episode; None
            for what is unknown.
        latencies: by scenario, of all requests of each seed, as `Latencies.packed` gives them.
    """

    job: BenchmarkJob
    kind: str
    fit_s: float
    fit_cpu_s: float
    fit_steps: int
    decision_s: float | None
    note: str
    episodes: dict[str, dict[str, list[list[float | None]]]]
    latencies: dict[str, list[list[float]]]


def run_jobs(
    jobs: Sequence[BenchmarkJob],
    folder: Path,
    recorded: Sequence[Scenario],
    n_processes: int,
    report: Callable[[str], None],
) -> list[MeasuredDecider]:
    """Do all jobs that `folder` does not hold yet.

    Args:
        jobs: to be done.
        folder: one JSON file per job; those that rest on other code or data are done again.
        recorded: scenarios with recorded links to be judged on besides.
        n_processes: jobs at the same time, with one thread each.
        report: called with a line of progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    versions = {job.name: version(job, recorded) for job in jobs}
    missing = [job for job in jobs if _load(folder, job, versions[job.name]) is None]
    report(f"{len(jobs)} fits to compare, {len(missing)} to be done")
    began_s = time.monotonic()
    with fresh_processes(n_processes) as pool:
        futures = {pool.submit(measure, job, recorded): job for job in missing}
        for n_done, future in enumerate(as_completed(futures), start=1):
            job = futures[future]
            _save(folder, future.result(), versions[job.name])
            elapsed_s = time.monotonic() - began_s
            left_s = elapsed_s / n_done * (len(missing) - n_done)
            report(f"{n_done} of {len(missing)}: {job.name}; about {left_s / 60:.0f} min left")
    return [measured for job in jobs if (measured := _load(folder, job, versions[job.name]))]


def measure(job: BenchmarkJob, recorded: Sequence[Scenario] = ()) -> MeasuredDecider:
    """Fit a decider and run it in every scenario on held-out episodes.

    A learned one is fitted once, to all scenarios together; any other one to each scenario by
    itself, which favours it.
    """
    world = job_world(job)
    kind = COMPARED.entry(job.decider).kind
    seeds = np.concatenate([held_out_seeds(seed, job.n_episodes) for seed in job.episode_seeds])
    fits: dict[str, FittedDecider] = {}
    fit_cpu_s = 0.0
    episodes, latencies = {}, {}
    for name, single in _judged_in(job, world, recorded):
        base = name.rpartition("@")[2]  # the scenario that its link or server is changed of
        known = replace(world, scenarios=tuple(s for s in world.scenarios if s.name == base))
        key = base
        if kind == "learned":
            key, known = ALL, world
        elif job.decider == REFITTED:
            key, known = name, single
        if key not in fits:
            began_s = time.process_time()
            fits[key] = COMPARED.fit(job.decider, known, job.fit_seed)
            fit_cpu_s += time.process_time() - began_s
        run = run_episodes(single, fits[key].decider, seeds)
        episodes[name], latencies[name] = _by_seed(run, job.n_episodes)
    first = next(iter(fits.values()))
    return MeasuredDecider(
        job=job,
        kind=kind,
        fit_s=sum(fitted.fit_s for fitted in fits.values()),
        fit_cpu_s=fit_cpu_s,
        fit_steps=sum(fitted.fit_steps for fitted in fits.values()),
        decision_s=None if kind == "privileged" else decision_s(world, first.decider),
        note=first.note,
        episodes=episodes,
        latencies=latencies,
    )


def _judged_in(
    job: BenchmarkJob, world: SimConfig, recorded: Sequence[Scenario]
) -> Iterator[tuple[str, SimConfig]]:
    """Every scenario with every speed of its server, then its recorded links, by name."""
    if job.table:
        world = replace(world, measured=measured_grid(world, job.table))
    for scenario in world.scenarios:
        for factor in job.server_factors:
            name = scenario.name if factor == 1.0 else f"{factor:g}@{scenario.name}"
            others = Randomisation(server_factor=factor)
            yield name, replace(world, scenarios=(scenario,), randomisation=others)
    fitted = {scenario.name for scenario in world.scenarios}
    for scenario in recorded:
        if scenario.name.rpartition("@")[2] in fitted:
            yield scenario.name, replace(world, scenarios=(scenario,))


def decision_s(world: SimConfig, decider: Decider) -> float:
    """Median time of a decision for one board, the observation given."""
    fleet = BatchedSimulator(world, 1)
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(held_out_seeds(0, 1))
    decider.begin(fleet, 1)
    times_s = []
    for _ in range(_N_TIMED):
        observations = encoder.encode(readings)
        began_s = time.perf_counter()
        actions = decider.decide(observations)
        times_s.append(time.perf_counter() - began_s)
        fleet.step(actions)
        readings = fleet.readings()
    return statistics.median(times_s)


def _by_seed(
    run: Episodes, n_episodes: int
) -> tuple[dict[str, list[list[float | None]]], list[list[float]]]:
    """Values of each seed's episodes, and all their requests."""
    starts = range(0, len(run.cost), n_episodes)
    parts = [run.part(slice(start, start + n_episodes)) for start in starts]
    found = {key: [_known(getattr(part, key)) for part in parts] for key in PER_EPISODE}
    return found, [part.latencies().packed() for part in parts]


def _known(values: Floats) -> list[float | None]:
    """None for NaN, which no JSON can hold."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _save(folder: Path, measured: MeasuredDecider, code: str) -> None:
    document = {"code": code, **asdict(measured)}
    with written_whole(folder / f"{measured.job.name}.json") as stream:
        stream.write(f"{json.dumps(document, allow_nan=False)}\n".encode())


def _load(folder: Path, job: BenchmarkJob, code: str) -> MeasuredDecider | None:
    try:
        document: dict[str, Any] = json_file.read(folder / f"{job.name}.json")
    except (OSError, ValueError):
        return None
    kept = json.loads(json.dumps(asdict(job)))
    if document.pop("code") != code or document["job"] != kept:
        return None
    return MeasuredDecider(**{**document, "job": job})
