"""Names of nodes, by which cuts are called."""

from __future__ import annotations

import ast

import onnx

_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_TAKEN = ("input", "output")
"""Names of the first and the last cut."""
_LONGEST = 200


def name_nodes(graph: onnx.GraphProto) -> None:
    """Name every node after its weight or the module it came from, uniquely."""
    weights = {tensor.name for tensor in graph.initializer}
    seen = dict.fromkeys(_TAKEN, 1)
    for node in graph.node:
        name = _printable(_readable(node, weights)) or node.op_type.lower()
        seen[name] = seen.get(name, 0) + 1
        node.name = name if seen[name] == 1 else f"{name}#{seen[name]}"


def _readable(node: onnx.NodeProto, weights: set[str]) -> str:
    for name in node.input:
        if name in weights and name.endswith(".weight"):
            return _without_underscores(name.removesuffix(".weight"))
    properties = {entry.key: entry.value for entry in node.metadata_props}
    if _SCOPES_KEY in properties:
        scopes = [scope for scope in ast.literal_eval(properties[_SCOPES_KEY]) if scope]
        module = scopes[-2] if len(scopes) > 1 else ""
        return _without_underscores(f"{module}.{node.op_type.lower()}").lstrip(".")
    return (node.name or node.output[0]).strip("/")


def _printable(name: str) -> str:
    """A name that fits a table and a path; nothing if it would be none."""
    kept = "".join(letter for letter in name[-_LONGEST:] if letter.isprintable()).strip()
    return kept if kept.strip(".") else ""


def _without_underscores(path: str) -> str:
    """`_blocks.2._expand_conv` -> `blocks.2.expand_conv`."""
    return ".".join(part.lstrip("_") for part in path.split("."))
