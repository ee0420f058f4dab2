"""Policies over links that change, live and simulated; rows become pages and pictures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from agents.advised.policy import PolicyFeatures
from agents.advised.rule import advised_rule
from agents.deciders.nominal import NominalModel, every_action
from agents.deciders.static import Static
from agents.deployed.run_folder import RunFolder
from agents.errors import AgentError
from agents.policy.saved_rule import SavedRule
from agents.training.run import write_json
from benchmarks.live import __main__ as live
from benchmarks.live import deciders
from benchmarks.live.actions import KEY
from benchmarks.live.comparison import compared, swapped
from benchmarks.live.course import PAYLOAD, Course, courses, recorded_mbps
from benchmarks.live.figures import KnownLink, SeenServer, predicted, world_of
from benchmarks.live.page import policies_page
from benchmarks.live.pictures import actions_figure, policies_figure, readings_figure
from benchmarks.live.policies import COLUMNS as POLICY_COLUMNS
from benchmarks.live.policies import KEY as POLICY_KEY
from benchmarks.live.policies import SHARES, measure, pooled_p95_s, simulate
from benchmarks.live.readings import COLUMNS as READING_COLUMNS
from benchmarks.live.readings import KEY as READING_KEY
from benchmarks.live.readings import reading_rows, readings_table
from benchmarks.live.rows import Rows
from benchmarks.live.this_machine import ThisMachine
from envs.errors import EnvError
from tests.live_rows import POSSIBLE, row, skip_if_busy

TURNS = Course("in turn", (50.0, 50.0, 0.5), 3.5)


class TestCourse:
    def test_its_schedule_names_changes_alone_and_goes_round(self):
        assert TURNS.schedule(6.0) == [(0.0, 50e6), (2.0, 5e5), (3.0, 50e6), (5.0, 5e5)]

    def test_a_later_beginning(self):
        assert TURNS.from_second(4).rates_mbps == (50.0, 0.5, 50.0)

    def test_a_link_that_delivers_nothing_has_a_rate(self):
        assert Course("dead", (0.0,), 3.5).schedule(1.0) == [(0.0, 1e4)]

    def test_a_search_meets_its_changes_and_a_prediction_its_beginning(self, tiny):
        steady = world_of("tx2", tiny, TURNS, 150.0).scenarios[0].signals["link_bps"]
        assert steady.quantiles == pytest.approx([50e6 * PAYLOAD])
        changing = world_of("tx2", tiny, TURNS, 150.0, changing=True)
        series = changing.scenarios[0].signals["link_bps"].series
        assert np.allclose(series, PAYLOAD * 1e6 * np.array(TURNS.rates_mbps * 4))

    def test_a_recording_that_is_not_there_is_named(self, tmp_path, monkeypatch, capsys):
        with pytest.raises(EnvError, match="leave the recorded link out"):
            recorded_mbps(tmp_path / "none.csv")
        other = tmp_path / "other.csv"
        other.write_text("segment,t_s,up_mbps\n3,0,1\n")
        with pytest.raises(EnvError, match="no segment 14"):
            recorded_mbps(other)

    def test_those_of_policies(self):
        made = [make() for name, make in courses().items() if name != "recorded"]
        assert [course.arrivals for course in made] == ["periodic", "poisson", "periodic"]


class TestKnownLink:
    def test_boards_meet_the_rates_of_the_course_at_its_moments(self, tiny):
        world = world_of("tx2", tiny, TURNS, 150.0)
        boards = KnownLink(world, 2, np.array([50e6, 1e5]), 1e11)
        boards.reset(np.arange(2, dtype=np.uint64))
        sizes = [len(axis.values) for axis in world.layout.axes]
        away = np.tile([*(size - 1 for size in sizes[:-1]), 0], (2, 1))
        fast = boards.step(away)
        slow = boards.step(away)
        assert (fast.fell_back < 0.1).all()
        assert (slow.fell_back == 1.0).all()

    def test_a_change_shows_in_the_prediction(self, lite0):
        def of(course):
            world = world_of("tx2", lite0, course, 60.0)
            top = [len(axis.values) - 1 for axis in world.layout.axes[:-1]]
            return predicted(world, course, Static((*top, 0)), 6.0, SeenServer(60.0, 60.0))

        steady, turns = of(Course("steady", (50.0,), 3.5)), of(TURNS)
        assert steady.figures.fell_back < 0.05
        assert 0.2 < turns.figures.fell_back < 0.6
        ratio = turns.readings["link_bps / true rate"]
        assert np.quantile(ratio, 0.99) > 50.0  # what is read is of the moment before


def policy_row(decider, cost, repeat=0, **changes):
    """A run that is as simulated, of a decider that costs so much."""
    figures = {"cost": cost, "in_time": 1.0, "p95_s": 0.1, "latency_s": 0.1, "energy_j": 1.0}
    both = {f"{side}_{n}": str(v) for n, v in figures.items() for side in ("live", "sim")}
    both |= {f"{side}_fell_back": "0" for side in ("live", "sim")}
    kept = {f"{side}_quantiles_ms": " ".join(["100"] * len(SHARES)) for side in ("live", "sim")}
    about = {"requests": "400", "tries": "1", "control_off": "0.01", "gflop_per_s": "70"}
    about |= {"request_s": "0.0003", "byte_s": "1e-8"}
    key = {"link": "steady", "decider": decider, "repeat": str(repeat)}
    return key | about | both | kept | {name: str(value) for name, value in changes.items()}


class TestPolicies:
    def test_p95_is_that_of_the_requests_of_all_repeats(self):
        slow = " ".join(["200"] * len(SHARES))
        rows = [policy_row("ppo", 1.0, repeat, requests="900") for repeat in range(10)]
        assert pooled_p95_s(rows, "live") == pytest.approx(0.1)
        rows.append(policy_row("ppo", 1.0, 10, requests="900", live_quantiles_ms=slow))
        assert pooled_p95_s(rows, "live") == pytest.approx(0.2)  # 9 % of them, not a mean of 109
        assert pooled_p95_s(rows, "sim") == pytest.approx(0.1)

    def test_an_order_counts_where_simulated_costs_are_apart(self):
        rows = [policy_row("a", 1.0), policy_row("b", 1.02), policy_row("c", 1.2, live_cost=0.9)]
        found = {key[0]: each for key, each in compared(rows, ["decider"]).items()}
        n, wrong = swapped(found)
        assert n == 2
        assert [words.split(" live")[0] for words in wrong] == ["c before a", "c before b"]

    def test_the_page_names_what_is_missed_and_swapped(self):
        rows = [policy_row("advised", 1.0), policy_row("max-edge", 1.2, live_cost=0.9)]
        page = policies_page(rows, [])
        assert "1 of 2 cells" in page
        assert "0 of 1 pairs" in page
        assert "| cost -25 % |" in page
        assert "max-edge before advised live" in page

    def test_a_machine_that_was_busy_is_named_where_a_bar_is_missed(self):
        rows = [policy_row("advised", 1.0, control_off=0.2)]
        assert "busy" not in policies_page(rows, [])
        rows = [policy_row("advised", 1.0, live_cost=1.5, control_off=0.2)]
        assert "cost +50 %, the machine was busy, the control off by 20 %" in policies_page(
            rows, []
        )

    def test_the_readings_are_set_side_by_side(self):
        live = {"rtt_s": np.full(9, 0.005), "busy": np.full(9, 0.5)}
        told = {"rtt_s": np.full(99, 0.0035), "busy": np.full(99, 0.49)}
        key = {"link": "steady", "decider": "advised", "repeat": 0}
        rows = [
            {name: str(value) for name, value in (key | row).items()}
            for row in reading_rows(live, told)
        ]
        table = readings_table(rows, "steady")
        assert "| **0.005** (0.005 to 0.005) | **0.0035** (0.0035 to 0.0035) |" in table
        assert "| 0.5 (0.5 to 0.5) | 0.49 (0.49 to 0.49) |" in table

    def test_pictures_hold_every_cell(self):
        rows = [policy_row("advised", 1.0), policy_row("max-edge", 1.2)]
        drawn = policies_figure(compared(rows, ["link", "decider"]))
        assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == [
            "advised",
            "max-edge",
        ]
        key = {"link": "steady", "decider": "advised", "repeat": "0", "reading": "rtt_s"}
        quantiles = {n: "1" for n in READING_COLUMNS if n not in READING_KEY}
        drawn = readings_figure([key | quantiles | {"live_q95": "2"}], "advised")
        assert drawn.axes[0].get_title() == "round trip, ms"
        drawn = actions_figure(compared([row(), row(rate_mbps="2")], KEY[:-1]))
        assert len(drawn.axes) == 4


class TestDeciders:
    def test_a_rule_is_fitted_once_and_kept_as_a_run_folder(self, tiny, tmp_path, monkeypatch):
        run = deciders.fitted("max-cloud", "tx2", tiny, TURNS, 70.0, tmp_path)
        policy = RunFolder.load(run).policy
        assert policy.algorithm == "max-cloud"
        monkeypatch.setattr(deciders.DECIDERS, "fit", None)
        assert deciders.fitted("max-cloud", "tx2", tiny, TURNS, 70.0, tmp_path) == run
        found = simulate(run, TURNS, tiny, 3.0, SeenServer(70.0, 70.0), ThisMachine(70.0))
        assert found.figures.requests > 10
        assert len(found.latencies_s) == 1000

    def test_a_run_of_advised_is_held_to_a_promise(self, small_world, tmp_path):
        actions = every_action(small_world.layout)
        n_inputs = PolicyFeatures(NominalModel.of(small_world), actions).n_inputs
        layers = [
            (np.zeros((len(actions), n_inputs), np.float32), np.zeros(len(actions), np.float32))
        ]
        run = tmp_path / "live-advised"
        SavedRule("advised", advised_rule(actions, layers), small_world.layout).save(run / "policy")
        write_json(run / "config.json", {"device": "tx2", "model": "tiny-cnn"})
        policy = RunFolder.load(deciders.promising(run, tmp_path)).policy
        assert policy.rule.parameters["promise"] == deciders.PROMISE

    def test_a_learner_is_trained_if_it_is_not_there_and_goes_on_if_it_was_cut(
        self, tiny, tmp_path, monkeypatch
    ):
        told, commands = [], []

        def train(command, **_):
            commands.append(command[2:])
            return SimpleNamespace(returncode=len(commands) % 2)

        monkeypatch.setattr(deciders.subprocess, "run", train)
        arguments = ("ppo", "tx2", tiny, tmp_path, told.append)
        with pytest.raises(AgentError, match="the same command goes on"):
            deciders.learned(*arguments)
        assert "up to 20 minutes" in told[0]
        run = tmp_path / "live-ppo"
        run.mkdir()
        (run / "config.json").touch()
        assert deciders.learned(*arguments) == run
        assert commands[0][:2] == ["--algo", "ppo"]
        assert commands[1] == ["--resume", str(run)]
        (run / "policy").mkdir()
        (run / "policy" / "policy.json").touch()
        assert deciders.learned(*arguments) == run
        assert len(commands) == 2


class TestCommand:
    @pytest.fixture(autouse=True)
    def here(self, tiny, monkeypatch):
        monkeypatch.setattr(live, "check_possible", lambda: None)
        monkeypatch.setattr(live, "open_or_prepare", lambda _: tiny)

    def test_a_table_that_is_full_becomes_a_page_with_pictures(self, tmp_path, capsys):
        rows = Rows(tmp_path / "live-policies.csv", POLICY_COLUMNS, POLICY_KEY)
        rows.add(policy_row("max-edge", 1.0, link="steady 50 Mbit/s"))
        options = ["--links", "steady", "--deciders", "max-edge", "--repeats", "1"]
        assert live.main(["policies", *options, "--out", str(tmp_path)]) == 0
        assert "0 runs" in capsys.readouterr().err
        assert "1 of 1 cells" in (tmp_path / "live-policies.md").read_text()
        assert (tmp_path / "live-policies.png").stat().st_size > 10_000

    def test_a_recording_that_is_missing_ends_it_in_a_sentence(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        options = ["--links", "recorded", "--out", str(tmp_path)]
        assert live.main(["policies", *options]) == 2
        assert "starlink_autobahn_1s.csv is not there" in capsys.readouterr().err


@pytest.mark.skipif(not POSSIBLE, reason="live runs need root and /dev/net/tun")
def test_a_policy_meets_the_same_link_live_and_simulated(lite0, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.live.actions.MAX_TRIES", 1)
    monkeypatch.setattr("benchmarks.live.actions.CONTROL_S", 1.0)
    monkeypatch.setattr("benchmarks.live.this_machine._MEASURED_S", 2.0)
    rows = Rows(tmp_path / "live.csv", POLICY_COLUMNS, POLICY_KEY)
    seen = Rows(tmp_path / "seen.csv", READING_COLUMNS, READING_KEY)
    course = Course("in turn", (50.0,) * 3 + (0.5,) * 3, 3.5)
    arguments = (rows, seen, [course], ["max-cloud"], lite0, tmp_path)
    for _ in range(2):  # the second time there is nothing left to do
        measure(*arguments, repeats=1, seconds=6.0, n_jobs=1, report=lambda _: None)
    (only,) = rows.rows
    # Half of the time the link is too slow for the picture.
    assert float(only["sim_fell_back"]) == pytest.approx(0.6, abs=0.15)
    by_name = {row["reading"]: row for row in seen.rows}
    assert float(by_name["link_bps"]["sim_q05"]) < 1e6
    low_bps, high_bps = (float(by_name["link_bps"][f"live_{q}"]) for q in ("q05", "q95"))
    if not (0.3 < float(only["live_fell_back"]) < 0.9 and low_bps < 2e6 and high_bps > 1e7):
        skip_if_busy(rows.rows)
        pytest.fail(f"live is not as simulated: {only}")
