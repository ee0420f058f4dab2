"""Model store of a server: found by fingerprint, loaded tail by tail within a budget."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from common.progress import FIRST_LINE_S, Progress
from partition.attention.runtime import AttentionRuntime
from partition.codec.codec import Codec, Encoded
from partition.data.image_file import rgb_of_jpeg
from partition.data.images import Picture
from partition.data.pictures import PictureFormat
from partition.errors import CloudError, ImageError, ModelRunError, WireError
from partition.listener import fair_pool
from partition.model.folder import ModelFolder
from partition.model.graph_file import load_graph
from partition.model.runtime import SplitRuntime
from partition.model.seams import PART_BYTES, part_bytes
from partition.model.split_point import SplitPoint
from partition.providers.registry import CPU
from partition.transport import wire

Tensors = tuple[Encoded | wire.Raw, ...]
Outputs = tuple[npt.NDArray[Any], ...]

_MAX_BATCH = 1024

_Piece = tuple[str, Hashable]
"""Something that is loaded once, however many tails share it: a network's fingerprint, and the part
or the cut whose tail was trained with attention."""


def pieces_of(folder: ModelFolder, point: SplitPoint, runtime: SplitRuntime) -> dict[_Piece, int]:
    """What the tail of `point` loads, and the memory that each piece is taken to need, bytes.

    What a request needs while it runs comes on top, and is given back.
    """
    if _is_trained(folder, point):
        return {(folder.fingerprint, point.name): PART_BYTES + point.tail.param_bytes}
    return {
        (folder.fingerprint, part): PART_BYTES + part_bytes(folder.cuts, part)
        for part in runtime.tail_parts(point)
    }


def _is_trained(folder: ModelFolder, point: SplitPoint) -> bool:
    return folder.attention is not None and point.name in folder.attention.cuts


def _tail_of(
    folder: ModelFolder, point: SplitPoint, runtime: SplitRuntime
) -> Callable[[Outputs], Outputs]:
    """What finishes the network: at a cut with attention the tail that was trained with it."""
    if not _is_trained(folder, point):
        return partial(runtime.tail, point)
    trained = AttentionRuntime(folder.path, point, runtime.threads, runtime.execution)
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
        self._held = () if _is_trained(folder, point) else runtime.hold_tail(point)
        self._execution = runtime.execution
        self._dtypes = tuple(map(np.dtype, point.dtypes))
        self._codec = Codec()
        self._form: PictureFormat | None = None
        if point.is_input and folder.preprocess is not None:
            self._form = PictureFormat.of_classifier(folder.preprocess)

    def warm(self) -> None:
        """Run it once, and at the largest batch where that is compiled or searched for anew."""
        largest = min(self.max_batch, self._execution.max_batch)
        on_processor = self._execution.providers[0] is CPU
        for n in {1} if on_processor else {1, largest}:
            zeros = tuple(
                np.zeros((n * shape[0], *shape[1:]) if shape else shape, dtype)
                for shape, dtype in zip(self.point.shapes, self._dtypes, strict=True)
            )
            with suppress(ModelRunError):  # not every network takes zeros; it is loaded now
                self.compute(zeros)

    def compute(self, tensors: Outputs) -> Outputs:
        """The network's outputs from tensors of any batch that the network takes."""
        return self._tail(tensors)

    def check(self, tensors: Tensors) -> None:
        """Refuse tensors of another shape or type than cross here, but for a picture's file.

        Raises:
            WireError: they have.
        """
        if self._form is not None and is_file(tensors):
            return
        shapes = tuple(tensor.shape for tensor in tensors)
        dtypes = tuple(map(_dtype, tensors))
        if shapes != self.point.shapes or dtypes != self._dtypes:
            raise WireError(
                f"no split point {self.point.index} ({self.point.name}) takes tensors {shapes} "
                f"of {', '.join(dtype.name for dtype in dtypes)}"
            )

    def run(self, requests: Sequence[Tensors]) -> list[Outputs]:
        """The network's outputs for each of some requests, in one batch.

        Raises:
            WireError: a picture's file cannot be decoded.
        """
        requests = [self._opened(tensors) for tensors in requests]
        if len(requests) == 1:
            return [self.compute(tuple(map(self._decoded, requests[0])))]
        inputs = tuple(self._stacked(alike) for alike in zip(*requests, strict=True))
        outputs = self.compute(inputs)
        n = len(requests)
        if any(len(output) != n for output in outputs):
            raise CloudError(f"the tail at {self.point.name} mixes up the requests of a batch")
        return [tuple(output[i : i + 1] for output in outputs) for i in range(n)]

    def _opened(self, tensors: Tensors) -> Tensors:
        """The input that a picture's file stands for, prepared as a board would."""
        if self._form is None or not is_file(tensors):
            return tensors
        (file,) = tensors
        assert isinstance(file, wire.Raw)
        try:
            picture = Picture(rgb_of_jpeg(file.array.tobytes()), self._form)
        except ImageError as error:
            raise WireError(str(error)) from error
        return tuple(map(wire.Raw, picture()))

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


def is_file(tensors: Tensors) -> bool:
    """Whether a request holds a picture's file: bytes in a row, as no network takes them."""
    if len(tensors) != 1 or not isinstance(tensors[0], wire.Raw):
        return False
    array = tensors[0].array
    return array.ndim == 1 and array.dtype == np.uint8


def _dtype(tensor: Encoded | wire.Raw) -> np.dtype[Any]:
    """Of the decoded tensor."""
    return tensor.dtype if isinstance(tensor, Encoded) else tensor.array.dtype


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
        self._runtimes = {folder.fingerprint: make_runtime(folder, threads) for folder in folders}
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._loading: dict[tuple[str, int], threading.Lock] = {}
        self._tails: OrderedDict[tuple[str, int], Tail] = OrderedDict()
        self._users: Counter[_Piece] = Counter()
        self.loaded_bytes = 0
        self.n_loads = 0
        for folder in folders:
            load_graph(folder)  # what must not be run is refused before anything listens
            points = folder.split_points[:-1]
            needed = max(sum(self._pieces(folder, point).values()) for point in points)
            if budget_bytes is not None and needed > budget_bytes:
                raise CloudError(
                    f"model {folder.name} needs {needed / 1e6:.1f} MB for its largest tail, "
                    f"the budget is {budget_bytes / 1e6:.1f} MB: raise --memory-mb"
                )

    def placement(self, fingerprint: str) -> str:
        """Where a model runs, in words."""
        return self._runtimes[fingerprint].placement

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

    def load_all(self, first_line_s: float = FIRST_LINE_S) -> None:
        """Load every tail, as far as the budget goes; for a start without slow first requests.

        Args:
            first_line_s: after which its progress is reported.
        """
        wanted = [(f, p) for f in self.folders.values() for p in f.split_points[:-1]]
        with Progress("tails are loaded", len(wanted), first_line_s) as progress:
            for folder, point in wanted:
                progress.step(f"{folder.name} from {point.name}")
                if self._fits(self._pieces(folder, point)):
                    self.tail(folder.fingerprint, point.index)
        for runtime in self._runtimes.values():
            runtime.forget_graph()

    def _pieces(self, folder: ModelFolder, point: SplitPoint) -> dict[_Piece, int]:
        return pieces_of(folder, point, self._runtimes[folder.fingerprint])

    def _fits(self, pieces: dict[_Piece, int]) -> bool:
        more = sum(size for piece, size in pieces.items() if not self._users[piece])
        return self._budget_bytes is None or self.loaded_bytes + more <= self._budget_bytes

    def _load(self, key: tuple[str, int], folder: ModelFolder) -> Tail:
        point = folder.split_points[key[1]]
        pieces = self._pieces(folder, point)
        with self._lock:  # make room first: both at once would be beyond the budget
            while self._tails and not self._fits(pieces):
                (fingerprint, _), gone = self._tails.popitem(last=False)
                self._give_up(self._pieces(self.folders[fingerprint], gone.point))
            self._take(pieces)
        try:
            tail = Tail(folder, point, self._runtimes[folder.fingerprint])
            tail.warm()
        except BaseException:
            with self._lock:
                self._give_up(pieces)
            raise
        with self._lock:
            self._tails[key] = tail
            self.n_loads += 1
        return tail

    def _take(self, pieces: dict[_Piece, int]) -> None:
        for piece, size in pieces.items():
            self.loaded_bytes += 0 if self._users[piece] else size
            self._users[piece] += 1

    def _give_up(self, pieces: dict[_Piece, int]) -> None:
        for piece, size in pieces.items():
            self._users[piece] -= 1
            self.loaded_bytes -= 0 if self._users[piece] else size
