"""Prometheus metrics of a driven board, which `deploy.py --metrics HOST:PORT` shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from agents.deployed.histogram import TimeHistogram
from agents.deployed.promise_watch import PromiseWatch
from agents.deployed.service_totals import ServiceTotals
from envs.live.plant import LivePlant

_LATENCY_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_DECISION_S = (1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.25, 1.0)


class BoardMetrics:
    """Collects what a board does when it is scraped; between scrapes it costs nothing.

    Scrapes come from threads of their own, while control steps go on: a figure may be of the step
    that is under way, and another one of the step before.

    Args:
        algorithm: that drives the board.
        plant: the board.
        totals: what it has come to.
        promise: on what it keeps, if anything.
    """

    def __init__(
        self,
        algorithm: str,
        plant: LivePlant,
        totals: ServiceTotals,
        promise: PromiseWatch | None = None,
    ) -> None:
        self._algorithm, self._plant, self._totals = algorithm, plant, totals
        self._promise = promise

    def collect(self) -> Iterator[Metric]:
        """All metrics, as a registry of prometheus_client asks for them."""
        yield self._info()
        yield from self._requests()
        yield from self._energy()
        yield from self._clocks()
        yield from self._link()
        if self._promise is not None:
            yield from _promise(self._promise)

    def _info(self) -> Metric:
        layout = self._plant.layout
        return InfoMetricFamily(
            "dvfo_board",
            "What drives which board with which network.",
            {
                "policy": self._algorithm,
                "board": layout.board,
                "model": layout.model,
                "runs_on": self._plant.placement,
                "modelled": _truth(self._plant.is_modelled),
                "dry_run": _truth(self._plant.dry_run),
            },
        )

    def _requests(self) -> Iterator[Metric]:
        totals = self._totals
        outcomes = {"in_time": totals.n_met, "late": totals.n_late, "dropped": totals.dropped}
        yield _counters("dvfo_board_requests", "Requests by outcome.", "outcome", outcomes)
        yield _counters("dvfo_board_cuts", "Answers by the cut of the policy.", "cut", totals.cuts)
        yield _counters(
            "dvfo_board_fallbacks",
            "Requests for the cloud that the board finished, by reason.",
            "reason",
            totals.fallbacks_by_reason,
        )
        yield _histogram(
            "dvfo_board_latency_seconds",
            "From a request's arrival to its answer, waiting included.",
            totals.latencies,
            _LATENCY_S,
        )
        yield _gauge(
            "dvfo_board_latency_target_seconds",
            "Latency target of the present requests.",
            self._plant.latency_target_s,
        )
        yield _histogram(
            "dvfo_board_decision_seconds",
            "From an observation to the action.",
            totals.decisions,
            _DECISION_S,
        )
        yield _counter(
            "dvfo_board_policy_failures", "Failures of the policy.", float(totals.policy_failures)
        )
        yield _counter(
            "dvfo_board_stood_in_seconds",
            "Time for which the board's own governors stood in for the policy.",
            totals.stood_in_s,
        )
        yield _gauge(
            "dvfo_board_stood_in",
            "1 while the policy is stood in for.",
            float(totals.failure is not None),
        )

    def _energy(self) -> Iterator[Metric]:
        totals, plant = self._totals, self._plant
        yield _counter("dvfo_board_energy_joules", "All that was drawn.", totals.energy.energy_j)
        yield _counter(
            "dvfo_board_energy_uncertainty_joules",
            "Largest error of the energy, as its measurement admits it.",
            totals.energy.uncertainty_j,
        )
        yield _counter("dvfo_board_service_seconds", "Time in service.", totals.duration_s)
        yield _counter(
            "dvfo_board_unmeasured_seconds",
            "Time in service during which the last measured power stood in.",
            totals.unmeasured_s,
        )
        yield _gauge("dvfo_board_power_watts", "Mean power of the last step.", totals.power_w)
        yield _gauge(
            "dvfo_board_temperature_margin_celsius",
            "Distance to the board's temperature limit.",
            math.nan if (margin_c := plant.known_margin_c) is None else margin_c,
        )
        yield _counters(
            "dvfo_board_failures",
            "Failures to read or to set a part of the board that were bridged.",
            "part",
            plant.n_failures,
        )

    def _clocks(self) -> Iterator[Metric]:
        asked = GaugeMetricFamily(
            "dvfo_board_clock_asked_hertz", "Clock that the policy asked for.", labels=["clock"]
        )
        in_force = GaugeMetricFamily(
            "dvfo_board_clock_hertz", "Clock as read back.", labels=["clock"]
        )
        overruled = GaugeMetricFamily(
            "dvfo_board_clock_overruled",
            "1 while a clock is not what the policy asked for, with who or what won.",
            labels=["clock", "by"],
        )
        for name, hz in self._totals.clocks_hz.items():
            in_force.add_metric([name], float(hz))
        for clock in self._totals.clocks:
            asked.add_metric([clock.name], float(clock.requested_hz))
            if clock.cause is not None:
                overruled.add_metric([clock.name, clock.cause], 1.0)
        yield from (asked, in_force, overruled)

    def _link(self) -> Iterator[Metric]:
        link = self._plant.link
        yield _gauge(
            "dvfo_board_link_bytes_per_second", "Estimate of the uplink's rate.", link.rate_bps / 8
        )
        yield _gauge("dvfo_board_link_rtt_seconds", "Round trip of an empty request.", link.rtt_s)
        yield _gauge("dvfo_board_server_load", "Busy share of the server, 0..1.", link.server_load)


def _promise(promise: PromiseWatch) -> Iterator[Metric]:
    yield _gauge(
        "dvfo_board_promise_ratio", "Share of requests in time that is promised.", promise.share
    )
    yield _gauge(
        "dvfo_board_promise_broken",
        "1 while even the safest action is late too often.",
        float(promise.is_broken),
    )


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, n in dict(values).items():  # a copy: steps go on
        family.add_metric([value], float(n))
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _histogram(name: str, text: str, times: TimeHistogram, bounds_s: Sequence[float]) -> Metric:
    counts = [*times.counts_up_to(bounds_s), len(times)]
    names = [*(f"{bound:g}" for bound in bounds_s), "+Inf"]
    buckets = [(bound, float(n)) for bound, n in zip(names, counts, strict=True)]
    return HistogramMetricFamily(name, text, buckets, times.total_s)


def _truth(value: bool) -> str:
    return "true" if value else "false"
