"""Metrics of a driven board, as Prometheus reads them."""

from __future__ import annotations

import urllib.request
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents.deployed.service_totals import ServiceTotals
from agents.watch.watch import watched
from envs.live.supervisor import ClockInForce
from partition.errors import CloudError, DeadlineExceededError, HopelessError
from tests.agents.watch.shown_plant import STEP_S, Plant

NO_RUN = Path("no-such-run")


@pytest.fixture
def address(free_port):
    return f"127.0.0.1:{free_port}"


def scraped(address):
    """Values by name and labels, which Prometheus sorts."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as page:
        text = page.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def found(address):
    plant, times_s = Plant(), iter([STEP_S, 2 * STEP_S])
    totals = ServiceTotals(plant, lambda: next(times_s))
    with watched(address, NO_RUN) as watch:
        watch.begin("advised", plant, totals, None)
        first = (0.02, None), (0.06, HopelessError), (0.3, DeadlineExceededError)
        totals.add(plant.serve(*first, dropped=1), 0.0003)
        totals.add(plant.serve((0.04, CloudError)), 0.0003)
        return scraped(address)


def test_requests_are_counted_by_what_became_of_them(found):
    outcomes = {name: found["dvfo_board_requests_total", name] for name in ("in_time", "late")}
    assert outcomes == {"in_time": 3, "late": 1}
    assert found["dvfo_board_requests_total", "dropped"] == 1
    assert found["dvfo_board_cuts_total", "16 kB cut"] == 4


def test_no_counter_falls_while_a_step_is_added(address):
    """A fall looks to Prometheus like a restart, and all requests so far like new ones."""
    seen = []

    class Scraped(Plant):
        def accuracy_of(self, served):
            seen.append(scraped(address))

    plant, times_s = Scraped(), iter([STEP_S, 2 * STEP_S])
    totals = ServiceTotals(plant, lambda: next(times_s))
    with watched(address, NO_RUN) as watch:
        watch.begin("advised", plant, totals, None)
        for _ in range(2):
            totals.add(plant.serve((0.3, DeadlineExceededError), (0.02, None)), 0.0003)
        seen.append(scraped(address))
    counters = [key for key in seen[0] if key[0].endswith(("_total", "_bucket", "_count", "_sum"))]
    for key in counters:
        values = [each.get(key, 0.0) for each in seen]
        assert values == sorted(values), key
    assert seen[-1]["dvfo_board_requests_total", "late"] == 2


def test_fallbacks_are_counted_by_reason_and_those_that_never_came_are_zero(found):
    reasons = {key[1]: n for key, n in found.items() if key[0] == "dvfo_board_fallbacks_total"}
    assert Counter(reasons) == Counter({"hopeless": 1, "late": 1, "bad answer": 1})
    assert {"unavailable", "busy", "no access"} <= reasons.keys()


def test_latencies_are_a_histogram_that_adds_up(found):
    name = "dvfo_board_latency_seconds_bucket"
    buckets = {key[1]: n for key, n in found.items() if key[0] == name}
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets["0.01"], buckets["0.05"], buckets["0.1"], buckets["+Inf"]) == (0, 2, 3, 4)
    assert found["dvfo_board_latency_seconds_count",] == 4
    assert found["dvfo_board_latency_seconds_sum",] == pytest.approx(0.42)


def test_energy_comes_with_what_may_be_wrong_about_it(found):
    assert found["dvfo_board_energy_joules_total",] == pytest.approx(2 * STEP_S * 4.0)
    assert found["dvfo_board_energy_uncertainty_joules_total",] == pytest.approx(2 * STEP_S * 0.2)
    assert found["dvfo_board_unmeasured_seconds_total",] == 0


def test_clocks_say_what_was_asked_what_is_and_who_won(found):
    assert found["dvfo_board_clock_asked_hertz", "cpu"] == 2e9
    assert found["dvfo_board_clock_hertz", "cpu"] == 1e9
    assert found["dvfo_board_clock_overruled", "the thermal guard", "cpu"] == 1
    assert not any(key[0] == "dvfo_board_clock_overruled" and "gpu" in key for key in found)


def test_clocks_are_those_of_a_whole_step(address):
    plant = Plant()
    totals = ServiceTotals(plant)
    with watched(address, NO_RUN) as watch:
        watch.begin("advised", plant, totals, None)
        totals.add(plant.serve(), 0.0)
        plant.clocks_in_force = (ClockInForce("cpu", 3_000_000_000, 1_000_000_000, None),)
        shown = scraped(address)  # in the middle of the next one
    assert shown["dvfo_board_clock_asked_hertz", "cpu"] == 2e9


def test_a_promise_is_shown_where_one_is_kept(address):
    plant = Plant()
    with watched(address, NO_RUN) as watch:
        promise = SimpleNamespace(share=0.95, is_broken=True, document=dict)
        watch.begin("advised", plant, ServiceTotals(plant), promise)
        shown = scraped(address)
    assert (shown["dvfo_board_promise_ratio",], shown["dvfo_board_promise_broken",]) == (0.95, 1)


def test_the_address_is_free_again_afterwards(address):
    for _ in range(2):
        with watched(address, NO_RUN) as watch:
            watch.begin("advised", Plant(), ServiceTotals(Plant()), None)
            assert scraped(address)["dvfo_board_temperature_margin_celsius",] == 12.5


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", "192.0.2.1:9100"])
def test_an_address_that_cannot_be_had_is_named(listen):
    with pytest.raises(CloudError, match=listen), watched(listen, NO_RUN):
        pytest.fail("it was had")
