"""Requests of an application: what is measured of them, and a live board that answers them."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from envs.live.make import make_live
from envs.live.plant import STEP_S
from envs.live.requests import (
    MAX_WAITING,
    ApplicationRequests,
    BackToBackRequests,
    ScenarioRequests,
)
from envs.scenarios.episodes import EpisodeConditions
from hw.errors import HardwareError
from partition.edge.local_client import LocalClient
from partition.edge.local_queue import N_ARRIVALS
from partition.edge.pipeline import InferenceResult
from partition.errors import CloudError, ModelRunError
from partition.model.runtime import SplitRuntime
from tests.hw.fake.clock import FakeClock


class Arrivals:
    """Stands for a service: requests came then."""

    addresses = ("127.0.0.1:1",)

    def __init__(self, *arrivals_s):
        self.refused = 0
        self._arrivals_s = list(arrivals_s)[-N_ARRIVALS:]

    def arrivals_s(self):
        return self._arrivals_s


@pytest.fixture
def expected(constant):
    """Surroundings as the scenario expects them: 8 periodic requests per second."""
    return EpisodeConditions([constant()], np.zeros(1, np.uint64), 4, 0.25).row(1)


def measured(arrivals, now_s, expected):
    moments_s = iter((0.0, *[now_s] * 9))  # the first one is when it begins
    requests = ApplicationRequests(arrivals, lambda: next(moments_s))
    around = requests.around(expected)
    assert requests.announced_hz(expected.arrival_hz) == around.arrival_hz
    return float(around.arrival_hz[0]), float(around.arrival_scv[0])


def test_rate_and_variability_are_measured(expected):
    camera = measured(Arrivals(*np.arange(0.0, 2.0, 0.05)), 2.0, expected)
    assert camera == pytest.approx((20.0, 0.0), abs=1e-6)
    gaps_s = np.random.default_rng(0).exponential(0.1, 32)
    people = measured(Arrivals(*gaps_s.cumsum()), gaps_s.sum(), expected)
    assert people == pytest.approx((10.0, 1.0), rel=0.35)
    pairs_s = np.repeat(np.arange(0.0, 4.0, 0.25), 2) + np.tile([0.0, 0.01], 16)
    assert measured(Arrivals(*pairs_s), 4.0, expected)[0] == pytest.approx(8.0, rel=0.05)


def test_before_some_have_come_the_scenario_is_believed(expected):
    assert measured(Arrivals(0.0, 0.1), 0.2, expected) == (float(expected.arrival_hz[0]), 0.0)


def test_silence_lowers_the_rate_to_what_an_observation_can_show(expected):
    arrivals = Arrivals(*np.arange(0.0, 1.0, 0.1))
    rates_hz = [measured(arrivals, now_s, expected)[0] for now_s in (1.0, 2.9, 1000.0)]
    assert rates_hz == pytest.approx([10.0, 0.5, 0.1])
    assert measured(Arrivals(), 5.0, expected)[0] == pytest.approx(0.2)  # nobody has ever asked


@pytest.mark.parametrize("n_since", [1, 3, 4, 20])
def test_after_a_pause_the_rate_is_as_before_and_then_as_it_is(expected, n_since):
    before_s, since_s = np.arange(0.0, 3.0, 0.1), 600.0 + 0.05 * np.arange(n_since)
    rate_hz, scv = measured(Arrivals(*before_s, *since_s), since_s[-1] + 0.01, expected)
    assert rate_hz == pytest.approx(20.0 if n_since >= 4 else 10.0)
    assert scv == pytest.approx(0.0, abs=1e-6)


def test_what_was_refused_is_counted_once(expected):
    arrivals = Arrivals()
    requests = ApplicationRequests(arrivals)
    arrivals.refused = 3
    assert (requests.dropped(), requests.dropped()) == (3, 0)


@pytest.fixture
def live(tiny, small_device):
    """A modelled board that waits for an application's requests, and the address."""
    env = make_live("sim", str(small_device), str(tiny.path), listen="127.0.0.1:0")
    env.reset(seed=0)
    yield env
    env.close()


def edge_only(env):
    return np.array([0, 0, 0, len(env.plant.layout.axes[-1].values) - 1])


def test_a_live_board_answers_as_the_unsplit_network(live, tiny):
    images = [np.full(tiny.input_shape, i, np.float32) for i in range(4)]
    answers = []

    def ask():
        with LocalClient(live.plant.addresses[0], tiny.path) as application:
            answers.extend(application.infer(image)[0] for image in images)

    application = threading.Thread(target=ask)
    application.start()
    n_served = 0
    for _ in range(20):
        *_, info = live.step(edge_only(live))
        n_served += len(live.plant.served)
        assert all(served.agrees is None for served in live.plant.served)
        assert info["outcome"]["accuracy"] is None  # nobody measured it
        if n_served == len(images):
            break
    application.join(5.0)
    whole = SplitRuntime(tiny).whole
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_allclose(answer, whole((image,))[0], rtol=1e-4, atol=1e-5)


def test_an_example_on_which_the_network_fails_is_told_once_and_its_end_too(caplog, expected):
    requests = ScenarioRequests([np.zeros(1)], [0], lambda: 0.0, lambda _: None)
    requests.reset(np.zeros(1, np.uint64))
    requests.take(expected, 10.0).answer(InferenceResult((), 0.0, 0.0))
    for _ in range(3):
        requests.take(expected, 10.0).refuse(ort_errors.Fail("CUDA failure 2: out of memory"))
    requests.take(expected, 10.0).answer(InferenceResult((), 0.0, 0.0))
    first, last = (record.getMessage() for record in caplog.records)
    assert "running the network failed: CUDA failure 2: out of memory" in first
    assert "dropped" in first
    assert "works again after 3" in last


@pytest.mark.parametrize("error", [ort_errors.Fail("no kernel"), ModelRunError("no kernel")])
def test_a_network_that_never_runs_ends_it(expected, error):
    requests = ScenarioRequests([np.zeros(1)], [0], lambda: 0.0, lambda _: None)
    requests.reset(np.zeros(1, np.uint64))
    with pytest.raises(ModelRunError, match="no kernel"):
        requests.take(expected, 10.0).refuse(error)


def test_back_to_back_the_next_comes_when_the_last_is_answered(expected):
    clock = FakeClock()
    requests = BackToBackRequests([np.zeros(1), np.ones(1)], [0, 1], clock, clock.sleep)
    requests.reset(np.zeros(1, np.uint64))
    assert requests.announced_hz(expected.arrival_hz) == expected.arrival_hz
    began_s = clock()
    taken = []
    while (example := requests.take(expected, began_s + 0.99)) is not None:
        taken.append(example)
        assert example.arrived_s == clock()
        assert requests.waiting(expected) == 0.0
        clock.sleep(0.04)  # that it takes
    assert len(taken) == 25
    assert [example.label for example in taken[:3]] == [0, 1, 0]
    assert requests.dropped() == 0
    around = requests.around(expected)
    assert around.arrival_hz == pytest.approx([25.0])
    assert requests.announced_hz(expected.arrival_hz) == around.arrival_hz
    requests.reset(np.zeros(1, np.uint64))
    assert requests.take(expected, clock() + 1.0).label == 0


def test_an_example_is_never_overdue(expected):
    requests = ScenarioRequests([np.zeros(1)], [0], lambda: 0.0, lambda _: None)
    requests.reset(np.zeros(1, np.uint64))
    assert requests.take(expected, 10.0).due_s == np.inf


@pytest.mark.parametrize("kind", ["RuntimeException", "EPFail", "EngineError", "DeviceReset"])
def test_a_request_on_which_the_network_fails_is_refused_and_the_board_goes_on(
    live, tiny, monkeypatch, kind
):
    refusals = []

    def ask():
        with LocalClient(live.plant.addresses[0], tiny.path) as application:
            try:
                application.infer(np.zeros(tiny.input_shape))
            except CloudError as error:
                refusals.append(str(error))

    def fail(*_):
        raise getattr(ort_errors, kind)("indices element out of data bounds")

    monkeypatch.setattr(live.plant._pipeline, "infer", fail)
    application = threading.Thread(target=ask)
    application.start()
    n_dropped = 0
    for _ in range(8):
        live.step(edge_only(live))
        n_dropped += live.plant.dropped
    application.join(5.0)
    assert n_dropped == 1
    assert "out of data bounds" in refusals[0]


def test_a_step_ends_however_fast_an_application_asks(live, tiny):
    """The first decision is for the slowest clocks; only an ended step lets them rise."""
    stop = threading.Event()

    def ask():
        image = np.zeros(tiny.input_shape, np.float32)
        with LocalClient(live.plant.addresses[0], tiny.path) as application:
            while not stop.is_set():
                with suppress(CloudError):
                    application.infer(image)

    applications = [threading.Thread(target=ask) for _ in range(MAX_WAITING + 2)]
    for application in applications:
        application.start()
    try:
        for _ in range(6):
            live.step(edge_only(live))
            assert live.plant.last_duration_s < 4 * STEP_S
        assert live.plant.served
        assert live.plant.readings().backlog[0] > 0
    finally:
        stop.set()
        live.close()  # who waits is told
        for application in applications:
            application.join(5.0)
            assert not application.is_alive()


def test_as_many_wait_as_the_simulator_lets(live):
    assert live.plant._requests._service._max_waiting == MAX_WAITING


def test_an_address_in_use_is_named_before_the_board_is_touched(live, tiny, monkeypatch):
    monkeypatch.setattr("envs.live.make.open_board", None)
    with pytest.raises(CloudError, match="choose another address or port"):
        make_live("sim", "tx2", str(tiny.path), listen=live.plant.addresses[0])


def test_whoever_asks_is_told_also_if_the_board_cannot_be_given_back(live, monkeypatch):
    def fail():
        raise HardwareError("the clocks stay as they are")

    give_back = live.plant._board.close
    monkeypatch.setattr(live.plant._board, "close", fail)
    with pytest.raises(HardwareError, match="stay as they are"):
        live.close()
    assert live.plant._requests._service._stopped
    monkeypatch.setattr(live.plant._board, "close", give_back)
