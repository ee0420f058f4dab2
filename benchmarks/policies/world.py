"""The world of a job of a comparison."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.policies.plan import BenchmarkJob
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig


def job_world(job: BenchmarkJob) -> SimConfig:
    """The world that everybody is fitted to."""
    world = build_sim_config(
        job.device, job.model, job.scenarios, weights=dict(job.weights) or None
    )
    if not job.server_gflop_per_s:
        return world
    flops_per_s = 1e9 * job.server_gflop_per_s
    faster = tuple(replace(s, server_flops_per_s=flops_per_s) for s in world.scenarios)
    return replace(world, scenarios=faster)
