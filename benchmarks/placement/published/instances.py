"""Random instances that are harder than the published ones: families for the targets.

Nodes lie at random places and link rates follow the published formula, but both ways differ;
devices differ in speed and in memory; blocks have compute. Everything in SI, all of it made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.placement.published.cost_model import random_cluster
from partition.placement.solver.problem import Problem, memory_of_stages

_BYTES_PER_MBIT = 125_000.0


def unequal(n: int, n_blocks: int, rng: np.random.Generator, links: float = 10.0) -> Problem:
    """Blocks, weights and cuts of log-normal size; links as much faster than the formula says."""
    work_s = rng.lognormal(0.0, 1.0, n_blocks) * 10 / n_blocks
    weights = np.concatenate([[0], np.cumsum(rng.lognormal(0.0, 1.0, n_blocks) * 1e6)])
    peak = np.concatenate([[0], rng.lognormal(0.0, 1.0, n_blocks) * 1e5])
    cut_bytes = (rng.lognormal(0.0, 1.0, n_blocks + 1) * 1e5).astype(np.int64)
    rate = random_cluster(n, rng) * _BYTES_PER_MBIT * links * rng.uniform(0.5, 1.5, (n, n))
    room = weights[-1] * rng.uniform(0.5, 3.0, n) * 2.5 / n
    return Problem(
        devices=tuple(f"device {k}" for k in range(n)),
        blocks=tuple(f"block {k}" for k in range(n_blocks)),
        block_s=work_s[None] / rng.uniform(0.5, 4.0, n)[:, None],
        encode_s=np.zeros((n, n_blocks + 1)),
        decode_s=np.zeros((n, n_blocks + 1)),
        cut_bytes=cut_bytes,
        stage_bytes=memory_of_stages(
            [int(x) for x in weights], [int(x) for x in peak], cut_bytes, queue_depth=1
        ),
        capacity_bytes=(room + 4 * cut_bytes.max() + peak.max()).astype(np.int64),
        bytes_per_s=rate,
        delay_s=np.zeros((n, n)),
    )


def even(n: int, n_blocks: int, rng: np.random.Generator, links: float = 10.0) -> Problem:
    """Blocks of about the same size, so that nearly every device is needed and must be filled."""
    problem = unequal(n, n_blocks, rng, links)
    work_s = rng.uniform(0.8, 1.2, n_blocks) * 10 / n_blocks
    return replace(problem, block_s=work_s[None] / rng.uniform(0.5, 4.0, n)[:, None])


def slow_links(n: int, n_blocks: int, rng: np.random.Generator) -> Problem:
    """Even blocks, and transfers that take as long as stages."""
    return even(n, n_blocks, rng, links=0.5)


def tight_memory(n: int, n_blocks: int, rng: np.random.Generator) -> Problem:
    """Even blocks, and hardly more memory than the network needs."""
    problem = even(n, n_blocks, rng, links=2.0)
    share = rng.uniform(0.3, 3.0, n)
    room = problem.stage_bytes[0, -1] * share / share.sum() * 2.2
    largest = np.diagonal(problem.stage_bytes, offset=1).max()
    return replace(problem, capacity_bytes=(room + largest).astype(np.int64))


def memory_only(n: int, n_blocks: int, rng: np.random.Generator) -> Problem:
    """Tight memory and compute for nothing, as in the published problem."""
    problem = tight_memory(n, n_blocks, rng)
    return replace(problem, block_s=problem.block_s * 1e-3)


def equal_cuts(n: int, n_blocks: int, rng: np.random.Generator) -> Problem:
    """Even blocks; all cuts of one size, so that only links of a certain rate will do."""
    problem = even(n, n_blocks, rng, links=1.0)
    return replace(problem, cut_bytes=np.full(n_blocks + 1, 100_000, dtype=np.int64))


def sparse(n: int, n_blocks: int, rng: np.random.Generator) -> Problem:
    """Even blocks; five links in six are missing."""
    problem = even(n, n_blocks, rng, links=5.0)
    missing = rng.random((n, n)) < 5 / 6
    return replace(problem, bytes_per_s=np.where(missing, 0.0, problem.bytes_per_s))


def four_kinds(n: int, n_blocks: int, rng: np.random.Generator) -> Problem:
    """Four kinds of devices on one switch."""
    problem = even(n, n_blocks, rng)
    kind = np.arange(n) % min(n, 4)
    rate = np.full((n, n), 10 * _BYTES_PER_MBIT)
    np.fill_diagonal(rate, 0.0)
    return replace(
        problem,
        block_s=problem.block_s[kind],
        capacity_bytes=problem.capacity_bytes[kind],
        bytes_per_s=rate,
    )


FAMILIES: dict[str, Callable[[int, int, np.random.Generator], Problem]] = {
    "unequal": unequal,
    "even": even,
    "slow links": slow_links,
    "tight memory": tight_memory,
    "memory only": memory_only,
    "equal cuts": equal_cuts,
    "sparse": sparse,
    "four kinds": four_kinds,
}
