"""Pace of the board's computing in a live run, and clocks raised for what it has to finish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import numpy as np

from envs.sim.clocks import Clocks, clock_tables
from envs.sim.finishing import Finish, finish, top_clocks
from hw.base import Board, OperatingPoint
from hw.device.model import DOMAINS
from hw.errors import HardwareError
from partition.model.cost import Cost
from partition.model.routes import Route, RouteOption


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
        finish = self._finish(work)
        if finish is None or not finish.is_raised:
            return self._run(work)
        return self._raised(work)

    def fallback_s(self, route: Route) -> float | None:
        """Time of that by the board's model at the clocks in force, s; None without a model."""
        finish = self._finish(self._options[route].fallback)
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

    def _finish(self, work: Cost) -> Finish | None:
        """How the board finishes by its model at the clocks in force; None without a model."""
        device = self._board.device
        if device is None:
            return None
        demand = device.network.demand(work.flops, work.traffic_bytes, work.kernels)
        applied, one = self._board.applied, np.ones(1)
        tables = zip(DOMAINS, clock_tables(device), strict=True)
        held = Clocks(
            *(one * (applied[n].applied_hz if n in applied else t[-1]) for n, t in tables)
        )
        top = top_clocks(device, one) if self._may_raise else held
        return finish(device, demand, held, top, one, 0.0 * one)

    def _run(self, work: Cost) -> AbstractContextManager[object]:
        return self._board.pace(work.flops, work.traffic_bytes, work.kernels)
