"""Head, tail and whole network in ONNX Runtime, cut on demand from one graph and weight file."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from partition.errors import ModelFolderError, ModelRunError
from partition.model.folder import GRAPH_FILE, ModelFolder
from partition.model.onnx_nodes import BATCH, node_reads
from partition.model.split_point import SplitPoint

Array = npt.NDArray[Any]
"""A tensor: the first dimension is the batch, 1 where the model's is fixed."""

RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(ort_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
"""What ONNX Runtime raises over a network that it cannot load or run: all that it defines, as each
of its providers and versions has kinds of its own."""

CPU = "CPUExecutionProvider"
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU)
"""In order of preference. Others that may be installed are not tried: Azure's, for one, would send
the input to another party's server."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the network, loaded."""

    session: ort.InferenceSession
    inputs: tuple[str, ...]
    """Those that it reads."""
    outputs: tuple[str, ...]
    """Those that it computes; what passes through is not among them."""
    param_bytes: int


class SplitRuntime:
    """Runs the two sides of any legal cut; safe to use from several threads.

    Each side is loaded on first use, with the weights it needs and no others, and kept. One that
    fails raises ModelRunError.

    Args:
        folder: the model.
        threads: threads per inference; None takes what the profile of this machine found best,
            or 1 if it was not profiled here.
    """

    def __init__(self, folder: ModelFolder, threads: int | None = None) -> None:
        self._folder = folder
        self._model = onnx.load(folder.path / GRAPH_FILE, load_external_data=False)
        self._threads = threads or folder.threads or 1
        self._providers = installed_providers()
        self._parts: dict[tuple[tuple[str, ...], tuple[str, ...]], _Part] = {}
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        """Threads per inference."""
        return self._threads

    @property
    def held_param_bytes(self) -> int:
        """Weights that are loaded, counted once per side that holds them."""
        with self._lock:
            return sum(part.param_bytes for part in self._parts.values())

    def head(self, point: SplitPoint, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The tensors that cross the cut at `point`, from the network's inputs."""
        return self._run(self._folder.cuts[0].tensors, point.tensors, inputs)

    def tail(self, point: SplitPoint, tensors: tuple[Array, ...]) -> tuple[Array, ...]:
        """The network's outputs from the tensors that cross the cut at `point`."""
        return self._run(point.tensors, self._folder.cuts[-1].tensors, tensors)

    def whole(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The outputs of the unsplit network."""
        return self.tail(self._folder.cuts[0], inputs)

    def between(
        self, start: SplitPoint, end: SplitPoint, tensors: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """The tensors at `end` from those at `start`: one block of the network."""
        return self._run(start.tensors, end.tensors, tensors)

    def release(self) -> None:
        """Let go of everything that is loaded."""
        with self._lock:
            self._parts.clear()

    def _run(
        self, inputs: tuple[str, ...], outputs: tuple[str, ...], tensors: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        if inputs == outputs:
            return tensors
        part = self._part(inputs, outputs)
        given = dict(zip(inputs, tensors, strict=True))
        try:
            made = part.session.run(part.outputs, {name: given[name] for name in part.inputs})
        except RUNTIME_ERRORS as error:
            raise ModelRunError(f"{self._folder.name} does not run: {error}") from error
        if len(made) == len(outputs):
            return tuple(made)
        given |= zip(part.outputs, made, strict=True)
        return tuple(given[name] for name in outputs)

    def _part(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> _Part:
        key = inputs, outputs
        with self._lock:
            part = self._parts.get(key)
            if part is None:
                part = self._parts[key] = self._load(inputs, outputs)
            return part

    def _load(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> _Part:
        model = extract(self._model, inputs, outputs)
        try:
            providers = [self._with_options(name) for name in self._providers]
            session = make_session(model, self._folder.path, self._threads, providers)
        except RUNTIME_ERRORS as error:
            raise ModelFolderError(
                f"model folder {self._folder.path} does not load: {error}"
            ) from error
        return _Part(
            session,
            tuple(value.name for value in model.graph.input),
            tuple(value.name for value in model.graph.output),
            sum(_tensor_bytes(tensor) for tensor in model.graph.initializer),
        )

    def _with_options(self, provider: str) -> str | tuple[str, dict[str, str]]:
        """TensorRT takes minutes to build an engine, so that they are kept."""
        if provider != "TensorrtExecutionProvider":
            return provider
        cache = Path.home() / ".cache" / "dvfo" / self._folder.fingerprint
        cache.mkdir(parents=True, exist_ok=True)
        return provider, {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache)}


def extract(
    model: onnx.ModelProto, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> onnx.ModelProto:
    """The part of a graph that computes `outputs` from `inputs`, with the weights it needs.

    Inputs that it does not read are left out, and so are outputs that are inputs.
    """
    graph = model.graph
    given = set(inputs)
    wanted = [name for name in outputs if name not in given]
    needed = set(wanted)
    nodes = []
    for node in reversed(graph.node):
        if (needed - given).intersection(node.output):
            reads = node_reads(node)
            if node.output[0] == BATCH and not reads <= given:
                # The batch is also the first dimension of whatever crosses.
                node = _copy(node)  # noqa: PLW2901
                node.input[0] = inputs[0]
                reads = {inputs[0]}
            nodes.append(node)
            needed |= reads
    values = {v.name: v for v in [*graph.input, *graph.value_info, *graph.output]}
    part = onnx.helper.make_graph(
        nodes[::-1],
        graph.name,
        [values[name] for name in inputs if name in needed],
        [values[name] for name in wanted],
        [tensor for tensor in graph.initializer if tensor.name in needed],
    )
    return onnx.helper.make_model(
        part, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(np.prod(tensor.dims, dtype=np.int64)) * itemsize


def make_session(
    model: onnx.ModelProto,
    weights: Path | None = None,
    threads: int = 1,
    providers: Sequence[str | tuple[str, dict[str, str]]] = (CPU,),
) -> ort.InferenceSession:
    """Load a graph.

    Args:
        model: the graph.
        weights: the folder of its weight file; None if the graph holds them itself.
        threads: threads per inference.
        providers: execution providers, the first that works is used.

    Raises:
        what `RUNTIME_ERRORS` lists: it cannot be loaded.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, no need to print them too
    if weights is not None:
        # The graph is in memory; its weights stay in the one file on disk.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(weights)
        )
    return ort.InferenceSession(model.SerializeToString(), options, providers=list(providers))


def random_inputs(folder: ModelFolder, batch: int = 1, seed: int = 0) -> tuple[Array, ...]:
    """Inputs to try a network with: normal numbers; token ids and masks of 0 and 1.

    The first of each sample is 1, so that no mask hides everything.
    """
    rng = np.random.default_rng(seed)
    made = []
    for spec in folder.inputs:
        shape = (batch, *spec.shape[1:]) if folder.dynamic_batch else spec.shape
        if np.dtype(spec.dtype).kind == "f":
            made.append(np.asarray(rng.normal(size=shape), spec.dtype))
        else:
            made.append(np.asarray(rng.integers(0, 2, shape), spec.dtype))
            made[-1].reshape(shape[0] if shape else 1, -1)[:, 0] = 1
    return tuple(made)


def installed_providers() -> list[str]:
    """Those of `PROVIDERS` that this ONNX Runtime has."""
    available = ort.get_available_providers()
    return [name for name in PROVIDERS if name in available]
