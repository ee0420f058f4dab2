"""The published cost model, clusters and objective, flaws and all.

Parthasarathy and Krishnamachari, arXiv 2210.12219: no compute; 8 bytes a value over a compression
of 1.44, times the layers that read it; one byte a parameter and all outputs of a stage in memory;
the layers between two stages in no memory; one capacity for all nodes; links both ways alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.placement.published.layers import LayerGraph
from partition.placement.cluster import Floats
from partition.placement.solver.problem import Ints, Problem

MB = 1 << 20
_FIELD_M = 150.0
_PATH_LOSS = 283230.0
_SCALE = 1e6
"""Whole units of a Mbit, so that the planner's whole bytes lose nothing that matters."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A network as a row of P cut points."""

    transfer_mbit: Floats
    """(P,) of what a point hands on."""
    segment_bytes: Ints
    """(P - 1,) of the layers after a point, up to the next one."""

    @property
    def n_points(self) -> int:
        """P."""
        return len(self.transfer_mbit)

    def stage_bytes(self, start: int, end: int) -> int:
        """Memory of the points start to end - 1."""
        return int(self.segment_bytes[start : end - 1].sum())


def chain_of(graph: LayerGraph) -> Chain:
    """Cut points of a graph and what they cost."""
    points = cut_points(graph)
    consumers = graph.consumers()
    transfer_mbit = [
        len(consumers[p]) * graph.layers[p].elements * 8 / 1.44 * 8 / MB for p in points
    ]
    level = levels(graph)
    sizes = np.zeros(len(points), dtype=np.int64)
    of_level = [level[p] for p in points]
    for i, layer in enumerate(graph.layers):
        segment = int(np.searchsorted(of_level, level[i])) - 1
        if segment >= 0:
            sizes[segment] += 4 * layer.elements + layer.parameters
    return Chain(np.array(transfer_mbit), sizes[:-1])


def levels(graph: LayerGraph) -> list[int]:
    """Longest path from the input to each layer."""
    level: list[int] = []
    for layer in graph.layers:
        level.append(1 + max((level[x] for x in layer.inputs), default=-1))
    return level


def cut_points(graph: LayerGraph) -> list[int]:
    """Layers alone at their level that all paths lead through."""
    level = levels(graph)
    alone = [i for i, own in enumerate(level) if level.count(own) == 1]
    crossed = np.zeros(max(level) + 2, dtype=int)
    for i, layer in enumerate(graph.layers):
        for x in layer.inputs:  # an edge passes every level between its ends
            crossed[level[x] + 1] += 1
            crossed[level[i]] -= 1
    passing = np.cumsum(crossed)
    return sorted((i for i in alone if passing[level[i]] == 0), key=level.__getitem__)


def random_cluster(n: int, rng: np.random.Generator) -> Floats:
    """(n, n) Mbit/s between nodes at random places; 0 on the diagonal."""
    where = rng.uniform(1.0, _FIELD_M, size=(n, 2))
    square = ((where[:, None] - where[None]) ** 2).sum(axis=2)
    np.fill_diagonal(square, 1.0)
    rate = np.log2(1.0 + _PATH_LOSS / square)
    np.fill_diagonal(rate, 0.0)
    return np.asarray(rate)


def published_problem(chain: Chain, rate_mbps: Floats, capacity_bytes: int) -> Problem:
    """The same instance for our solver: cut j hands on what point j - 1 makes, compute is free."""
    p, n = chain.n_points, len(rate_mbps)
    done = np.concatenate([[0], np.cumsum(chain.segment_bytes)])
    i, j = np.indices((p + 1, p + 1))
    stage_bytes = np.where(i < j, done[np.maximum(j - 1, 0)] - done[np.minimum(i, p - 1)], 0)
    cut = np.zeros(p + 1, dtype=np.int64)
    cut[1:p] = np.round(chain.transfer_mbit[:-1] * _SCALE)
    return Problem(
        devices=tuple(f"node {k}" for k in range(n)),
        blocks=tuple(f"point {k}" for k in range(p)),
        block_s=np.zeros((n, p)),
        encode_s=np.zeros((n, p + 1)),
        decode_s=np.zeros((n, p + 1)),
        cut_bytes=cut,
        stage_bytes=stage_bytes,
        capacity_bytes=np.full(n, capacity_bytes - 1, dtype=np.int64),  # less, not as much
        bytes_per_s=rate_mbps * _SCALE,
        delay_s=np.zeros((n, n)),
    )
