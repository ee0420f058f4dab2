"""Tensors within the kernels of a quantised network, where a cut would change its numbers.

The run-time makes one integer kernel of dequantisation, operator and quantisation (QDQ), moves both
across operators that only rearrange, and makes one of an integer product and its scaling. Where a
cut takes such a kernel apart each side computes in floating point, and rounds another way. So the
tensor that crosses is the quantised one: exact, and a byte a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set

import onnx

from partition.model.onnx_nodes import node_reads

_INTEGER_PRODUCTS = {"ConvInteger", "MatMulInteger"}
_MOVING = {
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
}
"""Operators that hand values on."""


def inside_kernels(graph: onnx.GraphProto, constants: Set[str]) -> set[str]:
    """Tensors that no cut may send.

    Args:
        graph: in topological order.
        constants: tensors that follow from the weights.
    """
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node_reads(node) - constants:
            readers[name].append(node)
    outputs = {value.name for value in graph.output}
    return (
        _dequantised(graph, constants)
        | _to_be_quantised(graph, readers, outputs)
        | _being_scaled(graph, readers, constants)
    )


def _dequantised(graph: onnx.GraphProto, constants: Set[str]) -> set[str]:
    found: set[str] = set()
    for node in graph.node:
        starts = node.op_type == "DequantizeLinear" and node.input[0] not in constants
        if starts or (node.op_type in _MOVING and node.input[0] in found):
            found.update(node.output)
    return found


def _to_be_quantised(
    graph: onnx.GraphProto, readers: dict[str, list[onnx.NodeProto]], outputs: set[str]
) -> set[str]:
    """Those that are read by quantisation alone, if need be behind operators that rearrange."""
    found: set[str] = set()
    for node in reversed(graph.node):
        for name in node.output:
            after = readers.get(name, [])
            ends = all(
                one.op_type == "QuantizeLinear"
                or (one.op_type in _MOVING and found.issuperset(one.output))
                for one in after
            )
            if after and ends and name not in outputs:
                found.add(name)
    return found


def _being_scaled(
    graph: onnx.GraphProto, readers: dict[str, list[onnx.NodeProto]], constants: Set[str]
) -> set[str]:
    """From a dynamic quantisation over its integer products to their scaling and bias."""
    found: set[str] = set()
    for node in graph.node:
        reads = node_reads(node) - constants
        is_start = node.op_type in {"DynamicQuantizeLinear", *_INTEGER_PRODUCTS}
        is_cast = node.op_type == "Cast" and reads <= found
        is_scale = node.op_type == "Mul" and reads and reads <= found
        if is_start or is_cast:
            found.update(node.output)
        elif is_scale:
            after = [one for name in node.output for one in readers.get(name, [])]
            if after and all(one.op_type in ("Add", "Mul") for one in after):
                found.update(node.output)
    return found
