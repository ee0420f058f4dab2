"""Graphs within graphs: bodies of loops, branches of conditions."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping

import onnx

from partition.model.onnx_nodes import node_reads


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and every one within its nodes."""
    yield graph
    for node in graph.node:
        for inner in _within(node):
            yield from all_graphs(inner)


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give tensors other names, wherever they are made, read or described.

    No name inside may hide one outside, so that a name is the same tensor everywhere.
    """
    for one in all_graphs(graph):
        for value in [*one.input, *one.output, *one.value_info, *one.initializer]:
            value.name = names.get(value.name, value.name)
        for node in one.node:
            for list_of_names in (node.input, node.output):
                for i, name in enumerate(list_of_names):
                    if name in names:
                        list_of_names[i] = names[name]


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Names that are taken in a graph and all within it."""
    return {
        name
        for one in all_graphs(graph)
        for name in [
            *(value.name for value in [*one.input, *one.initializer]),
            *(name for node in one.node for name in node.output),
        ]
    }


def keep_needed(graph: onnx.GraphProto, outputs: Collection[str]) -> None:
    """Drop the nodes and weights that these tensors do not follow from."""
    needed = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= node_reads(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept[::-1])
    graph.initializer.extend(weights)


def sort(graph: onnx.GraphProto) -> None:
    """Put nodes behind those whose results they read; the order stays where it can.

    ONNX Runtime takes them in any order, and some converters append theirs at the end.
    """
    made = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waits = [{made[name] for name in node_reads(node) if name in made} for node in graph.node]
    if all(before < i for i, needed in enumerate(waits) for before in needed):
        return
    followers: dict[int, list[int]] = {}
    for i, needed in enumerate(waits):
        for before in needed:
            followers.setdefault(before, []).append(i)
    ready = [i for i, needed in enumerate(waits) if not needed]
    heapq.heapify(ready)
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for after in followers.get(i, []):
            waits[after].discard(i)
            if not waits[after]:
                heapq.heappush(ready, after)
    if len(order) < len(waits):
        stuck = next(i for i, needed in enumerate(waits) if needed)
        raise ValueError(f"node {graph.node[stuck].name!r} waits for its own result")
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes[i] for i in order)


def _within(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
