"""Signed bytes at the ends of a part of a network, turned into unsigned ones within.

But on Arm, ONNX Runtime makes quantisation (QDQ) to signed bytes one to unsigned ones, which its
kernels for the processor want, wherever it sees a quantisation and the one dequantisation that
reads it. At a cut it sees one of the two. No integer kernel takes both kinds of bytes, so the
operator there would be computed in floating point, slower and rounded another way than in the
unsplit network.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Set

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partition.model.onnx_nodes import node_reads

_OFFSET = "signed.offset"
_SHIFT = 128
"""Between a signed byte and the unsigned one that stands for it."""


def is_wanted() -> bool:
    """Whether this machine's kernels want unsigned bytes."""
    return not platform.machine().lower().startswith(("arm", "aarch"))


def pairs(graph: onnx.GraphProto) -> set[str]:
    """Tensors of signed bytes between a quantisation and the one operator that reads it.

    Args:
        graph: of the unsplit network.
    """
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node_reads(node):
            readers[name].append(node)
    signed = {
        value.name
        for value in graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.INT8
    }
    outputs = {value.name for value in graph.output}
    found = set()
    for node in graph.node:
        name = node.output[0]
        after = readers[name]
        if node.op_type == "QuantizeLinear" and name in signed and len(after) == 1:
            is_pair = after[0].op_type == "DequantizeLinear" and after[0].input[0] == name
            # Of a dequantisation that several read, each gets a copy, which makes it no pair.
            real = after[0].output[0]
            if is_pair and len(readers[real]) + (real in outputs) == 1:
                found.add(name)
    return found


def with_unsigned_ends(part: onnx.ModelProto, pairs: Set[str]) -> onnx.ModelProto:
    """The same part, in which bytes of a pair that come in or go out are unsigned.

    What comes in and goes out stays as it is. A part without such ends is returned itself.

    Args:
        part: between two cuts.
        pairs: of the unsplit network, as `pairs` finds them.
    """
    ends = pairs & {value.name for value in [*part.graph.input, *part.graph.output]}
    if not ends:
        return part
    model = onnx.ModelProto()
    model.CopyFrom(part)
    graph = model.graph
    inputs = {value.name for value in graph.input}
    zeros = {tensor.name: tensor for tensor in graph.initializer}
    offset = numpy_helper.from_array(np.array(_SHIFT, np.int32), _OFFSET)
    graph.initializer.append(offset)
    for node in graph.node:
        side = node.input if node.op_type == "DequantizeLinear" else node.output
        if node.op_type in ("DequantizeLinear", "QuantizeLinear") and side[0] in ends:
            _make_unsigned(node, zeros, graph)
            side[0] = f"{side[0]}.unsigned"
    nodes = list(graph.node)
    del graph.node[:]
    for name in sorted(ends & inputs):
        graph.node.extend(_converted(name, f"{name}.unsigned", "Add", TensorProto.UINT8))
    graph.node.extend(nodes)
    for name in sorted(ends - inputs):
        graph.node.extend(_converted(f"{name}.unsigned", name, "Sub", TensorProto.INT8))
    return model


def _make_unsigned(
    node: onnx.NodeProto, zeros: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> None:
    """Move a node's zero point."""
    has_zero = len(node.input) > 2 and node.input[2]
    signed = numpy_helper.to_array(zeros[node.input[2]]) if has_zero else np.zeros((), np.int8)
    unsigned = (signed.astype(np.int32) + _SHIFT).astype(np.uint8)
    name = f"{node.output[0]}.unsigned_zero"
    graph.initializer.append(numpy_helper.from_array(unsigned, name))
    del node.input[2:]
    node.input.append(name)
    kept = [attribute for attribute in node.attribute if attribute.name != "output_dtype"]
    del node.attribute[:]
    node.attribute.extend(kept)


def _converted(source: str, target: str, operator: str, to: int) -> list[onnx.NodeProto]:
    wide, moved = f"{target}.wide", f"{target}.moved"
    return [
        helper.make_node("Cast", [source], [wide], to=TensorProto.INT32),
        helper.make_node(operator, [wide, _OFFSET], [moved]),
        helper.make_node("Cast", [moved], [target], to=to),
    ]
