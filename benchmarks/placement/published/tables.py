"""Runs of all methods on the same instances, and statistics over them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from benchmarks.placement.published import identical, matching
from benchmarks.placement.published.cost_model import (
    MB,
    Chain,
    chain_of,
    cut_points,
    published_problem,
    random_cluster,
)
from benchmarks.placement.published.networks import NETWORKS
from partition.placement.cluster import Floats
from partition.placement.solver.bisection import solve_throughput
from partition.placement.solver.problem import Problem

NODES = (5, 10, 15, 20, 50)
CAPACITIES_MB = (64, 128, 256, 512)
N_CLASSES = 20
HARDER = ("MobileNetV2", "EfficientNetB1", "ResNet50", "InceptionResNetV2")
_FLOPS_PER_S = 2e10
_LINK_BYTES_PER_S = 1e9 / 8
_BYTES_PER_MBIT = 125_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodRun:
    """One cluster; seconds of the longest transfer, nan where a method finds no plan."""

    network: str
    capacity_mb: int
    nodes: int
    stages: int
    ours: float
    bound: float
    k_path: float
    greedy: float
    random: float
    loose: float
    """The published bound: largest transfer that k-path's cuts have over the best link."""
    seconds: float
    """Processor time of our search."""


def published_runs(trials: int, limit_s: float, say: Callable[[str], None]) -> list[MethodRun]:
    """Every network, capacity and number of nodes that needs more than one node."""
    runs: list[MethodRun] = []
    for network, make in NETWORKS.items():
        chain = chain_of(make())
        for capacity_mb in CAPACITIES_MB:
            if chain.stage_bytes(0, chain.n_points) < capacity_mb * MB:
                continue
            for nodes in NODES:
                for seed in range(trials):
                    runs.append(_run(network, chain, capacity_mb, nodes, seed, limit_s))
            say(f"{network}, {capacity_mb} MB: {trials * len(NODES)} clusters")
    return runs


def _run(
    network: str, chain: Chain, capacity_mb: int, nodes: int, seed: int, limit_s: float
) -> MethodRun:
    rng = np.random.default_rng(seed)
    rate = random_cluster(nodes, rng)
    capacity = capacity_mb * MB
    problem = published_problem(chain, rate, capacity)
    start_s = time.process_time()
    found = solve_throughput(problem, time_limit_s=limit_s, clock=time.process_time)
    seconds = time.process_time() - start_s
    cuts = matching.min_sum_cuts(chain, capacity)

    def period(plan: matching.Plan | None) -> float:
        return math.nan if plan is None else matching.period_s(chain, rate, plan)

    return MethodRun(
        network=network,
        capacity_mb=capacity_mb,
        nodes=nodes,
        stages=len(found.steps),
        ours=found.period_s if found.steps else math.nan,
        bound=found.bound_s,
        k_path=period(matching.k_path(chain, rate, capacity, rng, N_CLASSES)),
        greedy=period(matching.greedy(chain, rate, capacity)),
        random=period(matching.at_random(chain, rate, capacity, rng)),
        loose=math.nan
        if not cuts
        else max(float(chain.transfer_mbit[cut - 1]) for cut in cuts) / float(rate.max()),
        seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Harder:
    """Unequal memory and compute, links not alike both ways, true bytes; periods in seconds."""

    network: str
    nodes: int
    stages: int
    ours: float
    bound: float
    greedy: float
    random: float
    """Best of ten."""


def harder_runs(trials: int, limit_s: float) -> Iterator[Harder]:
    """Our cost model where the published methods still know one capacity, the smallest."""
    for network in HARDER:
        for nodes in (12, 50):
            for seed in range(trials):
                rng = np.random.default_rng(seed)
                problem = corrected_problem(network, nodes, rng)
                found = solve_throughput(problem, time_limit_s=limit_s, clock=time.process_time)
                yield Harder(
                    network=network,
                    nodes=nodes,
                    stages=len(found.steps),
                    ours=found.period_s,
                    bound=found.bound_s,
                    greedy=_greedy_s(problem),
                    random=min(_random_s(problem, rng) for _ in range(10)),
                )


def corrected_problem(network: str, nodes: int, rng: np.random.Generator) -> Problem:
    """float32 weights and tensors, a tensor sent once, compute; every node its own."""
    graph = NETWORKS[network]()
    flops, elements = identical.chain_blocks(graph)
    n_blocks = len(flops)
    parameters, largest = _held_by_blocks(network)
    cut_bytes = np.array(elements, dtype=np.int64) * identical.FLOAT_BYTES
    weights = np.concatenate([[0], np.cumsum(parameters)]) * identical.FLOAT_BYTES
    peak = np.concatenate([[0], 2 * np.array(largest)]) * identical.FLOAT_BYTES
    chain = published_problem(chain_of(graph), random_cluster(nodes, rng), MB)
    speed = rng.uniform(5e9, 4e10, nodes)
    i, j = np.indices((n_blocks + 1, n_blocks + 1))
    peaks = np.array(
        [
            [peak[a + 1 : b + 1].max(initial=0) for b in range(n_blocks + 1)]
            for a in range(n_blocks + 1)
        ]
    )
    stage_bytes = (
        weights[None] - weights[:, None] + peaks + 2 * (cut_bytes[None] + cut_bytes[:, None])
    )
    rate = chain.bytes_per_s / chain.bytes_per_s.max() * 2e6 * rng.uniform(0.5, 1.5, (nodes, nodes))
    largest_bytes = int(np.diagonal(stage_bytes, offset=1).max())
    room = rng.uniform(0.03, 0.15, nodes) * float(weights[-1]) + largest_bytes
    return replace(
        chain,
        blocks=tuple(f"block {k}" for k in range(n_blocks)),
        block_s=np.array(flops)[None] / speed[:, None],
        encode_s=np.zeros((nodes, n_blocks + 1)),
        decode_s=np.zeros((nodes, n_blocks + 1)),
        cut_bytes=cut_bytes,
        stage_bytes=np.where(i < j, stage_bytes, 0).astype(np.int64),
        capacity_bytes=room.astype(np.int64),
        bytes_per_s=rate,
    )


def _held_by_blocks(network: str) -> tuple[list[int], list[int]]:
    """Parameters of each block between cut points, and elements of its largest layer."""
    graph = NETWORKS[network]()
    points = set(cut_points(graph))
    parameters, largest, held, most = [], [], 0, 0
    for i, layer in enumerate(graph.layers):
        held, most = held + layer.parameters, max(most, layer.elements)
        if i in points:
            parameters.append(held)
            largest.append(most)
            held, most = 0, 0
    return parameters, largest


def _period_s(problem: Problem, cuts: list[int], nodes: list[int]) -> float:
    stages = list(pairwise([0, *cuts, problem.n_blocks]))
    seconds = [problem.stage_s(u, i, j) for u, (i, j) in zip(nodes, stages, strict=True)]
    for cut, (u, v) in zip(cuts, pairwise(nodes), strict=True):
        seconds.append(problem.transfer_s(cut, u, v))
    return max(seconds)


def _min_sum_cuts(problem: Problem) -> list[int]:
    room = problem.capacity_bytes.min()
    last = problem.n_blocks
    cost, back = np.full(last + 1, np.inf), [0] * (last + 1)
    cost[0] = 0.0
    for end in range(1, last + 1):
        out = problem.cut_bytes[end] if end < last else 0
        options = np.where(problem.stage_bytes[:end, end] <= room, cost[:end] + out, np.inf)
        back[end] = int(options.argmin())
        cost[end] = options[back[end]]
    cuts, at = [], back[last]
    while at:
        cuts.append(at)
        at = back[at]
    return cuts[::-1]


def _greedy_s(problem: Problem) -> float:
    cuts = _min_sum_cuts(problem)
    best = math.inf
    for first in range(problem.n_devices if len(cuts) < problem.n_devices else 0):
        nodes = [first]
        for _ in cuts:
            rates = problem.bytes_per_s[nodes[-1]].copy()
            rates[nodes] = -1.0
            nodes.append(int(rates.argmax()))
        best = min(best, _period_s(problem, cuts, nodes))
    return best


def _random_s(problem: Problem, rng: np.random.Generator) -> float:
    """Random nodes in a row, each filled to a random part of what it can hold."""
    for _ in range(100):
        nodes: list[int] = []
        cuts: list[int] = []
        at = 0
        for u in rng.permutation(problem.n_devices):
            ends = np.flatnonzero(problem.stage_bytes[at, at + 1 :] <= problem.capacity_bytes[u])
            nodes.append(int(u))
            at += 1 + int(rng.choice(ends))
            if at == problem.n_blocks:
                return _period_s(problem, cuts, nodes)
            cuts.append(at)
    return math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Identical:
    """Largest load on k identical devices, ms; nan: not computed."""

    network: str
    devices: int
    floor: float
    """All work shared evenly, nothing sent."""
    pipedream: float
    over_ideals: float
    ours_on_points: float
    ours_on_liveness: float
    pipedream_replicated: float
    ours_replicated: float


def identical_runs(limit_s: float) -> Iterator[Identical]:
    """Every network on 4 and 8 devices of 20 GFLOP/s and 1 Gbit/s."""
    for network, make in NETWORKS.items():
        graph = make()
        points, live = identical.chain_blocks(graph), identical.liveness_blocks(graph)
        for k in (4, 8):
            work_s, crossing_s = _seconds(*points)
            try:
                ideals_s = identical.over_ideals(graph, _FLOPS_PER_S, _LINK_BYTES_PER_S, k)
            except identical.TooManyIdealsError:
                ideals_s = math.nan
            yield Identical(
                network=network,
                devices=k,
                floor=1e3 * float(work_s.sum()) / k,
                pipedream=1e3 * identical.pipedream(work_s, crossing_s, k),
                over_ideals=1e3 * ideals_s,
                ours_on_points=1e3 * _ours_s(points, k, 1, limit_s),
                ours_on_liveness=1e3 * _ours_s(live, k, 1, limit_s),
                pipedream_replicated=1e3 * identical.pipedream(work_s, crossing_s, k, k),
                ours_replicated=1e3 * _ours_s(points, k, k, limit_s),
            )


def _seconds(flops: list[float], elements: list[int]) -> tuple[Floats, Floats]:
    crossing = identical.FLOAT_BYTES * np.array(elements, dtype=float) / _LINK_BYTES_PER_S
    return np.array(flops) / _FLOPS_PER_S, crossing


def _ours_s(blocks: tuple[list[float], list[int]], k: int, replicas: int, limit_s: float) -> float:
    problem = identical.max_load_problem(*_seconds(*blocks), k)
    return solve_throughput(problem, max_replicas=replicas, time_limit_s=limit_s).period_s
