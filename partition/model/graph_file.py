"""Graphs of a model folder, loaded without trust in who made them.

ONNX Runtime reads whatever file a graph names for a weight, takes one name for an address in its
own memory, and runs compiled engines, which are programs. What a graph costs in time and memory
is not limited here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message

from common.regular_file import open_regular
from partition.errors import ModelFolderError
from partition.model.folder import ModelFolder
from partition.model.network_files import GRAPH_FILE, WEIGHTS_FILE

_MAX_BYTES = 2**31 - 1
"""What protobuf reads."""
_ENGINE_OP = "EPContext"


def load_graph(folder: ModelFolder) -> onnx.ModelProto:
    """The network's graph, its weights left in their file.

    Raises:
        ModelFolderError: it is no graph, not the one that was hashed, not to be run (see
            `read_graph`), or lacks a tensor of a cut.
    """
    model = read_graph(folder.path / GRAPH_FILE, weights=WEIGHTS_FILE)
    folder.check_unchanged()
    graph = model.graph
    known = {each.name for each in (*graph.input, *graph.value_info, *graph.output)}
    for cut in folder.cuts:
        if unknown := set(cut.tensors) - known:
            raise ModelFolderError(
                f"model folder {folder.path} is corrupt, tensor {min(unknown)[:80]!r} of cut "
                f"{cut.name[:80]!r} is none of {GRAPH_FILE}: run python -m partition.prepare again"
            )
    return model


def read_graph(path: Path, weights: str | None = None) -> onnx.ModelProto:
    """A graph that takes weights from nowhere but itself, or one file next to it.

    Args:
        path: of the graph.
        weights: name of that file.

    Raises:
        ModelFolderError: it cannot be read, is no graph, takes weights from elsewhere, or holds a
            compiled engine.
    """
    try:
        with open_regular(path) as file:
            model = onnx.load_model_from_string(file.read(_MAX_BYTES))
    except (OSError, DecodeError) as error:
        raise _refused(path, f"does not load ({error})") from error
    for part in _parts(model):
        if any(isinstance(text, bytes) for text in _texts(part)):
            raise _refused(path, "holds a name that is no UTF-8")
        if isinstance(part, onnx.NodeProto) and part.op_type == _ENGINE_OP:
            raise _refused(path, f"holds a compiled engine in node {part.name[:80]!r}")
        if isinstance(part, onnx.TensorProto) and part.data_location == part.EXTERNAL:
            places = [entry.value for entry in part.external_data if entry.key == "location"]
            if places != [weights]:
                place = ", ".join(map(str, places))[:80]
                raise _refused(path, f"takes weight {part.name[:80]!r} from file {place!r}")
    return model


def _parts(message: Message) -> Iterator[Message]:
    """A message and all messages in it."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for each in (value,) if isinstance(value, Message) else value:
                yield from _parts(each)


def _texts(message: Message) -> Iterator[object]:
    """Names and other texts of a message; protobuf gives those that are no UTF-8 as bytes."""
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_STRING:
            yield from (value,) if isinstance(value, str | bytes) else value


def _refused(path: Path, reason: str) -> ModelFolderError:
    return ModelFolderError(
        f"graph {path} {reason}: make the folder again from the network itself, with python -m "
        "partition.prepare and partition.train_attention"
    )
