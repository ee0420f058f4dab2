"""Pieces of a real network, run as the deployed pipeline runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from envs.calibration.samples import Kind, Piece
from envs.live.requests import Inputs
from hw.base import Board
from partition.codec.codec import Codec, Encoded
from partition.errors import WireError
from partition.model.folder import ModelFolder
from partition.model.inputs import as_inputs
from partition.model.routes import RouteOption
from partition.model.runtime import SplitRuntime
from partition.transport import wire


class NetworkRunner:
    """Runs heads, tails and what the processor does beside them.

    Args:
        folder: the model.
        runtime: runs the network.
        board: open; paces the pieces where it is modelled.
        inputs: of the network, at least one.

    Attributes:
        options: the network's routes.
        kinds: of pieces that it can run.
    """

    def __init__(
        self,
        folder: ModelFolder,
        runtime: SplitRuntime,
        board: Board,
        inputs: Sequence[Inputs],
    ) -> None:
        self.options: Sequence[RouteOption] = folder.routes
        self.kinds = frozenset({Kind.IDLE, Kind.HEAD, Kind.TAIL})
        # A modelled board that says nothing of such work takes this machine's time for it.
        if not board.modelled or board.models_host or type(board).host is not Board.host:
            self.kinds |= {Kind.HOST}
        self._folder, self._runtime, self._board = folder, runtime, board
        whole = folder.routes[-1].edge
        board.runs(whole.flops, whole.traffic_bytes, whole.kernels)
        self._given = given = inputs[0]
        x = given() if callable(given) else given
        self._input = as_inputs(folder, x if isinstance(x, tuple) else (x,))

    def prepared(self, piece: Piece) -> Callable[[], object]:
        """What runs a piece once."""
        if piece.kind is Kind.IDLE:
            return lambda: None
        if piece.kind is Kind.HEAD:
            return self._head(piece.route)
        return self._tail(piece.route) if piece.kind is Kind.TAIL else self._host(piece.route)

    def _head(self, index: int) -> Callable[[], object]:
        option = self.options[index]
        point, cost = self._folder.split_points[option.route.split], option.edge

        def run() -> None:
            with self._board.pace(cost.flops, cost.traffic_bytes, cost.kernels):
                self._runtime.head(point, self._input)

        return run

    def _tail(self, index: int) -> Callable[[], object]:
        option = self.options[index]
        point, cost = self._folder.split_points[option.route.split], option.fallback
        tensors = self._runtime.head(point, self._input)

        def run() -> None:
            with self._board.pace(cost.flops, cost.traffic_bytes, cost.kernels):
                self._runtime.tail(point, tensors)

        return run

    def sent(self, index: int) -> tuple[Encoded | wire.Raw, ...]:
        """What crosses on a route, encoded."""
        route = self.options[index].route
        point = self._folder.split_points[route.split]
        return _encoded(self._runtime.head(point, self._input), Codec(route.bits))

    def _host(self, index: int) -> Callable[[], object]:
        """Preparing the input, and encoding and packing what is sent."""
        if self._board.models_host:
            return lambda: self._board.play_host(self.options[index].wire_bytes)
        route = self.options[index].route
        point = self._folder.split_points[route.split]
        tensors, codec = self._runtime.head(point, self._input), Codec(route.bits)

        def run() -> None:
            if callable(self._given):
                with self._board.host():
                    self._given()
            if point.is_output:
                return
            with self._board.host():
                sent = _encoded(tensors, codec)
            with self._board.host():
                wire.pack_request(wire.Request(self._folder.fingerprint, route.split, sent))

        return run


def _encoded(tensors: Sequence[npt.NDArray[Any]], codec: Codec) -> tuple[Encoded | wire.Raw, ...]:
    return tuple(_carried(tensor, codec) for tensor in tensors)


def _carried(tensor: npt.NDArray[Any], codec: Codec) -> Encoded | wire.Raw:
    """A tensor as the pipeline sends it; one without levels goes as it is."""
    try:
        return wire.carried(tensor, codec, None)
    except WireError:
        return wire.Raw(tensor)
