"""Inputs of a prepared graph's nodes, and their name for the size of the batch."""

from __future__ import annotations

import onnx

BATCH = "N"
"""Name of the symbolic dimension, and of the tensor that holds it."""
BATCH_SHAPE = f"{BATCH}.shape"
"""Name of the shape that the batch is read off, in opsets where `Shape` cannot give a part."""


def node_reads(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors a node reads, with those its subgraphs capture from outside."""
    reads = {name for name in node.input if name}
    for attribute in node.attribute:
        subgraphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for subgraph in subgraphs:
            inner = set().union(*(node_reads(child) for child in subgraph.node))
            made = {name for child in subgraph.node for name in child.output}
            made |= {own.name for own in [*subgraph.input, *subgraph.initializer]}
            reads |= inner - made
    return reads
