"""Pace of the board's computing in a live run, and clocks raised for what it has to finish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import lru_cache

import numpy as np

from envs.sim.clocks import Clocks, clock_tables
from envs.sim.finishing import Finish, finish, top_clocks
from hw.base import Board, OperatingPoint
from hw.device.model import DOMAINS
from hw.errors import HardwareError
from partition.model.cost import Cost
from partition.model.routes import Route, RouteOption

_REMEMBERED = 256
"""Ways to finish that are kept. Each request asks for its own up to four times, and to work it out
takes half a millisecond here, several on a small board: as long as the request may have left."""


class BoardPacer:
    """Makes what the pipeline computes take as long as on the board, which may be modelled."""

    def __init__(
        self, board: Board, options: Sequence[RouteOption], *, may_raise: bool = True
    ) -> None:
        """Remember what each of the network's routes demands.

        Args:
            board: open.
            options: the network's routes.
            may_raise: whether clocks may be raised for what the board has to finish.
        """
        self._board, self._may_raise = board, may_raise and not board.dry_run
        self._options = {option.route: option for option in options}
        self._finish_at = lru_cache(_REMEMBERED)(self._work_out)
        whole = options[-1].edge
        board.runs(whole.flops, whole.traffic_bytes, whole.kernels)

    def edge(self, route: Route) -> AbstractContextManager[object]:
        """Pace what runs before anything is sent."""
        option = self._options[route]
        self._board.play_host(option.wire_bytes)
        return self._run(option.edge)

    def fallback(self, route: Route) -> AbstractContextManager[object]:
        """Pace what is left to do on the board when no answer comes."""
        work = self._options[route].fallback
        finish = self._finish(route)
        if finish is None or not finish.is_raised:
            return self._run(work)
        return self._raised(work)

    def fallback_s(self, route: Route) -> float | None:
        """Time of that by the board's model at the clocks in force, s; None without a model."""
        finish = self._finish(route)
        return None if finish is None else float(finish.total_s[0])

    def host(self) -> AbstractContextManager[object]:
        """Pace work of the processor beside the network."""
        return self._board.host()

    @contextmanager
    def _raised(self, work: Cost) -> Iterator[None]:
        """Some work with the clocks raised for it, as far as the board allows."""
        board = self._board
        held = {name: applied.requested_hz for name, applied in board.applied.items()}
        top = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
        with ExitStack() as after:
            # A clock that fails is reported by the control loop, which sets all of them each step.
            after.callback(self._ask, held)
            self._ask(top)
            after.enter_context(self._run(work))
            yield

    def _ask(self, point: OperatingPoint) -> None:
        with suppress(HardwareError):
            self._board.apply(point)

    def _finish(self, route: Route) -> Finish | None:
        """How the board finishes by its model at the clocks in force; None without a model."""
        if self._board.device is None:
            return None
        held_hz = tuple((name, clock.applied_hz) for name, clock in self._board.applied.items())
        return self._finish_at(route, held_hz)

    def _work_out(self, route: Route, held_hz: tuple[tuple[str, float], ...]) -> Finish:
        device, work = self._board.device, self._options[route].fallback
        assert device is not None
        demand = device.network.demand(work.flops, work.traffic_bytes, work.kernels)
        one, clocks_hz = np.ones(1), dict(held_hz)
        tables = zip(DOMAINS, clock_tables(device), strict=True)
        held = Clocks(*(one * clocks_hz.get(name, table[-1]) for name, table in tables))
        top = top_clocks(device, one) if self._may_raise else held
        return finish(device, demand, held, top, one, 0.0 * one)

    def _run(self, work: Cost) -> AbstractContextManager[object]:
        return self._board.pace(work.flops, work.traffic_bytes, work.kernels)
