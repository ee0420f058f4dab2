"""Prometheus metrics of a server, which `--metrics HOST:PORT` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_BATCHES = (1, 2, 4, 8, 16, 32)


class ServerMetrics:
    """Counters, histograms and gauges of one server; safe to use from several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "dvfo_requests", "Requests by outcome.", ["outcome"], registry=self.registry
        )
        self._bytes = Counter("dvfo_request_bytes", "Bytes of requests.", registry=self.registry)
        self._seconds = Histogram(
            "dvfo_server_seconds",
            "From the parsed request to its answer, waiting included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "dvfo_batch_size",
            "Requests that were run together.",
            buckets=_BATCHES,
            registry=self.registry,
        )
        self._outcomes: dict[str, Any] = {}

    def answered(self, message_bytes: int, elapsed_s: float) -> None:
        """A request was answered."""
        self.ended("ok")
        self._bytes.inc(message_bytes)
        self._seconds.observe(elapsed_s)

    def batched(self, n_requests: int) -> None:
        """A request was run together with others, itself counted."""
        self._batch.observe(n_requests)

    def ended(self, outcome: str) -> None:
        """A request left, with `ok` or what gRPC calls it."""
        counter = self._outcomes.get(outcome)
        if counter is None:
            counter = self._outcomes[outcome] = self._requests.labels(outcome)
        counter.inc()

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show what `read` returns at each scrape."""
        Gauge(name, text, registry=self.registry).set_function(read)
