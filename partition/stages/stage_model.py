"""Computation of a stage: the network between two cuts, and how tensors cross them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from partition.codec import quantisers
from partition.codec.codec import Codec
from partition.codec.encoded import Encoded
from partition.errors import ModelFolderError, ModelRunError, WireError
from partition.model.folder import ModelFolder
from partition.model.runtime import Array, SplitRuntime
from partition.model.split_point import SplitPoint
from partition.providers.session import RUNTIME_ERRORS
from partition.stages.errors import StageError
from partition.transport import wire

_LOAD_ERRORS: tuple[type[Exception], ...] = (ModelFolderError, *RUNTIME_ERRORS)


class CutCodec:
    """Tensors at a cut, before and after they crossed a link; the output crosses as it is.

    Args:
        folder: the network.
        cut: position in its list of legal cuts.
        codec: one of `quantisers.codec_names`.

    Raises:
        StageError: no such cut.
    """

    def __init__(self, folder: ModelFolder, cut: int, codec: str) -> None:
        if not 0 <= cut < len(folder.cuts):
            raise StageError(f"{folder.name} has cuts 0 to {len(folder.cuts) - 1}, none {cut}")
        self.point = folder.cuts[cut]
        self._fingerprint = folder.fingerprint
        quantiser = None if self.point.is_output else quantisers.of_name(codec)
        self._codec = None if quantiser is None else Codec(quantiser.bits)
        self._dtypes = tuple(map(np.dtype, self.point.dtypes))

    def pack(self, tensors: tuple[Array, ...], number: int) -> bytes:
        """As the message of frame `number`.

        Raises:
            WireError: a message cannot carry them.
        """
        encoded = tuple(map(self._encode, tensors))
        return wire.pack_request(wire.Request(self._fingerprint, self.point.index, encoded, number))

    def tensors(self, request: wire.Request) -> tuple[Array, ...]:
        """From a message, views of it as far as possible.

        Raises:
            StageError: they are of another network, cut, shape or type.
        """
        found = (request.fingerprint, request.split)
        if found != (self._fingerprint, self.point.index):
            raise StageError(
                f"a frame of network {found[0]} at cut {found[1]} came to {self._fingerprint} at "
                f"cut {self.point.index}"
            )
        tensors = tuple(map(self._decode, request.tensors))
        specs = self.point.specs
        fits = len(tensors) == len(specs) and all(
            spec.dtype == tensor.dtype.name and spec.fits(tensor.shape)
            for spec, tensor in zip(specs, tensors, strict=True)
        )
        if not fits:
            shapes = tuple(tensor.shape for tensor in tensors)
            raise StageError(f"cut {self.point.name} takes {self.point.shapes}, not {shapes}")
        return tensors

    def zeros(self) -> tuple[Array, ...]:
        """Tensors to try a network with."""
        return tuple(map(np.zeros, self.point.shapes, self._dtypes))

    def _encode(self, tensor: Array) -> Encoded | wire.Raw:
        try:
            return wire.carried(tensor, self._codec)
        except WireError:  # NaN or infinity, which some networks give rightly, has no level
            return wire.Raw(tensor)

    def _decode(self, tensor: Encoded | wire.Raw) -> Array:
        if isinstance(tensor, wire.Raw):
            return tensor.array
        if self._codec is None:
            raise StageError(f"a quantised tensor came to {self.point.name}, where none crosses")
        return self._codec.decode(tensor)


class StageModel:
    """The network between two cuts, from message to message.

    Args:
        folder: the network.
        runtime: what runs it.
        start: cut that it begins at.
        end: cut that it ends at.
        codec: one of `quantisers.codec_names`.

    Raises:
        StageError: no such cuts, or the network does not load.
    """

    def __init__(
        self, folder: ModelFolder, runtime: SplitRuntime, start: int, end: int, codec: str
    ) -> None:
        self._runtime = runtime
        self._before = CutCodec(folder, start, codec)
        self._after = CutCodec(folder, end, codec)
        self._points: tuple[SplitPoint, SplitPoint] = (self._before.point, self._after.point)
        try:
            with suppress(ModelRunError):  # not every network takes zeros; it is loaded now
                runtime.between(*self._points, self._before.zeros())
        except _LOAD_ERRORS as error:
            raise StageError(
                f"{folder.name} does not run from {self._before.point.name} to "
                f"{self._after.point.name} ({error})"
            ) from error

    def run(self, request: wire.Request) -> bytes:
        """One frame.

        Raises:
            StageError: it does not belong here.
            WireError: it cannot be decoded.
        """
        tensors = self._before.tensors(request)
        return self._after.pack(self._runtime.between(*self._points, tensors), request.number)
