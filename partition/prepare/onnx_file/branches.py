"""Conditions that are certain, replaced by the branch that is taken.

Exporters leave an `If` wherever a program asked for a shape or a setting. Inside of one nothing can
be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import onnx
from onnx import helper

from partition.prepare.onnx_file.subgraphs import rename, tensor_names

_MAX_DEPTH = 32
"""Conditions within conditions; each takes a run of what they follow from."""


def inline(
    graph: onnx.GraphProto,
    certain: Callable[[], Collection[str]],
    values: Callable[[list[str]], Mapping[str, bool]],
) -> None:
    """Replace every `If` on a certain condition by its branch, again while new ones come up.

    Args:
        graph: changed in place.
        certain: gives the tensors of the graph that follow from shapes and weights alone.
        values: gives the values of such tensors, without those that are not always the same.
    """
    for _ in range(_MAX_DEPTH):
        if not any(node.op_type == "If" for node in graph.node):
            return
        settled = certain()
        conditions = [node.input[0] for node in graph.node if node.op_type == "If"]
        asked = [name for name in dict.fromkeys(conditions) if name in settled]
        known = values(asked) if asked else {}
        if not known:
            return
        _take(graph, known)


def _take(graph: onnx.GraphProto, known: Mapping[str, bool]) -> None:
    """Put branches in the place of their nodes."""
    nodes = list(graph.node)
    branches = {
        i: _branch(node, known[node.input[0]])
        for i, node in enumerate(nodes)
        if node.op_type == "If" and node.input[0] in known
    }
    del graph.node[:]
    graph.node.extend(node for i, node in enumerate(nodes) if i not in branches)
    names = tensor_names(graph)
    del graph.node[:]
    for i, node in enumerate(nodes):
        if i not in branches:
            graph.node.append(node)
            continue
        branch = branches[i]
        inner = tensor_names(branch)
        rename(branch, {name: f"{node.output[0]}/{name}" for name in inner & names})
        names |= tensor_names(branch)
        graph.initializer.extend(branch.initializer)
        graph.node.extend(branch.node)
        graph.node.extend(
            helper.make_node("Identity", [value.name], [output])
            for value, output in zip(branch.output, node.output, strict=False)
            if output
        )


def _branch(node: onnx.NodeProto, condition: bool) -> onnx.GraphProto:
    name = "then_branch" if condition else "else_branch"
    branch = onnx.GraphProto()
    branch.CopyFrom(next(attribute.g for attribute in node.attribute if attribute.name == name))
    return branch
