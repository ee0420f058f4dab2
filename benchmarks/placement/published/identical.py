"""PipeDream's and dnn-partitioning's dynamic programs: identical devices, no memory limit.

The load of a device is its compute plus all transfers in and out (Tarnawski et al., NeurIPS
2020); the largest load counts. PipeDream (Narayanan et al., SOSP 2019) cuts a chain; the other
takes any sequence of ideals (sets of layers with everything they need), so that a stage need not be
an interval of one order of the layers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmarks.placement.published.cost_model import cut_points
from benchmarks.placement.published.layers import LayerGraph
from partition.placement.cluster import Floats
from partition.placement.solver.problem import Problem

MAX_IDEALS = 3000
FLOAT_BYTES = 4


class TooManyIdealsError(Exception):
    """A graph branches too much for the program over ideals."""


def max_load_problem(work_s: Floats, crossing_s: Floats, n_devices: int) -> Problem:
    """Identical devices where a transfer keeps both its devices busy, for our solver.

    Args:
        work_s: (L,) of each block.
        crossing_s: (L + 1,) of each cut.
        n_devices: how many.
    """
    n, last = n_devices, len(work_s)
    i, j = np.indices((last + 1, last + 1))
    rate = np.ones((n, n))
    np.fill_diagonal(rate, 0.0)
    return Problem(
        devices=tuple(f"device {k}" for k in range(n)),
        blocks=tuple(f"block {k}" for k in range(last)),
        block_s=np.tile(work_s, (n, 1)),
        encode_s=np.tile(crossing_s, (n, 1)),
        decode_s=np.tile(crossing_s, (n, 1)),
        cut_bytes=np.zeros(last + 1, dtype=np.int64),
        stage_bytes=(i < j).astype(np.int64),
        capacity_bytes=np.ones(n, dtype=np.int64),
        bytes_per_s=rate,
        delay_s=np.zeros((n, n)),
    )


def pipedream(work_s: Floats, crossing_s: Floats, n_devices: int, max_replicas: int = 1) -> float:
    """Least largest load of a chain: A(j, m) = min over i, r of max(A(i, m - r), T(i, j) / r)."""
    last = len(work_s)
    done_s = np.concatenate([[0.0], np.cumsum(work_s)])
    load_s = done_s[None, :] - done_s[:, None] + crossing_s[None, :] + crossing_s[:, None]
    best = np.full((n_devices + 1, last + 1), np.inf)
    best[:, 0] = 0.0
    for m in range(1, n_devices + 1):
        for r in range(1, min(m, max_replicas) + 1):
            for j in range(1, last + 1):
                values = np.maximum(best[m - r, :j], load_s[:j, j] / r)
                best[m, j] = min(best[m, j], float(values.min()))
    return float(best[n_devices, last])


def chain_blocks(graph: LayerGraph) -> tuple[list[float], list[int]]:
    """Up to each single-tensor cut point: operations per block, elements per cut; the ends 0."""
    points = set(cut_points(graph))
    flops, elements, work = [], [0], 0.0
    for i, layer in enumerate(graph.layers):
        work += layer.flops
        if i in points:
            flops.append(work)
            elements.append(layer.elements)
            work = 0.0
    elements[-1] = 0
    return flops, elements


def liveness_blocks(graph: LayerGraph) -> tuple[list[float], list[int]]:
    """After every layer, whatever is alive there: operations per block, elements per cut."""
    last_use = [max(readers, default=i) for i, readers in enumerate(graph.consumers())]
    alive: set[int] = set()
    flops, elements = [], [0]
    for i, layer in enumerate(graph.layers):
        alive = {x for x in (*alive, i) if last_use[x] > i}
        flops.append(float(layer.flops))
        elements.append(sum(graph.layers[x].elements for x in alive))
    return flops, elements


def ideals_of(graph: LayerGraph) -> list[int]:
    """All ideals as bits, smaller ones first.

    Raises:
        TooManyIdealsError: there are more than `MAX_IDEALS`.
    """
    needs = [sum(1 << x for x in set(layer.inputs)) for layer in graph.layers]
    readers = graph.consumers()
    found = {0}
    front = {(0, frozenset({0}))}
    while front:
        grown = set()
        for ideal, ready in front:
            for layer in ready:
                bigger = ideal | 1 << layer
                if bigger not in found:
                    found.add(bigger)
                    more = {x for x in readers[layer] if needs[x] & ~bigger == 0}
                    grown.add((bigger, frozenset((ready - {layer}) | more)))
        if len(found) > MAX_IDEALS:
            raise TooManyIdealsError(f"more than {MAX_IDEALS} ideals")
        front = grown
    return sorted(found, key=int.bit_count)


def over_ideals(graph: LayerGraph, flops_per_s: float, bytes_per_s: float, n_devices: int) -> float:
    """Least largest load over all sequences of ideals.

    Raises:
        TooManyIdealsError: there are more than `MAX_IDEALS`.
    """
    ideals = ideals_of(graph)
    crossing = _Crossing(graph, bytes_per_s)
    best = np.full((n_devices + 1, len(ideals)), np.inf)
    best[:, 0] = 0.0
    work_s = [sum(graph.layers[x].flops for x in bits_of(i)) / flops_per_s for i in ideals]
    for j in range(1, len(ideals)):
        inside = np.array([ideals[i] & ~ideals[j] == 0 for i in range(j)])
        loads = np.full(j, np.inf)
        for i in np.flatnonzero(inside):
            loads[i] = work_s[j] - work_s[i] + crossing.seconds(ideals[i], ideals[j])
        best[1:, j] = np.maximum(best[:-1, :j], loads).min(axis=1)
    return float(best[:, -1].min())


class _Crossing:
    """Seconds of everything that goes in and out of the layers between two ideals."""

    def __init__(self, graph: LayerGraph, bytes_per_s: float) -> None:
        self._seconds = [FLOAT_BYTES * layer.elements / bytes_per_s for layer in graph.layers]
        self._readers = [sum(1 << x for x in set(row)) for row in graph.consumers()]
        self._out: dict[int, list[int]] = {}

    def seconds(self, small: int, large: int) -> float:
        """Of the layers in `large` that are not in `small`."""
        stage = large & ~small
        total = sum(self._seconds[x] for x in self._border(small) if self._readers[x] & stage)
        return total + sum(self._seconds[x] for x in self._border(large) if stage >> x & 1)

    def _border(self, ideal: int) -> list[int]:
        """Layers of an ideal that something outside of it reads."""
        if ideal not in self._out:
            self._out[ideal] = [x for x in bits_of(ideal) if self._readers[x] & ~ideal]
        return self._out[ideal]


def bits_of(number: int) -> Iterable[int]:
    """Positions of the bits that are set."""
    while number:
        yield (number & -number).bit_length() - 1
        number &= number - 1
