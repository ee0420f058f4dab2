"""Head, tail and whole network in ONNX Runtime, cut on demand from one graph and weight file."""

from __future__ import annotations

import threading
from pathlib import Path

import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from partition.codec import Float32Array
from partition.errors import ModelFolderError
from partition.graph import node_reads
from partition.model_folder import GRAPH_FILE, ModelFolder, SplitPoint

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What ONNX Runtime raises over a network that it cannot load or run."""


class SplitRuntime:
    """Runs the two sides of any legal cut; safe to use from several threads.

    Sessions are made on first use and kept; each loads only the weights its side needs.
    """

    def __init__(self, folder: ModelFolder, threads: int = 1) -> None:
        self._folder = folder
        self._model = onnx.load(folder.path / GRAPH_FILE, load_external_data=False)
        self._threads = threads
        self._sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], ort.InferenceSession] = {}
        self._lock = threading.Lock()

    def head(self, point: SplitPoint, x: Float32Array) -> tuple[Float32Array, ...]:
        """The tensors that cross the cut at `point`, from the input (1, 3, H, W)."""
        if point.is_input:
            return (x,)
        return self._run((self._folder.input_name,), point.tensors, (x,))

    def tail(self, point: SplitPoint, tensors: tuple[Float32Array, ...]) -> Float32Array:
        """Logits (1, n_classes) from the tensors that cross the cut at `point`."""
        if point.is_output:
            return tensors[0]
        return self._run(point.tensors, (self._folder.output_name,), tensors)[0]

    def whole(self, x: Float32Array) -> Float32Array:
        """Logits (1, n_classes) of the unsplit network."""
        return self.tail(self._folder.cuts[0], (x,))

    def between(
        self, start: SplitPoint, end: SplitPoint, tensors: tuple[Float32Array, ...]
    ) -> tuple[Float32Array, ...]:
        """The tensors at `end` from those at `start`: one block of the network."""
        return self._run(start.tensors, end.tensors, tensors)

    def _run(
        self,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        tensors: tuple[Float32Array, ...],
    ) -> tuple[Float32Array, ...]:
        session = self._session(inputs, outputs)
        return tuple(session.run(outputs, dict(zip(inputs, tensors, strict=True))))

    def _session(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> ort.InferenceSession:
        with self._lock:
            if (inputs, outputs) not in self._sessions:
                part = extract(self._model, inputs, outputs)
                session = _make_session(part, self._folder.path, self._threads)
                self._sessions[inputs, outputs] = session
            return self._sessions[inputs, outputs]


def extract(
    model: onnx.ModelProto, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> onnx.ModelProto:
    """The part of a graph that computes `outputs` from `inputs`, with the weights it needs."""
    graph = model.graph
    needed = set(outputs)
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output) and not set(node.output) <= set(inputs):
            nodes.append(node)
            needed |= node_reads(node) - set(inputs)
    values = {v.name: v for v in [*graph.input, *graph.value_info, *graph.output]}
    part = onnx.helper.make_graph(
        nodes[::-1],
        graph.name,
        [values[name] for name in inputs],
        [values[name] for name in outputs],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )
    return onnx.helper.make_model(
        part, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _make_session(part: onnx.ModelProto, folder: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, no need to print them too
    # The graph is in memory; its weights stay in the one file on disk.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    try:
        return ort.InferenceSession(part.SerializeToString(), options, providers=_providers())
    except RUNTIME_ERRORS as error:
        raise ModelFolderError(f"model folder {folder} does not load: {error}") from error


def _providers() -> list[str]:
    """Accelerators first; Azure's provider would send the input to somebody else's server."""
    return [name for name in ort.get_available_providers() if name != "AzureExecutionProvider"]
