"""What a deployment tells, on a plant that says what it is told to say."""

from __future__ import annotations

from itertools import cycle
from types import SimpleNamespace

import pytest

from agents.deployed.service_totals import ServiceTotals
from agents.deployed.summary import Summary, live_line
from envs.live.supervisor import StepPower
from partition.transport.link_estimator import LinkEstimate
from tests.hw.fake.clock import FakeClock

STEP_S = 0.25
SERVED = SimpleNamespace(
    latency_s=0.02, met_deadline=True, agrees=None, result=SimpleNamespace(failure=None)
)


class Plant:
    """Draws 4 W, give or take 0.2 W, and answers or drops what it is told to."""

    is_modelled = dry_run = False
    clocks_in_force, clocks_hz, n_failures, too_slow_share = (), {}, {}, 0.0
    link = LinkEstimate(5e6, 0.004, age_s=0.0, server_load=0.5)
    energy_uncertainty_j, server_j = 0.025, 0.0
    accuracy = None
    layout = SimpleNamespace(board="board", model="network")
    placement = "cpu"
    evidence = {}  # noqa: RUF012 - never changed

    def run(self, answered, dropped=0, *, is_measured=True):
        self.last_power = StepPower(4.0, STEP_S, is_measured, 0.2 if is_measured else 4.0)
        self.served, self.dropped = [SERVED] * answered, dropped
        terms = {"energy": 0.25, "deadline": 0.5 * dropped}
        outcome = {"power_w": 4.0, "energy_j": 0.5}
        return {"outcome": outcome, "reward_terms": terms, "route": 0}

    def route_name(self, index):
        return "cut"

    def accuracy_of(self, served):
        return self.accuracy


@pytest.fixture
def told():
    """Run steps one after another; returns the summary."""

    def tell(*steps, late_s=0.0, accuracies=(None,)):
        plant, clock = Plant(), FakeClock()
        totals = ServiceTotals(plant, clock)
        for (answered, dropped, is_measured), plant.accuracy in zip(steps, cycle(accuracies)):
            info = plant.run(answered, dropped, is_measured=is_measured)
            clock.sleep(STEP_S + late_s)
            totals.add(info, 0.0)
        return Summary("advised", plant, totals)

    return tell


def test_energy_is_shared_by_the_requests_that_were_answered(told):
    document = told((2, 0, True), (0, 0, True), (2, 6, True)).document()  # a pause, an overload
    assert document["runs_on"] == "cpu"
    assert document["energy_j"] == pytest.approx(3 * STEP_S * 4.0)
    assert document["energy_per_request_j"] == pytest.approx(3.0 / 4)


def test_the_servers_energy_counts_where_the_plant_has_some(told, monkeypatch):
    monkeypatch.setattr(Plant, "server_j", 70.0)
    document = told((2, 0, True), (1, 0, True)).document()
    assert document["energy_j"] == pytest.approx(2 * (STEP_S * 4.0 + 70.0))


def test_the_cost_is_the_mean_of_the_steps(told):
    summary = told((2, 0, True), (0, 0, True), (2, 6, True))
    assert summary.document()["cost_per_step"] == pytest.approx(0.25 + 0.5 * 6 / 3)
    assert "; cost 1.250 a step" in summary.text()


def test_what_each_figure_of_a_board_is_stands_at_the_end(told, monkeypatch):
    summary = told((2, 0, True))
    assert "evidence" not in summary.document()
    monkeypatch.setattr(Plant, "evidence", {"latency": "measured", "energy": "fitted"})
    assert summary.document()["evidence"] == {"latency": "measured", "energy": "fitted"}
    assert summary.text().splitlines()[-1] == "latency: measured; energy: fitted"


def test_the_errors_of_all_windows_are_told(told):
    summary = told((2, 0, True), (2, 0, True))
    document = summary.document()
    assert document["energy_uncertainty_j"] == pytest.approx(2 * STEP_S * 0.2)
    assert document["energy_per_request_uncertainty_j"] == pytest.approx(0.1 / 4)
    assert "energy 0.500 +- 0.025 J per request;" in summary.text()


@pytest.mark.parametrize(
    ("accuracies", "mean", "words"),
    [
        ((0.9, 1.0), 0.925, "accuracy of the routes as measured: 92.5 %;"),
        ((None,), None, "accuracy unknown (python -m partition.profile measures it);"),
    ],
)
def test_accuracy_is_that_of_the_routes_or_unknown(told, accuracies, mean, words):
    summary = told((3, 0, True), (1, 0, True), accuracies=accuracies)
    assert summary.document()["route_accuracy"] == pytest.approx(mean)
    assert words in summary.text()


@pytest.mark.parametrize(
    ("steps", "late_s", "unseen_s"),
    [([(2, 0, True), (2, 0, False)], 0.0, STEP_S), ([(2, 0, True)] * 2, 0.05, 0.05)],
    ids=["not measured", "between two windows"],
)
def test_nothing_is_known_of_what_was_drawn_unseen(told, steps, late_s, unseen_s):
    document = told(*steps, late_s=late_s).document()
    seen_s = sum(STEP_S for *_, is_measured in steps if is_measured)
    assert document["unmeasured_s"] == pytest.approx(unseen_s)
    assert document["energy_uncertainty_j"] == pytest.approx(0.2 * seen_s + 4.0 * unseen_s)


@pytest.mark.parametrize(("share", "is_told"), [(0.01, False), (0.4, True)])
def test_a_machine_too_slow_for_the_modelled_board_is_told(told, monkeypatch, share, is_told):
    monkeypatch.setattr(Plant, "too_slow_share", share)
    summary = told((2, 0, True))
    assert summary.document()["too_slow_share"] == share
    assert ("too slow to play" in summary.text()) == is_told
    assert not is_told or "in 40% of its work" in summary.text()


def test_without_an_answer_there_is_no_energy_per_request(told):
    document = told((0, 3, True)).document()
    assert document["energy_per_request_j"] is None
    assert document["energy_per_request_uncertainty_j"] is None


@pytest.mark.parametrize(
    ("is_measured", "expected"),
    [
        (True, "|  4.00 W, 0.500 +- 0.025 J per request |"),
        (False, "|  4.00 W (not measured), 0.500 J per request |"),
    ],
)
def test_the_live_line_tells_the_error_of_what_was_measured(is_measured, expected):
    plant = Plant()
    info = plant.run(2, is_measured=is_measured)
    info["outcome"] |= {"latency_s": 0.02, "deadline_hit_rate": 1.0, "fell_back": 0.0}
    assert expected in live_line(plant, info)
