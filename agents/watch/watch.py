"""What `deploy.py --metrics` opens beside the control loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from agents.deployed.promise_watch import PromiseWatch
from agents.deployed.service_totals import ServiceTotals
from agents.watch.application import Application
from agents.watch.events import EventLog, events_kept
from agents.watch.metrics import BoardMetrics
from agents.watch.state import BoardState
from envs.live.plant import LivePlant
from hw.outage import Outage
from partition.security.tls import is_loopback
from partition.transport import rpc
from partition.transport.exposition import expose


class Watch:
    """Shows a board, once it is driven.

    Args:
        events: what happens.
        run: folder of the run that drives it.

    Attributes:
        registry: of the metrics.
        events: what happens.
    """

    def __init__(self, events: EventLog, run: Path) -> None:
        self.registry, self.events = CollectorRegistry(), events
        self._run = run
        self._state: BoardState | None = None
        self._showing = Outage("showing the board", "the service goes on unseen")

    def begin(
        self,
        algorithm: str,
        plant: LivePlant,
        totals: ServiceTotals,
        promise: PromiseWatch | None,
    ) -> None:
        """Show a board; arguments as of `BoardMetrics`."""
        self.registry.register(BoardMetrics(algorithm, plant, totals, promise))
        self._state = BoardState(algorithm, plant, totals, promise, self.events, self._run)

    def look(self) -> None:
        """Take in the control step that has just ended; whatever fails, the service goes on."""
        if self._state is None:
            return
        try:
            self._state.look()
        except Exception as error:
            self._showing.failed(f"{type(error).__name__}: {error}")
        else:
            self._showing.worked()

    def document(self) -> dict[str, Any] | None:
        """The state of the board; None while it is not yet driven."""
        return None if self._state is None else self._state.document()


@contextmanager
def watched(listen: str, run: Path) -> Iterator[Watch]:
    """Answer at HOST:PORT within.

    Args:
        listen: HOST:PORT.
        run: folder of the run that drives the board.

    Raises:
        CloudError: the address is no address, in use or not permitted.
    """
    with events_kept() as events:
        watch = Watch(events, run)
        host, _ = rpc.parse_address(listen)
        application = Application(watch.registry, watch.document, is_local=is_loopback(host))
        stop = expose(application, listen)
        try:
            yield watch
        finally:
            stop()
