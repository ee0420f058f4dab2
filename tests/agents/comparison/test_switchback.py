"""Two arms on a modelled board whose time passes only when it is waited for."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from agents.comparison.picture import draw
from agents.comparison.report import ComparisonReport
from agents.comparison.schedule import N_BLOCKS, BlockLength, rounds
from agents.comparison.step_log import StepLog
from agents.comparison.stopping import StoppingRule
from agents.comparison.switchback import End, Switchback, planned
from agents.errors import AgentError, RunFolderError
from tests.agents.comparison.conftest import LENGTH, fixed

LOW, TOP = (0, 0, 0, -1), (-1, -1, -1, -1)
SEED = 7


@pytest.fixture
def compare(live, tmp_path):
    """Run a comparison; returns what it came to, its report and the rows of its log."""

    def run(arms, n_rounds=4, is_stopped=lambda: False, tell=lambda _: None):
        path = tmp_path / "steps.csv"
        rule = StoppingRule(n_rounds)
        with StepLog(path, live.plant.layout.domains) as log:
            turns = Switchback(live, arms, rule, log, length=LENGTH, seed=SEED)
            record = turns.run(is_stopped, tell)
        report = ComparisonReport(
            arms, live.plant, rule, LENGTH, SEED, "steady-wifi", tmp_path, record
        )
        with path.open(encoding="utf-8") as file:
            return record, report, list(csv.DictReader(file))

    return run


def test_arms_take_turns_in_random_order_on_the_same_requests(compare, live):
    record, _, rows = compare((fixed("policy", TOP), fixed("rival", TOP)), n_rounds=3)
    order = [turn.arm for _, turns in zip(range(3), rounds(SEED), strict=False) for turn in turns]
    assert [block.arm for block in record.blocks] == order
    assert len(rows) == 3 * N_BLOCKS * LENGTH.n_steps
    assert sum(row["is_counted"] == "True" for row in rows) == 3 * N_BLOCKS * LENGTH.counted
    answered = [block.totals.answered for block in record.blocks]
    assert answered[::2] == answered[1::2]
    assert len(set(answered)) > 1
    assert record.totals(0).answered == sum(answered) / 2
    for block in record.blocks:
        assert block.totals.duration_s == pytest.approx(LENGTH.counted * 0.25)
    assert live.plant.layout.domains == ("cpu", "gpu", "emc")
    assert {row["gpu_hz"] for row in rows} == {str(live.plant.clocks_hz["gpu"])}


def test_orders_differ_between_rounds_and_each_arm_is_as_often_first():
    firsts = [turns[0].arm for _, turns in zip(range(200), rounds(0), strict=False)]
    assert 70 < sum(firsts) < 130
    for _, turns in zip(range(20), rounds(1), strict=False):
        arms = [turn.arm for turn in turns]
        assert arms in ([0, 1, 1, 0], [1, 0, 0, 1])
        assert turns[0].seeds == turns[1].seeds != turns[2].seeds == turns[3].seeds


def test_a_governors_blocks_have_the_clocks_given_back_and_no_others(compare, live):
    arms = (fixed("policy", LOW), fixed("governor", TOP, leaves_clocks=True))
    record, _, rows = compare(arms, n_rounds=3)
    board = live.plant._board
    assert board.steps == [row["arm"] == "governor" for row in rows]
    assert not board.clocks_are_given_back
    lowest = {str(domain.available_hz[0]) for domain in board.domains.values()}
    own = [row for row in rows if row["arm"] == "policy"]
    assert {row[f"{name}_hz"] for row in own[1:] for name in board.domains} == lowest
    asked = str(board.domains["cpu"].available_hz[-1])
    assert asked not in {row["cpu_hz"] for row in rows if row["arm"] == "governor"}
    assert record.totals(0).energy_per_request_j < record.totals(1).energy_per_request_j


def test_it_stops_once_the_answer_is_clear_and_says_what_is_modelled(compare):
    lines = []
    record, report, rows = compare(
        (fixed("policy", LOW), fixed("rival", TOP)), n_rounds=20, tell=lambda _: lines.append(1)
    )
    assert record.end is End.CLEAR
    assert len(record.rounds) == len(lines) < 20
    assert len(rows) == len(lines) * N_BLOCKS * LENGTH.n_steps
    assert report.is_shown
    assert report.sentence.startswith("the policy saves ")
    assert "of energy per request against the rival, modelled power" in report.sentence
    for line in [*report.text().splitlines(), report.line()]:
        if "saves" in line or "saved" in line or "energy" in line:
            assert "modelled" in line
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    saving = document["energy_saving"]
    used = [document["arms"][name]["energy_per_request_j"] for name in ("policy", "rival")]
    assert saving["value"] == pytest.approx(1.0 - used[0] / used[1])
    assert 0.0 < saving["low"] < saving["value"] < saving["high"]
    assert document["latency_difference_s"]["low"] > 0.0
    assert document["board_is_modelled"] is True
    assert document["ended_by"] == "clear"


def test_the_other_way_round_it_takes_more(compare):
    _, report, _ = compare((fixed("policy", TOP), fixed("rival", LOW)), n_rounds=20)
    assert report.is_shown
    assert report.sentence.startswith("the policy takes ")
    assert "more energy per request than the rival, modelled power; answers" in report.sentence
    assert report.sentence.endswith(" ms sooner")


def test_equal_arms_are_level(compare):
    record, report, _ = compare((fixed("policy", TOP), fixed("rival", TOP)), n_rounds=20)
    assert record.end is End.CLEAR
    assert not report.is_shown
    assert report.sentence.endswith("modelled power; the two are level")


def test_a_block_with_an_outage_is_run_again_and_counted(compare, live):
    board = live.plant._board
    set_ambient = board.set_ambient

    def fail_once(ambient_c):
        set_ambient(ambient_c)
        board.failing = int(len(board.steps) == LENGTH.n_steps + LENGTH.washout + 2)

    board.set_ambient = fail_once
    record, report, rows = compare((fixed("policy", LOW), fixed("rival", TOP)), n_rounds=3)
    assert record.n_thrown_away == 1
    assert len(record.blocks) == len(record.rounds) * N_BLOCKS
    assert len(rows) == (len(record.blocks) + 1) * LENGTH.n_steps
    assert [row["power_is_measured"] for row in rows].count("False") == 1
    blocks = [(row["round"], row["block"]) for row in rows]
    assert blocks.count(("1", "2")) == 2 * LENGTH.n_steps
    assert [row["attempt"] for row in rows].count("2") == LENGTH.n_steps
    assert "; blocks thrown away for an outage: 1" in report.text()
    assert report.document()["failures"]["power"] == 1


def test_a_failure_within_a_washout_costs_nothing(compare, live):
    live.plant._board.failing = 1
    record, _, _ = compare((fixed("policy", LOW), fixed("rival", TOP)), n_rounds=3)
    assert record.n_thrown_away == 0


def test_a_board_that_measures_nothing_ends_in_time_with_nothing_known(compare, live):
    live.plant._board.failing = 10**9
    record, report, _ = compare((fixed("policy", LOW), fixed("rival", TOP)), n_rounds=3)
    assert record.end is End.TIME
    assert 12 <= record.n_thrown_away <= 14  # of three rounds and a half
    assert record.duration_s == pytest.approx(3.5 * LENGTH.round_s(0.25), abs=0.5)
    assert report.sentence.startswith("nothing is known of the policy against the rival")
    json.dumps(report.document(), allow_nan=False)
    assert "nothing is known" in report.text()


def test_it_can_be_stopped_with_what_is_known_by_then(compare):
    steps = []

    def is_stopped():
        steps.append(1)
        return len(steps) > 2.6 * N_BLOCKS * LENGTH.n_steps

    arms = (fixed("policy", LOW), fixed("rival", TOP))
    record, report, _ = compare(arms, n_rounds=20, is_stopped=is_stopped)
    assert record.end is End.STOPPED
    assert len(record.rounds) == 2
    assert not report.is_shown
    assert "not known yet" in report.sentence
    assert "too few rounds" in report.sentence
    json.dumps(report.document(), allow_nan=False)


def test_too_little_time_is_refused():
    length = BlockLength()
    assert planned(20.0, length, 0.25).n_rounds == 24
    with pytest.raises(AgentError, match=r"give at least --minutes 2\.5$"):
        planned(2.0, length, 0.25)


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(RunFolderError, match=r"gone/steps.csv cannot be written.*--out"):
        StepLog(tmp_path / "gone" / "steps.csv", ())


def test_a_picture_shows_both_arms_over_time(compare, tmp_path):
    _, report, _ = compare((fixed("policy", LOW), fixed("rival", TOP)), n_rounds=4)
    draw(report, tmp_path / "result.png")
    assert (tmp_path / "result.png").stat().st_size > 10_000


def test_nothing_is_learnt_of_the_boards_model_while_its_governors_have_the_clocks(live):
    plant = live.plant
    live.reset(seed=0)
    with plant.clocks_given_back():
        for _ in range(4):
            live.step(np.zeros(4, np.int64))
    assert plant.readings().latency_factor[0] == plant.readings().power_factor[0] == 1.0
    assert plant.clocks_in_force == []


def test_a_saving_that_is_paid_with_late_requests_says_so(compare, live):
    answer = live.plant._answer

    def late_when_slow(request, route, target_s):
        served = answer(request, route, target_s)
        is_slow = live.plant.clocks_hz["cpu"] < 4e8
        return replace(served, met_deadline=served.met_deadline and not is_slow)

    live.plant._answer = late_when_slow
    _, report, _ = compare((fixed("policy", LOW), fixed("rival", TOP)), n_rounds=20)
    later = r"; answers come \d+\.\d \(.* to .*\) ms later"
    late = r"; requests are in time less often, by \d+\.\d \(.* to .*\) percentage points"
    assert re.search(f"modelled power{later}{late}$", report.sentence)


def test_late_steps_make_no_block_longer(compare, live, clock):
    """Whoever is slow answers no more requests for it."""
    step = live.plant.step

    def slow(actions):
        outcome = step(actions)
        if actions[0, 0] == 0:
            clock.sleep(0.15)
        return outcome

    live.plant.step = slow
    record, _, rows = compare((fixed("policy", LOW), fixed("rival", TOP)), n_rounds=3)
    assert len(rows) < len(record.blocks) * LENGTH.n_steps
    for block in record.blocks:
        assert block.totals.duration_s == pytest.approx(LENGTH.counted * 0.25, abs=0.3)
    answered = [record.totals(k).answered for k in (0, 1)]
    assert answered[0] == pytest.approx(answered[1], rel=0.15)
