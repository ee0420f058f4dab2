from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from agents.deciders.nominal import Actions, NominalModel, every_action
from agents.deciders.nominal_outcome import SafetyMargin, expect
from envs.errors import ScenarioError
from envs.scenarios.episodes import CALL_S, MIN_LINK_BPS, TAIL_SHARE, EpisodeConditions
from envs.scenarios.operating_conditions import OperatingConditions
from envs.scenarios.scenario import SIGNALS, Scenario, scenario_names
from envs.scenarios.signals import Recording, Signal
from envs.sim.build import build_sim_config, load_scenarios
from envs.sim.effects import EFFECTS
from hw.device.latency import HostScaling

SEEDS = np.arange(4, dtype=np.uint64)
WEIBULL = "{ shape = 1.0, low_ms = 50.0, scale_ms = 100.0 }"
BURSTY = {
    "arrivals.kind": '"bursty"',
    "arrivals.burst_factor": "3.0",
    "arrivals.bursts": "{ share = 0.25, mean_s = 2.0 }",
}
NAMES = [f.name for f in fields(OperatingConditions) if f.name not in ("build", "believed_link")]


@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_load_and_draw_values_within_their_tables(name):
    scenario = Scenario.load(name)
    episodes = EpisodeConditions([scenario], SEEDS, 40, 0.25)
    assert scenario.description.count(".") == 1 + scenario.description.count(". ")
    most = {"arrival_hz": scenario.burst.factor if scenario.burst else 1.0}
    if scenario.targets:
        most["latency_target_s"] = np.inf
    for row in range(41):
        now = episodes.row(row)
        for signal in set(scenario.signals) - {"battery_level"}:
            low, high = (scenario.signals[signal].quantiles[end] for end in (0, -1))
            floor = MIN_LINK_BPS if signal == "link_bps" else -np.inf
            values = getattr(now, signal) - (CALL_S if signal == "rtt_s" else 0.0)
            assert (values >= low - 1e-9).all()
            assert (values <= max(high, floor) * most.get(signal, 1.0) * (1 + 1e-12)).all()


BACK_TO_BACK = {"arrivals.kind": '"back-to-back"', "arrivals.rate_hz": None}


class TestBackToBack:
    def test_boards_answer_one_after_the_other(self, fleet):
        boards = fleet({**BACK_TO_BACK, "requests.latency_target_ms": "9000.0"}, n=3)
        assert boards.world.is_back_to_back
        top = np.tile([len(axis.values) - 1 for axis in boards.layout.axes], (3, 1))
        slow = np.zeros_like(top) + top * (np.arange(top.shape[1]) == top.shape[1] - 1)
        for action in (top, slow):
            for _ in range(3):
                outcome = boards.step(action)
            readings = boards.readings()
            assert outcome.requests == pytest.approx(0.25 * readings.arrival_hz)
            assert outcome.energy_j == pytest.approx(outcome.power_w / readings.arrival_hz)
            assert (readings.backlog == 0.0).all()
            assert (readings.busy > 0.95).all()  # but for hiccups, everything is computed here
            foreseen = boards.outcomes(action[:1], slice(0, 3)).energy_j[:, 0]
            assert foreseen == pytest.approx(outcome.energy_j, rel=0.1)

    def test_what_is_expected_is_what_comes(self, fleet):
        boards = fleet({**BACK_TO_BACK, "requests.latency_target_ms": "9000.0"})
        known = NominalModel.of(boards.world)
        indices = every_action(boards.layout)[::7]
        held = np.array([[len(axis.values) - 1 for axis in boards.layout.axes]])
        expected = expect(
            known, Actions(known, indices), boards.readings(), held, SafetyMargin()
        ).energy_j
        true = boards.outcomes(indices, slice(0, 1), settled=True).energy_j
        np.testing.assert_allclose(np.broadcast_to(expected, true.shape), true, rtol=0.05)

    def test_it_does_not_go_with_a_rate(self, scenario_file):
        with pytest.raises(ScenarioError, match="take them apart"):
            build_sim_config("tx2", scenarios=[str(scenario_file(BACK_TO_BACK)), "steady-wifi"])


COUNTED = {"server.j_per_request": "70.0"}


class TestPictureFiles:
    def test_the_input_is_as_long_as_the_file(self, tiny, scenario_file):
        plain = build_sim_config("pi4", tiny, [str(scenario_file())])
        few = int(plain.costs.wire_bytes[0] // 4)
        files = build_sim_config(
            "pi4", tiny, [str(scenario_file({"requests.picture_bytes": str(few)}))]
        )
        assert files.costs.wire_bytes[0] == NominalModel.of(files).costs.wire_bytes[0] == few
        np.testing.assert_array_equal(files.costs.wire_bytes[1:], plain.costs.wire_bytes[1:])
        assert files.layout == plain.layout  # so that one policy serves both
        more = build_sim_config(
            "pi4", tiny, [str(scenario_file({"requests.picture_bytes": "1000000"}))]
        )
        np.testing.assert_array_equal(more.costs.wire_bytes, plain.costs.wire_bytes)

    def test_the_board_does_less_for_it_and_nothing_is_lost(self, device, costs):
        host = HostScaling(cpu_cycles_per_request=1e5, cpu_cycles_per_byte=10.0)
        board = replace(device, host=host)
        sent = float(costs.wire_bytes[0])
        files = costs.with_files(board, round(sent / 2))
        spared = np.asarray(costs.head.cpu_cycles)[0] - files.head.cpu_cycles[0]
        assert spared == pytest.approx(10.0 * sent / 2)
        assert files.accuracy[0] == costs.fallback_accuracy[0]
        assert costs.with_files(board, 0) is costs

    def test_all_scenarios_have_the_same(self, scenario_file):
        path = scenario_file({"requests.picture_bytes": "20000"})
        with pytest.raises(ScenarioError, match="pictures are other files"):
            build_sim_config("tx2", scenarios=[str(path), "steady-wifi"])


class TestServersEnergy:
    def test_each_answer_of_the_server_costs_it(self, fleet):
        plain, counted = fleet(), fleet(COUNTED)
        every = np.array([[len(axis.values) - 1 for axis in plain.layout.axes]] * 2)
        every[0, -1] = 0
        known = NominalModel.of(counted.world)
        actions = Actions(known, every)
        expected = expect(known, actions, counted.readings(), every[1:], SafetyMargin()).energy_j
        before, after = (boards.outcomes(every, slice(0, 1)) for boards in (plain, counted))
        away = 1.0 - before.fell_back[0, 0]
        assert away > 0.9
        assert after.energy_j[0] - before.energy_j[0] == pytest.approx([70.0 * away, 0.0], rel=1e-5)
        assert expected[0, 0] - expected[0, 1] == pytest.approx(70.0, rel=0.1)
        assert counted.step(every[:1]).power_w == plain.step(every[:1]).power_w

    def test_operations_count_too(self, fleet):
        boards = fleet({**COUNTED, "server.j_per_gflop": "10.0"})
        every = np.array([[len(axis.values) - 1 for axis in boards.layout.axes]] * 2)
        every[:, -1] = (0, 1)
        input_j, cut_j = boards.outcomes(every, slice(0, 1)).server_j[0]
        gflop = boards.world.costs.tail_flops[:2] / 1e9
        assert input_j / cut_j == pytest.approx(
            (70.0 + 10.0 * gflop[0]) / (70.0 + 10.0 * gflop[1]), rel=1e-3
        )
        known = NominalModel.of(boards.world)
        assert known.server_j[:2] == pytest.approx(70.0 + 10.0 * gflop)

    def test_a_step_that_leaves_the_cloud_pays_for_what_was_still_sent(self, fleet):
        slow = {"board.decision_ms": "25.0"}  # a tenth of the step
        plain, counted = fleet(slow), fleet({**COUNTED, **slow})
        edge = np.array([[len(axis.values) - 1 for axis in plain.layout.axes]])
        cloud = edge.copy()
        cloud[0, -1] = 0
        for boards in (plain, counted):
            boards.step(cloud)
            boards.step(cloud)
        foreseen = counted.outcomes(edge, slice(0, 1)).server_j[0, 0]
        every = counted.every_outcome(slice(0, 1)).server_j
        assert every.reshape(-1)[-1] == pytest.approx(7.0, rel=0.1)
        more_j = (counted.step(edge).energy_j - plain.step(edge).energy_j)[0]
        assert more_j == pytest.approx(7.0, rel=0.1) == foreseen

    def test_it_is_the_same_in_all_scenarios(self, scenario_file):
        with pytest.raises(ScenarioError, match="take them apart"):
            build_sim_config("tx2", scenarios=[str(scenario_file(COUNTED)), "steady-wifi"])


def test_all_stands_for_every_shipped_scenario():
    assert [s.name for s in load_scenarios(["all"])] == scenario_names()


def test_values_arrive_in_si_units(constant):
    changes = {"link.radio_w_per_mbps": "0.1", "server.gflop_per_s": "2.0"}
    now = EpisodeConditions([constant(changes)], SEEDS, 8, 0.25).row(3)
    seen = {name: getattr(now, name) for name in NAMES}
    noise = seen.pop("estimate_draw")
    assert all(0.0 <= draw < 1.0 for draw in seen.pop("hiccup_draw"))
    assert set(seen.pop("tail_share").tolist()) <= set(TAIL_SHARE)
    assert {name: set(values.tolist()) for name, values in seen.items()} == {
        "link_bps": {50e6},
        "rtt_s": {0.004},
        "server_load": {0.0},
        "arrival_hz": {10.0},
        "ambient_c": {25.0},
        "latency_target_s": {0.1},
        "slowdown": {1.0},
        "eta": {0.5},
        "radio_w": {1.0},
        "radio_w_per_bps": {1e-7},
        "server_flops_per_s": {2e9},
        "usual_server_flops_per_s": {2e9},
        "arrival_scv": {0.0},
        "hidden_load": {0.0},
        "background_load": {0.0},
        "resistance_scale": {1.0},
        "decision_s": {0.0},
        "temperature_bias_c": {0.0},
        "link_blind": {0.0},
        "power_stuck": {0.0},
    }
    assert len(set(noise.tolist())) == 4


def test_a_dead_link_keeps_transfer_times_finite(constant):
    now = EpisodeConditions([constant({"link.rate_mbps": "0.0"})], SEEDS, 8, 0.25).row(0)
    assert (now.link_bps == MIN_LINK_BPS).all()


def test_an_episode_depends_on_its_own_seed_only():
    scenarios = load_scenarios(["all"])
    seeds = np.array([11, 12, 13], dtype=np.uint64)
    together = EpisodeConditions(scenarios, seeds, 24, 0.25)
    alone = EpisodeConditions(scenarios, seeds[1:2], 24, 0.25)
    for row in (0, 1, 24):
        for name in NAMES:
            values = getattr(together.row(row), name)
            assert values[1] == getattr(alone.row(row), name)[0]
    assert together.row(5).link_bps[0] != together.row(5).link_bps[2]


def test_every_scenario_of_a_list_is_picked(constant):
    scenarios = [constant({"eta": eta}) for eta in ("0.1", "0.2", "0.3")]
    picked = EpisodeConditions(scenarios, np.arange(60, dtype=np.uint64), 4, 0.25).row(0).eta
    values, counts = np.unique(picked, return_counts=True)
    assert values.tolist() == [0.1, 0.2, 0.3]
    assert counts.min() > 8


def test_a_grid_row_broadcasts_over_all_actions(constant):
    now = EpisodeConditions([constant()], SEEDS, 4, 0.25).row(0).for_actions(slice(1, 3), 4)
    assert {getattr(now, name).shape for name in NAMES} == {(2, 1, 1, 1, 1)}


def test_a_list_of_quantiles_and_a_table_of_them_are_signals(constant):
    scenario = constant(
        {
            "ambient.temperature_c": "[10.0, 30]",
            "link.rtt_ms": "{ quantiles = [2.0, 4.0], correlation_time_s = 3.0 }",
        }
    )
    assert scenario.signals["ambient_c"] == Signal(quantiles=(10.0, 30.0))
    assert scenario.signals["rtt_s"] == Signal(quantiles=(0.002, 0.004), correlation_time_s=3.0)


@pytest.mark.parametrize(
    "text",
    [
        "second,mbps\n" + "\n".join(f"{i},{i + 0.5}" for i in range(12)),
        "\n".join(str(1000 * i + 10 * k) for i in range(13) for k in range(i + 1)),
    ],
    ids=["csv", "mahimahi"],
)
def test_a_trace_beside_the_scenario_is_replayed(constant, tmp_path, text):
    (tmp_path / "uplink.txt").write_text(text)
    changes = {"link.rate_mbps": None, "link.trace": '"uplink.txt"'}
    recording = constant(changes).signals["link_bps"]
    assert isinstance(recording, Recording)
    expected = [i * 1e6 + 5e5 for i in range(12)] if "," in text else None
    packets = [12_000.0 * (i + 1) for i in range(12)]
    assert list(recording.series) == pytest.approx(expected or packets)


@pytest.mark.parametrize(
    ("changes", "key", "problem"),
    [
        (
            {"link.trace_where": "{ trace = 'x' }"},
            "link",
            "chooses from a trace, and none is given",
        ),
        ({"link.rate_mbps": "nan"}, "link.rate_mbps", "give a finite number"),
        ({"link.rtt_ms": "inf"}, "link.rtt_ms", "give a finite number"),
        ({"eta": "1.5"}, "eta", "is 1.5; give a number <= 1"),
        ({"server.load": "1.0"}, "server.load", "is 1; give a number <= 0.99"),
        ({"arrivals.rate_hz": "-1.0"}, "arrivals.rate_hz", "is -1; give a number >= 0.1"),
        ({"link.rate_mbsp": "5.0"}, "link.rate_mbsp", "did you mean rate_mbps?"),
        ({"cloud.load": "5.0"}, "cloud", "is no known key"),
        ({"arrivals.rate_hz": None}, "arrivals.rate_hz", "is missing"),
        ({"description": None}, "description", "is missing"),
        ({"link.radio_w": '"much"'}, "link.radio_w", "is 'much'; give a number"),
        ({"link.radio_w": "true"}, "link.radio_w", "give a number"),
        ({"board.slowdown": "[]"}, "board.slowdown", "give a list of length >= 1"),
        ({"board.slowdown": "[1.0, 0.5]"}, "board.slowdown[1]", "is 0.5; give a number >= 1"),
        ({"link.rtt_ms": "true"}, "link.rtt_ms", "is True; give a number or a table or a list"),
        ({"board.slowdown": "[2.0, 1.0]"}, "board.slowdown", "ascending"),
        ({"link.rtt_ms": "{ quantiles = [1.0] }"}, "link.rtt_ms.correlation_time_s", "is missing"),
        (
            {"link.rtt_ms": "{ quantiles = [1.0], correlation_time_s = 1.0, x = 1 }"},
            "link.rtt_ms.x",
            "is no known key",
        ),
        ({"link.trace": '"uplink.csv"'}, "link.trace", "exclude each other"),
        ({"link.rate_mbps": None, "link.trace": "3"}, "link.trace", "is 3; give a text"),
        ({"arrivals.kind": '"steady"'}, "arrivals.kind", "choose one of periodic, poisson, bursty"),
        ({"arrivals.kind": '"bursty"'}, "arrivals.burst_factor", "is missing"),
        ({"arrivals.kind": '"back-to-back"'}, "arrivals.rate_hz", "answers set it; remove it"),
        ({**BURSTY, "arrivals.bursts": None}, "arrivals.bursts", "is missing"),
        ({"arrivals.burst_factor": "2.0"}, "arrivals.burst_factor", "is for kind 'bursty'"),
        ({"requests.weibull": WEIBULL}, "requests.weibull", "exclude each other"),
        ({"requests.latency_target_ms": None}, "requests", "is missing"),
        (
            {"faults.power_stuck": "{ share = 1.0, mean_s = 1.0 }"},
            "faults.power_stuck.share",
            "give",
        ),
        ({"faults.fire": "1.0"}, "faults.fire", "is no known key"),
        ({"faults": "3"}, "faults", "is 3; give a table"),
        ({"battery.level": "0.5"}, "battery.capacity_wh", "is missing"),
        ({"server.hidden_load": "1.0"}, "server.hidden_load", "is 1; give a number <= 0.99"),
        ({"board.decision_ms": None}, "board.decision_ms", "is missing"),
        ({"schema_version": "1"}, "schema_version", "this version reads 2"),
        ({"schema_version": None}, "schema_version", "is missing"),
    ],
)
def test_a_bad_key_is_named_with_its_file(constant, changes, key, problem):
    with pytest.raises(ScenarioError) as error:
        constant(changes)
    assert "made-up.toml: " + key in str(error.value)
    assert problem in str(error.value)


def test_a_table_that_is_none_is_named(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text("schema_version = 2\nlink = 3\n")
    with pytest.raises(ScenarioError, match=r"odd\.toml: link is 3; give a table"):
        Scenario.load(str(path))


@pytest.mark.parametrize("content", [b"eta == 3", b"\xff\xfe\x00", b"eta = 1\neta = 2"])
def test_a_file_that_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "odd.toml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=r"odd\.toml cannot be read"):
        Scenario.load(str(path))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"gone\.toml does not exist"):
        Scenario.load(str(tmp_path / "gone.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ScenarioError, match=r"folder\.toml cannot be read: it is no regular file"):
        Scenario.load(str(tmp_path / "folder.toml"))


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(ScenarioError, match=r"'wifi'.*lte-driving, .*steady-wifi"):
        Scenario.load("wifi")


MANY = np.arange(300, dtype=np.uint64)


def test_bursts_come_and_go_and_are_noticed_a_step_late(constant):
    episodes = EpisodeConditions([constant(BURSTY)], MANY, 80, 0.25)
    rates_hz = np.stack([episodes.row(row).arrival_hz for row in range(81)])
    assert set(np.unique(rates_hz).tolist()) == {10.0, 30.0}
    burst = rates_hz == 30.0
    assert burst.mean() == pytest.approx(0.25, abs=0.03)
    assert burst[1:][burst[:-1]].mean() == pytest.approx(1.0 - 0.25 / 2.0, abs=0.02)
    announced_hz = np.stack([episodes.announced_hz(row) for row in range(1, 81)])
    np.testing.assert_array_equal(announced_hz, rates_hz[:-1])
    assert episodes.row(0).arrival_scv[0] == 1.0


def test_weibull_targets_are_drawn_anew_every_step(constant):
    scenario = constant({"requests.latency_target_ms": None, "requests.weibull": WEIBULL})
    episodes = EpisodeConditions([scenario], MANY, 80, 0.25)
    targets_s = np.stack([episodes.row(row).latency_target_s for row in range(81)])
    assert targets_s.min() >= 0.05
    assert targets_s.mean() == pytest.approx(0.15, rel=0.02)
    assert np.quantile(targets_s, 0.9) == pytest.approx(0.05 + 0.1 * np.log(10.0), rel=0.03)
    assert abs(np.corrcoef(targets_s[1:].ravel(), targets_s[:-1].ravel())[0, 1]) < 0.03


def test_faults_are_on_for_their_share_of_the_time(constant):
    faults = {"faults.link_dropout": "{ share = 0.3, mean_s = 2.0 }"}
    episodes = EpisodeConditions([constant(faults)], MANY, 80, 0.25)
    blind = np.stack([episodes.row(row).link_blind for row in range(81)])
    assert blind.mean() == pytest.approx(0.3, abs=0.03)
    assert (episodes.row(1).power_stuck == 0.0).all()


def test_a_scenario_keeps_its_draws_beside_others(constant):
    """What only another scenario has leaves a board of this one alone."""
    seeds = np.arange(40, dtype=np.uint64)
    both = EpisodeConditions([constant(), constant({**BURSTY, "eta": "0.1"})], seeds, 8, 0.25)
    mine = both.row(3).eta == 0.5
    assert 5 < mine.sum() < 35
    assert set(both.row(3).arrival_hz[mine].tolist()) == {10.0}


def test_the_page_on_scenarios_lists_those_that_ship_and_every_key():
    page = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
    for name in scenario_names():
        assert f"| `{name}` | {Scenario.load(name).description} |" in page
    for where in SIGNALS.values():
        assert f"`{where.key}`" in page
    for name in EFFECTS:
        assert f"| `{name}` |" in page


def test_at_least_ten_scenarios_ship():
    assert len(scenario_names()) >= 10
