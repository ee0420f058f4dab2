"""Outputs of an ONNX file: tensors to stop at, and what to do about outputs that are none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import onnx

from partition.codec.message_sizes import RAW_TYPES
from partition.errors import ModelExportError
from partition.model.onnx_nodes import node_reads
from partition.prepare.onnx_file.subgraphs import keep_needed
from partition.prepare.onnx_file.types import UNDEFINED, type_name

_SHOWN = 8


def choose(name: str, model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Stop at these tensors: they become the outputs, in this order.

    Nodes, weights and inputs that they do not follow from are dropped.

    Raises:
        ModelExportError: there is no such tensor.
    """
    if not outputs:
        return
    graph = model.graph
    made = {output: node for node in graph.node for output in node.output if output}
    known = {value.name: value for value in [*inferred(model), *graph.output]}
    for wanted in outputs:
        if wanted not in made:
            near = difflib.get_close_matches(wanted, made, _SHOWN, 0.0)
            raise ModelExportError(
                f"model {name!r} computes no tensor {wanted!r} for --outputs: it has "
                f"{', '.join(near)}{' and others' if len(made) > len(near) else ''}"
            )
    read = set().union(*map(node_reads, graph.node))
    del graph.output[:]
    for wanted in dict.fromkeys(outputs):
        graph.output.append(known.get(wanted, onnx.ValueInfoProto(name=wanted)))
    keep_needed(graph, set(outputs))
    still = set().union(*map(node_reads, graph.node))
    inputs = [value for value in graph.input if value.name in still or value.name not in read]
    del graph.input[:]
    graph.input.extend(inputs)


def check_types(
    name: str, model: onnx.ModelProto, command: Callable[[tuple[str, ...]], str]
) -> None:
    """Refuse outputs that are no arrays of numbers, and say where to stop instead.

    Args:
        name: of the model, for messages.
        model: the network.
        command: what prepares it with these outputs.

    Raises:
        ModelExportError: there is one, or no output at all.
    """
    graph = model.graph
    if not graph.output:
        raise ModelExportError(f"model {name!r} has no output: say where to stop with --outputs")
    for value in graph.output:
        kind = type_name(value.type)
        if kind in (*RAW_TYPES, UNDEFINED):  # what is not said is found by a run
            continue
        values = [*inferred(model), *graph.output]
        rest = _instead(graph, {value.name: type_name(value.type) for value in values})
        remedy = (
            f"stop before it with {command(tuple(rest))}"
            if rest
            else "export the network without what follows its last tensor of numbers"
        )
        raise ModelExportError(
            f"model {name!r} has output {value.name!r} of type {kind}, a message carries arrays of "
            f"numbers: {remedy}"
        )


def inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Types of tensors as far as onnx knows them without running anything."""
    try:
        return list(onnx.shape_inference.infer_shapes(model).graph.value_info)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError):
        return list(model.graph.value_info)


def _instead(graph: onnx.GraphProto, known: dict[str, str]) -> list[str]:
    """The outputs, with those that are no arrays replaced by the arrays that they are made of."""
    made = {output: node for node in graph.node for output in node.output}
    found: dict[str, None] = {}
    waiting = [value.name for value in reversed(graph.output)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = made.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if name not in known or known[name] in RAW_TYPES:
            found[name] = None
        else:
            waiting.extend(reversed([one for one in node.input if one in made]))
    return list(found)
