"""k-path matching with color coding, its greedy baseline and random placement (arXiv 2210.12219).

A plan is (cuts, nodes): the first point of every stage but the first, and a node per stage. Each
function returns None where its method finds no plan.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from benchmarks.placement.published.cost_model import Chain
from partition.placement.cluster import Floats

Plan = tuple[tuple[int, ...], tuple[int, ...]]
_MISS = 1e-6
"""Chance that colour coding overlooks a path. The paper takes 10 e^k colourings, which overlooks
even less and takes minutes at k = 7."""
_COLOURS_PER_NODE = 1.3
_REDRAWS = 1000


def period_s(chain: Chain, rate_mbps: Floats, plan: Plan) -> float:
    """Longest transfer of a plan; 0 for a single stage."""
    cuts, nodes = plan
    return max(
        (
            float(chain.transfer_mbit[cut - 1] / rate_mbps[a, b])
            for cut, (a, b) in zip(cuts, pairwise(nodes), strict=True)
        ),
        default=0.0,
    )


def min_sum_cuts(chain: Chain, capacity_bytes: int) -> tuple[int, ...] | None:
    """Cuts with the least sum of transfers whose stages fit, blind to the network."""
    p = chain.n_points
    done = np.concatenate([[0], np.cumsum(chain.segment_bytes)])
    cost = np.full(p + 1, np.inf)
    cost[0] = 0.0
    back = [0] * (p + 1)
    for end in range(1, p + 1):
        out = chain.transfer_mbit[end - 1] if end < p else 0.0
        for start in range(end - 1, -1, -1):
            if done[end - 1] - done[start] >= capacity_bytes:
                break
            if cost[start] + out < cost[end]:
                cost[end], back[end] = cost[start] + out, start
    if not math.isfinite(cost[p]):
        return None
    cuts = []
    at = back[p]
    while at:
        cuts.append(at)
        at = back[at]
    return tuple(reversed(cuts))


def greedy(chain: Chain, rate_mbps: Floats, capacity_bytes: int) -> Plan | None:
    """From every first node always the fastest link to an unused one; the best of these."""
    cuts = min_sum_cuts(chain, capacity_bytes)
    n = len(rate_mbps)
    if cuts is None or len(cuts) + 1 > n:
        return None
    plans = []
    for first in range(n):
        nodes = [first]
        for _ in cuts:
            rates = rate_mbps[nodes[-1]].copy()
            rates[nodes] = -1.0
            nodes.append(int(rates.argmax()))
        plans.append((cuts, tuple(nodes)))
    return min(plans, key=lambda plan: period_s(chain, rate_mbps, plan))


def at_random(
    chain: Chain, rate_mbps: Floats, capacity_bytes: int, rng: np.random.Generator
) -> Plan | None:
    """A cut in each window that just fills a node, on random nodes; drawn again until it fits."""
    windows, start = [], 1
    for end in range(2, chain.n_points + 1):
        if chain.stage_bytes(start, end) >= capacity_bytes:
            windows.append((start, end))
            start = end
    for _ in range(_REDRAWS):
        cuts = tuple(int(rng.integers(a, b)) for a, b in windows)
        stages = list(pairwise([0, *cuts, chain.n_points]))
        fits = all(a < b and chain.stage_bytes(a, b) < capacity_bytes for a, b in stages)
        if fits and len(stages) <= len(rate_mbps):
            nodes = rng.permutation(len(rate_mbps))[: len(stages)]
            return cuts, tuple(int(node) for node in nodes)
    return None


def k_path(
    chain: Chain,
    rate_mbps: Floats,
    capacity_bytes: int,
    rng: np.random.Generator,
    n_classes: int = 20,
) -> Plan | None:
    """Cuts of the largest class of transfers first, each run of them on the best path of nodes."""
    cuts = min_sum_cuts(chain, capacity_bytes)
    if cuts is None or len(cuts) + 1 > len(rate_mbps):
        return None
    edges = np.histogram_bin_edges(chain.transfer_mbit, bins=n_classes)
    classes = np.digitize([chain.transfer_mbit[cut - 1] for cut in cuts], edges)
    nodes: list[int | None] = [None] * (len(cuts) + 1)
    for one in range(n_classes, 0, -1):
        for start, end in sorted(_runs(classes == one), key=lambda run: run[0] - run[1]):
            used = {node for node in nodes if node is not None}
            fixed = (nodes[start], nodes[end])
            path = _best_path(rate_mbps, end - start + 1, fixed, used, rng)
            if path is None:
                return None
            nodes[start : end + 1] = path
    placed = [node for node in nodes if node is not None]
    if len(placed) < len(nodes):
        if cuts:
            return None
        placed = [0]
    return cuts, tuple(placed)


def _runs(marked: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """First and one past the last index of every run; as nodes, both ends of the path."""
    runs, start = [], None
    for i, mark in enumerate([*marked.tolist(), False]):
        if mark and start is None:
            start = i
        elif not mark and start is not None:
            runs.append((start, i))
            start = None
    return runs


def _best_path(
    rate_mbps: Floats,
    k: int,
    fixed: tuple[int | None, int | None],
    used: set[int],
    rng: np.random.Generator,
) -> list[int] | None:
    """The path of k nodes whose slowest link is fastest."""
    ends = {node for node in fixed if node is not None}
    nodes = [node for node in range(len(rate_mbps)) if node in ends or node not in used]
    rates = np.unique(rate_mbps[np.ix_(nodes, nodes)])
    rates = rates[rates > 0]
    best = None
    low, high = 0, len(rates) - 1
    while low <= high:
        middle = (low + high) // 2
        path = _colour_coding(rate_mbps >= rates[middle], nodes, k, fixed, rng)
        if path is None:
            high = middle - 1
        else:
            best, low = path, middle + 1
    return best


def _colour_coding(
    linked: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    nodes: list[int],
    k: int,
    fixed: tuple[int | None, int | None],
    rng: np.random.Generator,
) -> list[int] | None:
    """A path of k nodes (Alon, Yuster and Zwick): one whose nodes have different colours."""
    colours = math.ceil(_COLOURS_PER_NODE * k)
    hit = math.prod((colours - i) / colours for i in range(k))
    near = {v: [u for u in nodes if u != v and linked[u, v]] for v in nodes}
    for _ in range(math.ceil(math.log(_MISS) / math.log1p(-hit)) if hit < 1 else 1):
        colour = dict(zip(nodes, rng.integers(0, colours, len(nodes)).tolist(), strict=True))
        path = _colourful(near, colour, colours, k, fixed)
        if path is not None:
            return path
    return None


def _colourful(
    near: dict[int, list[int]],
    colour: dict[int, int],
    colours: int,
    k: int,
    fixed: tuple[int | None, int | None],
) -> list[int] | None:
    everything = (1 << (1 << colours)) - 1
    without = [everything // ((1 << (1 << c)) + 1) for c in range(colours)]
    first, last = fixed
    inner = {node for node in fixed if node is not None}
    reach = [
        {v: 1 << (1 << colour[v]) for v in near if v == first or (first is None and v != last)}
    ]
    for length in range(2, k + 1):
        row: dict[int, int] = {}
        for v, before in near.items():
            if (v in inner and not (v == last and length == k)) or (
                length == k and last is not None and v != last
            ):
                continue
            sets = 0
            for u in before:
                sets |= reach[-1].get(u, 0)
            sets = (sets & without[colour[v]]) << (1 << colour[v])
            if sets:
                row[v] = sets
        reach.append(row)
    if not reach[-1]:
        return None
    v, sets = next(iter(reach[-1].items()))
    state = (sets & -sets).bit_length() - 1
    path = [v]
    for row in reversed(reach[:-1]):
        state -= 1 << colour[v]
        v = next(u for u in near[v] if row.get(u, 0) >> state & 1)
        path.append(v)
    return path[::-1]
