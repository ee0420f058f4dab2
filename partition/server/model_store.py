"""Model store of a server: found by fingerprint, loaded tail by tail within a budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from partition.attention.runtime import AttentionRuntime
from partition.codec.codec import Codec, Encoded
from partition.errors import CloudError, WireError
from partition.listener import fair_pool
from partition.model.folder import ModelFolder
from partition.model.graph_file import load_graph
from partition.model.runtime import SplitRuntime
from partition.model.split_point import SplitPoint
from partition.transport import wire

Tensors = tuple[Encoded | wire.Raw, ...]
Outputs = tuple[npt.NDArray[Any], ...]

# What a session takes besides its weights: the graph, the run-time's own tables and its arena.
_SESSION_BYTES = 3_000_000
_MAX_BATCH = 1024
_FLOAT32 = np.dtype(np.float32)
_ACTIVATIONS = 4
"""Copies of the cut tensors that a tail is taken to need for its own tensors."""


def tail_bytes(point: SplitPoint) -> int:
    """Memory that the tail of `point` is taken to need once loaded."""
    return _SESSION_BYTES + point.tail.param_bytes + _ACTIVATIONS * point.float32_bytes


def _tail_of(
    folder: ModelFolder, point: SplitPoint, runtime: SplitRuntime
) -> Callable[[Outputs], Outputs]:
    """What finishes the network: at a cut with attention the tail that was trained with it."""
    if folder.attention is None or point.name not in folder.attention.cuts:
        return partial(runtime.tail, point)
    trained = AttentionRuntime(folder.path, point, runtime.threads)
    return lambda tensors: (trained.tail(tensors[0]),)


class Tail:
    """One tail, loaded; may be used from several threads once it is warm.

    Args:
        folder: the model.
        point: where it is cut.
        runtime: what runs it, unless it was trained with attention.
    """

    def __init__(self, folder: ModelFolder, point: SplitPoint, runtime: SplitRuntime) -> None:
        self.point = point
        self.key: Hashable = (folder.fingerprint, point.index)
        # A graph exported with a batch of one cannot take more.
        self.max_batch = _MAX_BATCH if folder.dynamic_batch else 1
        self._tail = _tail_of(folder, point, runtime)
        self._dtypes = tuple(map(np.dtype, point.dtypes))
        self._codec = Codec()

    def warm(self) -> None:
        """Build the session and run it once."""
        self._tail(
            tuple(
                np.zeros(shape, dtype)
                for shape, dtype in zip(self.point.shapes, self.point.dtypes, strict=True)
            )
        )

    def check(self, tensors: Tensors) -> None:
        """Refuse tensors of another shape or type than cross here.

        Raises:
            WireError: they have.
        """
        shapes = tuple(tensor.shape for tensor in tensors)
        dtypes = tuple(map(_dtype, tensors))
        if shapes != self.point.shapes or dtypes != self._dtypes:
            raise WireError(
                f"no split point {self.point.index} ({self.point.name}) takes tensors {shapes} "
                f"of {', '.join(dtype.name for dtype in dtypes)}"
            )

    def run(self, requests: Sequence[Tensors]) -> list[Outputs]:
        """The network's outputs for each of some requests, in one batch."""
        if len(requests) == 1:
            return [self._tail(tuple(map(self._decoded, requests[0])))]
        inputs = tuple(self._stacked(alike) for alike in zip(*requests, strict=True))
        outputs = self._tail(inputs)
        n = len(requests)
        if any(len(output) != n for output in outputs):
            raise CloudError(f"the tail at {self.point.name} mixes up the requests of a batch")
        return [tuple(output[i : i + 1] for output in outputs) for i in range(n)]

    def _decoded(self, tensor: Encoded | wire.Raw) -> npt.NDArray[Any]:
        return self._codec.decode(tensor) if isinstance(tensor, Encoded) else tensor.array

    def _stacked(self, tensors: tuple[Encoded | wire.Raw, ...]) -> npt.NDArray[Any]:
        """Tensors of the same shape (1, ...) as one (n, ...), decoded in place."""
        first = tensors[0]
        batch: npt.NDArray[Any] = np.empty((len(tensors), *first.shape[1:]), _dtype(first))
        for i, tensor in enumerate(tensors):
            if isinstance(tensor, Encoded):
                self._codec.decode(tensor, batch[i : i + 1])
            else:
                batch[i : i + 1] = tensor.array
        return batch


def _dtype(tensor: Encoded | wire.Raw) -> np.dtype[Any]:
    """Of the decoded tensor."""
    return _FLOAT32 if isinstance(tensor, Encoded) else tensor.array.dtype


class ModelStore:
    """Models by fingerprint; their tails are loaded when first asked for.

    Beyond the budget the tails that were not used for longest are let go. Only its maker can add a
    model: a request names one by hash.

    Args:
        folders: the models.
        threads: of each tail.
        budget_bytes: memory for tails; None is unlimited.
        make_runtime: from a model and a number of threads.

    Raises:
        CloudError: the largest tail of a model is beyond the budget.
        ModelFolderError: a graph has changed since its folder was opened, or is not to be run.
    """

    def __init__(
        self,
        folders: Sequence[ModelFolder],
        threads: int = 1,
        budget_bytes: int | None = None,
        make_runtime: Callable[[ModelFolder, int], SplitRuntime] = SplitRuntime,
    ) -> None:
        self.folders = {folder.fingerprint: folder for folder in folders}
        self._threads = threads
        self._budget_bytes = budget_bytes
        self._make_runtime = make_runtime
        self._lock = threading.Lock()
        self._loading: dict[tuple[str, int], threading.Lock] = {}
        self._tails: OrderedDict[tuple[str, int], Tail] = OrderedDict()
        self.loaded_bytes = 0
        self.n_loads = 0
        for folder in folders:
            load_graph(folder)  # what must not be run is refused before anything listens
            needed = max(tail_bytes(point) for point in folder.split_points[:-1])
            if budget_bytes is not None and needed > budget_bytes:
                raise CloudError(
                    f"model {folder.name} needs {needed / 1e6:.1f} MB for its largest tail, "
                    f"the budget is {budget_bytes / 1e6:.1f} MB: raise --memory-mb"
                )

    def tail(self, fingerprint: str, split: int) -> Tail:
        """The tail of a split point of one of the models, loaded if need be.

        Raises:
            WireError: no such split point.
        """
        key = (fingerprint, split)
        with self._lock:
            tail = self._tails.get(key)
            if tail is not None:
                self._tails.move_to_end(key)
                return tail
            loading = self._loading.setdefault(key, threading.Lock())
        folder = self.folders[fingerprint]
        if not 0 <= split < len(folder.split_points) - 1:
            raise WireError(f"no split point {split} of {folder.name} has a tail")
        with fair_pool.aside(), loading:  # one loads, others of the same tail wait
            with self._lock:
                tail = self._tails.get(key)
            return tail or self._load(key, folder)

    def load_all(self) -> None:
        """Load every tail, as far as the budget goes; for a start without slow first requests."""
        for folder in self.folders.values():
            for point in folder.split_points[:-1]:
                if self._fits(point):
                    self.tail(folder.fingerprint, point.index)

    def _fits(self, point: SplitPoint) -> bool:
        return (
            self._budget_bytes is None
            or self.loaded_bytes + tail_bytes(point) <= self._budget_bytes
        )

    def _load(self, key: tuple[str, int], folder: ModelFolder) -> Tail:
        point = folder.split_points[key[1]]
        with self._lock:  # make room first: both at once would be beyond the budget
            while self._tails and not self._fits(point):
                _, gone = self._tails.popitem(last=False)
                self.loaded_bytes -= tail_bytes(gone.point)
            self.loaded_bytes += tail_bytes(point)
        try:
            tail = Tail(folder, point, self._make_runtime(folder, self._threads))
            tail.warm()
        except BaseException:
            with self._lock:
                self.loaded_bytes -= tail_bytes(point)
            raise
        with self._lock:
            self._tails[key] = tail
            self.n_loads += 1
        return tail
