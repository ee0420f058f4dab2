"""Head, tail and whole network in ONNX Runtime, cut on demand from one graph and weight file."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import onnx

from partition.errors import ModelFolderError, ModelRunError
from partition.model import example_file, unsigned_ends
from partition.model.folder import ModelFolder
from partition.model.graph_file import load_graph
from partition.model.onnx_nodes import BATCH, BATCH_SHAPE, node_reads
from partition.model.seams import choose_seams, route
from partition.model.split_point import SplitPoint
from partition.providers.execution import Execution
from partition.providers.registry import CPU
from partition.providers.session import RUNTIME_ERRORS, Placed, place_session

Array = npt.NDArray[Any]
"""A tensor: the first dimension is the batch, 1 where the model's is fixed."""
PartKey = tuple[int, int]
"""A part by the positions of its first and its last cut."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A piece of the network, loaded."""

    placed: Placed
    inputs: tuple[str, ...]
    """Those that it reads."""
    outputs: tuple[str, ...]
    """Those that it computes; what passes through is not among them."""
    param_bytes: int


class SplitRuntime:
    """Runs the two sides of any legal cut; safe to use from several threads.

    A side is a chain of parts that are joined at the network's seams, so that sides share weights.
    Each part is loaded on first use and kept; one that takes long keeps nobody waiting but those
    who want it. A network that fails raises ModelRunError.

    Args:
        folder: the model.
        threads: threads per inference; None takes what the profile of this machine found best,
            or 1 if it was not profiled here.
        execution: where it runs; None takes the best providers that work here.

    Raises:
        ModelFolderError: the graph has changed since the folder was opened, or is not to be run.
    """

    def __init__(
        self, folder: ModelFolder, threads: int | None = None, execution: Execution | None = None
    ) -> None:
        self._folder = folder
        graph = load_graph(folder)
        self._graph: onnx.ModelProto | None = graph
        self._threads = threads or folder.threads or 1
        self.execution = execution or Execution.choose()
        self._pairs = unsigned_ends.pairs(graph.graph)
        self._positions = {cut.tensors: i for i, cut in enumerate(folder.cuts)}
        self._seams = choose_seams(folder.cuts, folder.split_points)
        self._kept: dict[PartKey, _Part] = {}
        self._parts: WeakValueDictionary[PartKey, _Part] = WeakValueDictionary()
        self._loading: dict[PartKey, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        """Threads per inference."""
        return self._threads

    @property
    def held_param_bytes(self) -> int:
        """Weights that are loaded, counted once per part that holds them."""
        return sum(part.param_bytes for part in list(self._parts.values()))

    @property
    def placement(self) -> str:
        """Where the loaded parts run, in words; of none, where they are to run."""
        placed = [part.placed for part in list(self._parts.values())]
        if not placed:
            return self.execution.providers[0].name
        names = " and ".join(dict.fromkeys(p.provider.name for p in placed))
        elsewhere = sum(p.n_elsewhere for p in placed if p.provider is not CPU)
        of = sum(p.n_operators for p in placed)
        return f"{names}, {elsewhere} of {of} operators on the processor" if elsewhere else names

    @property
    def is_on_processor(self) -> bool:
        """Whether all that is loaded runs on the processor alone."""
        return all(
            part.placed.provider is CPU or 0 < part.placed.n_elsewhere == part.placed.n_operators
            for part in list(self._parts.values())
        )

    def head(self, point: SplitPoint, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The tensors that cross the cut at `point`, from the network's inputs."""
        return self.whole(inputs) if point.is_output else self._run(self._route(0, point), inputs)

    def tail(self, point: SplitPoint, tensors: tuple[Array, ...]) -> tuple[Array, ...]:
        """The network's outputs from the tensors that cross the cut at `point`."""
        return self._run(self.tail_parts(point), tensors)

    def whole(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The outputs of the unsplit network, which has no seams."""
        return self._run(((0, len(self._folder.cuts) - 1),), inputs)

    def between(
        self, start: SplitPoint, end: SplitPoint, tensors: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """The tensors at `end` from those at `start`: one block of the network."""
        part = self._positions[start.tensors], self._positions[end.tensors]
        return self._run((part,) if part[0] < part[1] else (), tensors)

    def tail_parts(self, point: SplitPoint) -> tuple[PartKey, ...]:
        """Parts that the tail of a point consists of, each as its first and last cut."""
        start, end = self._positions[point.tensors], len(self._folder.cuts) - 1
        return route(start, end, self._seams)

    def hold_tail(self, point: SplitPoint) -> Collection[object]:
        """The loaded parts of a tail; they are let go when nobody holds what this returns.

        For who decides which tails stay; `tail` by itself keeps what it loads.
        """
        return [self._loaded(key) for key in self.tail_parts(point)]

    def release(self) -> None:
        """Let go of everything that is loaded, but what somebody holds."""
        with self._lock:
            self._kept.clear()

    def forget_graph(self) -> None:
        """Let go of the graph once all is loaded; it is read again for a part that is not."""
        self._graph = None

    def _route(self, start: int, point: SplitPoint) -> tuple[PartKey, ...]:
        return route(start, self._positions[point.tensors], self._seams)

    def _run(self, parts: Sequence[PartKey], tensors: tuple[Array, ...]) -> tuple[Array, ...]:
        for key in parts:
            tensors = self._run_part(key, tensors)
        return tensors

    def _run_part(self, key: PartKey, tensors: tuple[Array, ...]) -> tuple[Array, ...]:
        part = self._parts.get(key) or self._part(key)
        inputs, outputs = (self._folder.cuts[i].tensors for i in key)
        given = dict(zip(inputs, tensors, strict=True))
        try:
            made = part.placed.session.run(
                part.outputs, {name: given[name] for name in part.inputs}
            )
        except RUNTIME_ERRORS as error:
            raise ModelRunError(f"{self._folder.name} does not run: {error}") from error
        if len(made) == len(outputs):
            return tuple(made)
        given |= zip(part.outputs, made, strict=True)
        return tuple(given[name] for name in outputs)

    def _part(self, key: PartKey) -> _Part:
        part = self._loaded(key)
        with self._lock:
            self._kept[key] = part
        return part

    def _loaded(self, key: PartKey) -> _Part:
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # one loads, others who want the same part wait
            part = self._parts.get(key)
            if part is None:
                part = self._load(*(self._folder.cuts[i].tensors for i in key))
                self._parts[key] = part
            return part

    def _load(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> _Part:
        graph = self._graph or load_graph(self._folder)
        model = extract(graph, inputs, outputs)
        if self.execution.providers == (CPU,) and unsigned_ends.is_wanted():
            model = unsigned_ends.with_unsigned_ends(model, self._pairs)
        try:
            placed = place_session(
                model,
                self._folder.path,
                self._threads,
                self.execution,
                self._folder.fingerprint,
            )
        except RUNTIME_ERRORS as error:
            raise ModelFolderError(
                f"model folder {self._folder.path} does not load: {error}"
            ) from error
        self._folder.check_unchanged()
        return _Part(
            placed,
            tuple(value.name for value in model.graph.input),
            tuple(value.name for value in model.graph.output),
            sum(_tensor_bytes(tensor) for tensor in model.graph.initializer),
        )


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
            is_batch = node.op_type == "Shape" and node.output[0] in (BATCH, BATCH_SHAPE)
            if is_batch and not reads <= given:
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


def random_inputs(folder: ModelFolder, batch: int = 1, seed: int = 0) -> tuple[Array, ...]:
    """Inputs to try a network with: those that its folder keeps, or else made-up ones.

    Made up are normal numbers, bytes of any value, and token ids and masks of 0 and 1, the first of
    each sample 1, so that no mask hides everything.
    """
    if kept := example_file.read(folder.path, folder.inputs):
        chosen = [kept[(seed + i) % len(kept)] for i in range(batch)]
        by_input = zip(*chosen, strict=True)
        return tuple(np.concatenate(rows) if batch > 1 else rows[0] for rows in by_input)
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
